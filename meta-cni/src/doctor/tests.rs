//! What doctor checks by its options.

use clap::Parser;
use serde_json::json;

use super::plugins::tests::script;
use super::*;
use crate::config::Config;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

#[test]
fn a_plugin_has_its_time_however_long_others_took() {
    let dir = tempfile::tempdir().unwrap();
    let slow = r#"sleep 0.5; echo '{"supportedVersions": ["1.0.0"]}'"#;
    script(dir.path(), "slow", 0o755, slow);
    let conf = json!({"delegates": [{"cniVersion": "1.0.0", "name": "d", "type": "slow"}]});
    let config = Config::parse(conf.as_object().unwrap()).unwrap();
    let networks = networks::inspect(&config, Knowledge::Nowhere, Vec::new(), Vec::new());
    let ours = conf::Ours {
        path: "/net.d/00-meta-cni.conf".into(),
        config,
    };
    let words = ["doctor", "--cni-path", dir.path().to_str().unwrap()];
    let options = Line::parse_from(words).options;
    let mut examination = Examination::new(&options, ours, Report::default());
    examination.start -= Duration::from_secs(60);
    examination.examine_others(&networks, &records::Recorded::default());
    let report = examination.report;
    assert_eq!(
        report.inspected.plugins["slow"],
        ["1.0.0"],
        "{:?}",
        report.findings
    );
}
