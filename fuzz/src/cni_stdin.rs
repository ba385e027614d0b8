//! What runtimes and NetworkAttachmentDefinitions write: configurations, lists of plugins, results. What is accepted
//! is accepted again as it is passed on.

#![no_main]
#![expect(clippy::expect_used, reason = "a broken promise ends a fuzz target")]

use cni::netconf::{NetConfList, PluginConf};
use cni::result::CniResult;
use cni::version::Version;
use libfuzzer_sys::fuzz_target;
use meta_cni::config::Config;
use meta_cni::ipam::config::IpamConfig;
use serde_json::Value;

fuzz_target!(|text: &str| {
    if let Ok(list) = NetConfList::parse(text) {
        for plugin in &list.plugins {
            let stdin: Value =
                serde_json::from_slice(&plugin.stdin_with([])).expect("what is passed on is JSON");
            let again = PluginConf::new(stdin, "stdin").expect("what is passed on is accepted");
            assert_eq!(again.plugin_type(), plugin.plugin_type());
        }
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if let Some(object) = value.as_object() {
        // These may refuse, but not fall over.
        let _refused = Config::parse(object).is_err();
        let _refused = IpamConfig::of(object).is_err();
    }
    if let Ok(result) = CniResult::from_value(&value, Version::V1_1_0) {
        let written = result
            .to_value(Version::V1_1_0)
            .expect("the newest version has every field");
        let again = CniResult::from_value(&written, Version::V1_1_0);
        assert_eq!(again.ok().as_ref(), Some(&result));
    }
});
