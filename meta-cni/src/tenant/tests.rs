//! Every executable is found, and those of a tenant are refused where they do not belong.

use serde_json::json;

use super::*;
use crate::config::{AllowedPlugins, Config};
use crate::diagnosis::Explain as _;

fn list(conf: Value) -> NetConfList {
    NetConfList::from_value(conf).unwrap()
}

fn refusal(config: &Config, conf: Value) -> String {
    match check(config, &list(conf)) {
        Ok(()) => String::new(),
        Err(refusal) => refusal.diagnosis().to_string(),
    }
}

#[test]
fn every_executable_is_found_with_its_place() {
    let cases = [
        (
            "one plugin",
            json!({"type": "bridge", "ipam": {"type": "host-local"}}),
            vec!["main bridge type", "ipam host-local ipam.type"],
        ),
        (
            "in another case",
            json!({"TYPE": "bridge", "IPAM": {"Type": "host-local"}}),
            vec!["main bridge TYPE", "ipam host-local IPAM.Type"],
        ),
        (
            "a list",
            json!({"plugins": [{"type": "bridge"}, {"type": "tuning", "ipam": {"type": "x"}}]}),
            vec![
                "main bridge plugins[0].type",
                "chained tuning plugins[1].type",
                "ipam x plugins[1].ipam.type",
            ],
        ),
        (
            "flannel with a delegate",
            json!({"type": "flannel", "delegate": {"type": "ptp", "ipam": {"type": "x"}}}),
            vec![
                "main flannel type",
                "main ptp delegate.type",
                "ipam x delegate.ipam.type",
            ],
        ),
        (
            "flannel without",
            json!({"type": "flannel"}),
            vec![
                "main flannel type",
                "main bridge delegate",
                "ipam host-local delegate",
            ],
        ),
        (
            "Calico's policy is no plugin",
            json!({"type": "calico", "policy": {"type": "k8s"}}),
            vec!["main calico type"],
        ),
        (
            "at any depth",
            json!({"type": "a", "x": [{"y": {"tYpe": "evil"}}], "ipam": {"z": {"type": "evil2"}}}),
            vec![
                "main a type",
                "nested evil x[0].y.tYpe",
                "nested evil2 ipam.z.type",
            ],
        ),
        (
            "lists of plugins",
            json!({"type": "a", "Delegates": [{"name": "n"}], "x": {"plugins": [{}]}, "delegate": {}}),
            vec![
                "main a type",
                "nested  Delegates",
                "nested  x.plugins",
                "nested  delegate",
            ],
        ),
        (
            "what is no name of a plugin",
            json!({"type": "a", "x": {"type": 7}, "plugins": 1, "ipam": {"type": ""}}),
            vec![],
        ),
    ];
    for (name, conf, expected) in cases {
        if expected.is_empty() {
            continue;
        }
        let list = list(conf);
        let found: Vec<_> = placed(&list)
            .iter()
            .map(|one| {
                let place = match one.place {
                    PluginRole::Main => "main",
                    PluginRole::Chained => "chained",
                    PluginRole::Ipam => "ipam",
                    PluginRole::Nested => "nested",
                };
                format!("{place} {} {}", one.name, one.at)
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_tenant_may_not_name_what_does_not_belong_there() {
    let open = Config::default();
    for (conf, words) in [
        (
            json!({"type": "bridge", "ipam": {"type": "host-local"}}),
            "",
        ),
        (
            json!({"type": "custom", "ipam": {"type": "custom-ipam"}}),
            "",
        ),
        (
            json!({"type": "flannel", "delegate": {"isDefaultGateway": true}}),
            "",
        ),
        (
            json!({"type": "bridge", "IPAM": {"type": "host-local"}}),
            "\"ipam\" in another case",
        ),
        (json!({"Type": "bridge"}), "\"type\" in another case"),
        (
            json!({"type": "bridge", "Plugins": []}),
            "\"plugins\" in another case",
        ),
        (
            json!({"type": "bridge", "plugin\u{17f}": []}),
            "\"plugins\" in another case",
        ),
        (
            json!({"type": "bridge", "ipam": {"Server": ""}}),
            "\"server\" in another case",
        ),
        (json!({"type": "meta-cni"}), "is this one"),
        (
            json!({"type": "bridge", "ipam": {"type": "meta-cni"}}),
            "is this one",
        ),
        (
            json!({"type": "multus"}),
            "executes what its configuration says",
        ),
        (
            json!({"type": "bridge", "ipam": {"type": "bridge"}}),
            "cannot be the IPAM plugin",
        ),
        (
            json!({"type": "odd", "ipam": {"type": "odd"}}),
            "cannot be the IPAM plugin",
        ),
        (
            json!({"type": "meta-ipam", "ipam": {"type": "static"}}),
            "cannot be the main plugin",
        ),
        (
            json!({"type": "x", "delegates": [{"type": "y"}]}),
            "delegates names a plugin inside",
        ),
        (
            json!({"type": "x", "deep": {"type": "y"}}),
            "deep.type names a plugin inside",
        ),
        (
            json!({"type": "flannel", "delegate": {"type": "x", "delegates": [{}]}}),
            "delegate.delegates names a plugin inside",
        ),
    ] {
        let found = refusal(&open, conf.clone());
        assert_eq!(words.is_empty(), found.is_empty(), "{conf}: {found}");
        assert!(found.contains(words), "{conf}: {found}");
        assert!(found.len() < 250, "{found}");
    }
}

#[test]
fn each_plugin_is_allowed_in_its_place() {
    let allowing = |value: Value| Config {
        allowed_plugins: Some(serde_json::from_value::<AllowedPlugins>(value).unwrap()),
        ..Config::default()
    };
    let bridge =
        json!({"plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "sbr"}]});
    for (allowed, words) in [
        (json!(["bridge", "host-local", "sbr"]), ""),
        (
            json!(["bridge", "sbr"]),
            "\"host-local\" is not in allowedPlugins;",
        ),
        (
            json!({"main": ["bridge"], "chained": ["sbr"], "ipam": ["host-local"]}),
            "",
        ),
        (
            json!({"main": ["bridge", "sbr"], "ipam": ["host-local"]}),
            "\"sbr\" is not in allowedPlugins.chained;",
        ),
    ] {
        let found = refusal(&allowing(allowed.clone()), bridge.clone());
        assert_eq!(words.is_empty(), found.is_empty(), "{allowed}: {found}");
        assert!(found.contains(words), "{allowed}: {found}");
    }
    let multus = refusal(&allowing(json!(["multus"])), json!({"type": "multus"}));
    assert_eq!(multus, "");
}
