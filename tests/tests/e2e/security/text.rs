//! Secrets of configurations reach neither the error object nor an Event nor the log, and text of strangers steers no
//! terminal.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use e2e::{ApiServer, Node, locate};
use serde_json::json;

const SECRET: &str = "geheim-7-of-the-network";

#[test]
fn a_plugin_that_repeats_a_secret_makes_nobody_else_repeat_it() {
    let api = ApiServer::shared();
    let node = Node::recorder("secret")
        .with_api(api)
        .conf(json!({ "agentSocket": "" }));
    let log = node.folder().join("meta-cni.log");
    // One of an earlier version, which everybody could read.
    fs::write(&log, "").expect("write a log");
    fs::set_permissions(&log, Permissions::from_mode(0o644)).expect("open it");
    let node = node.conf(json!({ "logFile": log, "logLevel": "debug" }));
    let said = format!("the login with {SECRET} failed");
    let failing = json!({ "failOn": {
        "ADD": { "code": 100, "msg": said, "details": said }, "DEL": { "code": 100, "msg": said },
    } });
    let mut conf = node.recording("red", failing);
    conf["password"] = json!(SECRET);
    api.nad("secret", "red", conf);
    let pod = node.pod("secret", "web").networks("red").create_in(api);
    let failed = node.add(&pod);
    failed.fails(100, &["the login with (left out) failed"]);
    // What its ADD refused is given up, which the log has with the plugin's words.
    let deleted = node.del(&pod);
    deleted.ok();
    for done in [failed, deleted] {
        assert!(done.stderr.contains("the login with (left out)"), "{done}");
        assert!(!done.stdout.contains(SECRET), "{done}");
        assert!(!done.stderr.contains(SECRET), "{done}");
    }
    let events = json!(api.events("secret")).to_string();
    assert!(
        events.contains("the login with (left out) failed"),
        "{events}"
    );
    assert!(!events.contains(SECRET), "{events}");
    let text = fs::read_to_string(&log).expect("read the log");
    assert!(
        text.contains("the login with") && !text.contains(SECRET),
        "{text}"
    );
    let mode = fs::metadata(&log).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "an open log is closed");
}

#[test]
fn a_new_log_is_roots_only() {
    let node = Node::recorder("log");
    let log = node.folder().join("new.log");
    let node = node.conf(json!({ "logFile": log, "logLevel": "info" }));
    node.add(&node.pod("default", "web").create()).ok();
    let mode = fs::metadata(&log).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn explain_shows_characters_that_steer_a_terminal_as_text() {
    let node = Node::recorder("steers");
    let said = "gone \u{1b}[2J\u{202e}away\u{7}";
    let failing = json!({ "failOn": { "ADD": { "code": 100, "msg": said } } });
    node.nad("default", "red", node.recording("red", failing));
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).fails(100, &[]);
    for format in ["text", "json"] {
        let done = Command::new(locate::executable("meta-cni"))
            .args(["explain", "default/web", "-o", format, "--state-dir"])
            .arg(node.state_dir())
            .output()
            .expect("run meta-cni explain");
        assert!(done.status.success(), "{done:?}");
        let text = String::from_utf8(done.stdout).expect("UTF-8");
        assert!(text.contains("[2J"), "{text}");
        for steers in ['\u{1b}', '\u{202e}', '\u{7}'] {
            assert!(!text.contains(steers), "{format} has {steers:?}: {text:?}");
        }
    }
}
