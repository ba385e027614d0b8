use proptest::prelude::*;
use serde_json::json;

use super::*;

fn field_of(value: Value) -> String {
    match NetConfList::from_value(value) {
        Err(NetConfError::Field { field, .. }) => field,
        other => panic!("expected an error that names a field, got {other:?}"),
    }
}

#[test]
fn a_single_configuration_is_a_list_of_one() {
    let conf = json!({"cniVersion": "0.3.1", "name": "lan", "type": "bridge", "mtu": 1400, "x": {"y": [1, 2.5, null]}});
    let list = NetConfList::from_value(conf.clone()).unwrap();
    assert_eq!((list.name.as_str(), list.version), ("lan", Version::V0_3_1));
    let stdin: Value = serde_json::from_slice(&list.plugins[0].stdin_with([])).unwrap();
    assert_eq!(stdin, conf, "unknown fields pass through");
}

#[test]
fn the_newest_common_version_is_negotiated() {
    let cases = [
        (json!({"cniVersion": "0.4.0"}), Some(Version::V0_4_0)),
        (json!({}), Some(Version::V0_1_0)),
        (
            json!({"cniVersions": ["0.4.0", "1.0.0", "7.0.0"], "cniVersion": "0.3.1"}),
            Some(Version::V1_0_0),
        ),
        (json!({"cniVersions": ["1.1.0"]}), Some(Version::V1_1_0)),
        (json!({"cniVersion": "2.0.0"}), None),
        (json!({"cniVersions": ["2.0.0"]}), None),
    ];
    for (mut conf, expected) in cases {
        conf["type"] = json!("bridge");
        assert_eq!(
            NetConfList::from_value(conf.clone())
                .ok()
                .map(|list| list.version),
            expected,
            "{conf}"
        );
    }
}

#[test]
fn a_bad_field_is_named() {
    let cases = [
        (json!({"plugins": []}), "plugins"),
        (json!({}), "plugins"),
        (json!({"plugins": null}), "plugins"),
        (json!({"plugins": [null]}), "plugins[0]"),
        (json!({"plugins": [{"type": "a"}, {}]}), "plugins[1].type"),
        (json!({"type": "../../bin/sh"}), "type"),
        (json!({"type": 7}), "type"),
        (json!({"type": "a", "name": "a/b"}), "name"),
        (json!({"type": "a", "cniVersion": 1}), "cniVersion"),
        (
            json!({"type": "a", "disableCheck": "perhaps"}),
            "disableCheck",
        ),
        (json!(null), "configuration"),
        (json!([]), "configuration"),
    ];
    for (conf, field) in cases {
        assert_eq!(field_of(conf.clone()), field, "{conf}");
    }
}

#[test]
fn the_case_of_keys_does_not_matter() {
    let conf = json!({
        "CNIVersion": "1.0.0", "Name": "lan", "Type": "macvlan", "Master": "eth1",
        "Capabilities": {"ips": true}, "RuntimeConfig": {"mac": "x"}, "DisableGC": true,
        "IPAM": {"TYPE": "host-local"},
    });
    let mut list = NetConfList::from_value(conf).unwrap();
    assert_eq!((list.name.as_str(), list.version), ("lan", Version::V1_0_0));
    assert!(list.disable_gc);
    let plugin = &mut list.plugins[0];
    assert_eq!(plugin.plugin_type(), "macvlan");
    assert_eq!(plugin.get("master"), Some(&json!("eth1")));
    assert!(plugin.has_capability("ips"));
    assert_eq!(plugin.ipam_type(), Some("host-local"));
    plugin.set("name", json!("blue"));
    plugin.set("master", json!("eth2"));
    let runtime = plugin.object_mut("runtimeConfig").unwrap();
    runtime.insert("ips".to_owned(), json!([]));
    let stdin: Value = serde_json::from_slice(&plugin.stdin_with([])).unwrap();
    assert_eq!(
        stdin,
        json!({
            "CNIVersion": "1.0.0", "Type": "macvlan", "Capabilities": {"ips": true},
            "DisableGC": true, "IPAM": {"TYPE": "host-local"}, "name": "blue", "master": "eth2",
            "runtimeConfig": {"mac": "x", "ips": []},
        }),
        "what is set is written once"
    );
}

#[test]
fn switches_may_be_texts() {
    let list = NetConfList::from_value(
        json!({"plugins": [{"type": "a"}], "disableCheck": "true", "disableGC": true, "mine": "TRUE", "odd": 7}),
    );
    let list = list.unwrap();
    assert!(list.disable_check && list.disable_gc && !list.allows_gc());
    assert_eq!(switch(&list.keys, "mine"), Ok(true));
    assert_eq!(switch(&list.keys, "absent"), Ok(false));
    assert!(switch(&list.keys, "odd").is_err());
    let single = NetConfList::from_value(json!({"type": "a", "mine": true})).unwrap();
    assert_eq!(switch(&single.keys, "mine"), Ok(true));
}

#[test]
fn plugins_beside_a_file_are_added_unless_the_list_says_inlined_only() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, value: Value| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    write(
        "10-a.conflist",
        json!({"cniVersion": "1.1.0", "name": "a", "plugins": [{"type": "bridge"}]}),
    );
    write("a/10.conf", json!({"type": "tuning"}));
    write(
        "20-b.conflist",
        json!({"name": "b", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "ptp"}]}),
    );
    write("b/10.conf", json!({"type": "tuning"}));
    let types = |name: &str| -> Vec<String> {
        let list = find_by_name(dir.path(), name).unwrap();
        list.plugins
            .iter()
            .map(|plugin| plugin.plugin_type().to_owned())
            .collect()
    };
    assert_eq!(types("a"), ["bridge", "tuning"]);
    assert_eq!(types("b"), ["ptp"]);
    assert_eq!(load_first(dir.path()).unwrap().name, "a");
}

#[test]
fn a_network_that_no_file_has_is_reported_with_the_files_that_are_broken() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.conf"), "{").unwrap();
    let error = find_by_name(dir.path(), "a").unwrap_err().to_string();
    assert!(
        error.contains("\"a\"") && error.contains("x.conf"),
        "{error}"
    );
}

/// JSON of bounded depth whose numbers are exact.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(".{0,6}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn unknown_fields_reach_the_plugin_as_they_were(extra in any_json()) {
        let conf = json!({"type": "bridge", "extra": extra});
        let list = NetConfList::parse(&conf.to_string()).unwrap();
        let stdin: Value = serde_json::from_slice(&list.plugins[0].stdin_with([])).unwrap();
        prop_assert_eq!(stdin, conf);
    }

    #[test]
    fn no_configuration_makes_it_panic(value in any_json(), text in ".*") {
        let _ = NetConfList::from_value(value.clone());
        let _ = NetConfList::from_value(json!({"plugins": value}));
        let _ = NetConfList::parse(&text);
    }
}
