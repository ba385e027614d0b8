//! What the plugins of a list gain, field by field.

use super::*;
use crate::selection;

/// A list of these plugins, called `lan`.
fn list(plugins: Value) -> NetConfList {
    let conf = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": plugins});
    NetConfList::from_value(conf).unwrap()
}

fn stdin(list: &NetConfList, index: usize) -> Value {
    serde_json::from_slice(&list.plugins[index].stdin_with([])).unwrap()
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn device() -> Device {
    Device {
        resource: Some("intel.com/vf".to_owned()),
        id: "0000:03:02.1".to_owned(),
    }
}

/// An element that asks for every capability, and the values that come of it.
fn everything() -> (Element, Map<String, Value>) {
    let fields = json!({
        "name": "x",
        "ips": ["10.0.0.9/24", "fd00::9"],
        "mac": "02:00:00:00:00:09",
        "infiniband-guid": "02:00:00:00:00:00:00:09",
        "portMappings": [{"hostPort": 80, "containerPort": 8080}],
        "bandwidth": {"ingressRate": 1000},
    });
    let element = selection::parse(&json!([fields]).to_string())
        .unwrap()
        .remove(0);
    let values = json!({
        "ips": ["10.0.0.9/24", "fd00::9"],
        "mac": "02:00:00:00:00:09",
        "infinibandGUID": "02:00:00:00:00:00:00:09",
        "portMappings": [{"hostPort": 80, "containerPort": 8080}],
        "bandwidth": {"ingressRate": 1000},
        "deviceID": "0000:03:02.1",
        "CNIDeviceInfoFile": "/run/devinfo/cni/x",
    });
    (element, map(values))
}

#[test]
fn what_is_asked_for_becomes_capabilities() {
    let (element, expected) = everything();
    let file = Path::new("/run/devinfo/cni/x");
    let values = capabilities(Map::new(), &element, Some(&device()), Some(file));
    assert_eq!(Value::Object(values), Value::Object(expected));
    let none = capabilities(Map::new(), &Element::default(), None, None);
    assert_eq!(none, Map::new());
}

#[test]
fn what_the_pod_asks_for_wins_over_the_runtime_and_the_rest_stays() {
    let (element, _) = everything();
    let runtime = map(json!({"mac": "02:00:00:00:00:01", "dns": {"servers": ["10.0.0.53"]}}));
    let values = capabilities(runtime.clone(), &element, None, None);
    assert_eq!(values["mac"], "02:00:00:00:00:09");
    assert_eq!(values["dns"], runtime["dns"]);
    let values = capabilities(runtime.clone(), &Element::default(), None, None);
    assert_eq!(values, runtime);
}

#[test]
fn each_capability_reaches_the_plugins_that_declare_it_and_no_other() {
    let (_, values) = everything();
    for (capability, value) in &values {
        let mut list = list(json!([
            {"type": "a"},
            {"type": "b", "capabilities": {capability: true}},
            {"type": "c", "capabilities": {capability: false}},
            {"type": "d", "capabilities": {"other": true}},
            {"type": "e", "capabilities": {capability: true, "other": true}},
            {"type": "f", "capabilities": {capability: "true"}},
        ]));
        into_list(&mut list, &values, None, None).unwrap();
        for (index, plugin) in list.plugins.iter().enumerate() {
            let expected = ["b", "e"]
                .contains(&plugin.plugin_type())
                .then(|| json!({capability: value}));
            assert_eq!(
                stdin(&list, index).get("runtimeConfig"),
                expected.as_ref(),
                "{capability} {}",
                plugin.plugin_type()
            );
        }
    }
}

#[test]
fn a_runtime_config_that_is_there_is_added_to() {
    let mut list = list(json!([
        {"type": "a", "capabilities": {"mac": true}, "runtimeConfig": {"mac": "old", "x": 1}},
        {"type": "b", "runtimeConfig": {"x": 2}},
    ]));
    into_list(&mut list, &map(json!({"mac": "new"})), None, None).unwrap();
    assert_eq!(
        stdin(&list, 0)["runtimeConfig"],
        json!({"mac": "new", "x": 1})
    );
    assert_eq!(stdin(&list, 1)["runtimeConfig"], json!({"x": 2}));
}

#[test]
fn cni_args_reach_every_plugin_and_the_request_wins() {
    let mut list = list(json!([
        {"type": "a"},
        {"type": "b", "args": {"cni": {"vlan": 1, "kept": true}, "other": "kept"}},
        {"type": "c", "args": {"other": "kept"}},
    ]));
    let request = map(json!({"vlan": 7, "ips": ["10.0.0.9"]}));
    into_list(&mut list, &Map::new(), Some(&request), None).unwrap();
    let cni = json!({"vlan": 7, "ips": ["10.0.0.9"]});
    assert_eq!(stdin(&list, 0)["args"], json!({"cni": cni}));
    assert_eq!(
        stdin(&list, 1)["args"],
        json!({"cni": {"vlan": 7, "kept": true, "ips": ["10.0.0.9"]}, "other": "kept"})
    );
    assert_eq!(
        stdin(&list, 2)["args"],
        json!({"other": "kept", "cni": cni})
    );
}

#[test]
fn without_cni_args_the_arguments_stay_as_they_are() {
    let mut list = list(json!([{"type": "a"}, {"type": "b", "args": null}]));
    into_list(&mut list, &Map::new(), None, None).unwrap();
    assert_eq!(stdin(&list, 0).get("args"), None);
    assert_eq!(stdin(&list, 1).get("args"), Some(&Value::Null));
}

#[test]
fn the_device_reaches_every_plugin_of_the_list() {
    let mut list = list(json!([
        {"type": "sriov", "deviceID": "old"}, {"type": "rdma"}, {"type": "tuning"},
    ]));
    into_list(&mut list, &Map::new(), None, Some(&device())).unwrap();
    for index in 0..3 {
        let stdin = stdin(&list, index);
        assert_eq!(stdin["deviceID"], "0000:03:02.1", "{stdin}");
        assert_eq!(stdin["pciBusID"], "0000:03:02.1", "{stdin}");
    }
}

#[test]
fn without_a_device_the_plugins_keep_their_own() {
    let mut list =
        list(json!([{"type": "host-device", "pciBusID": "0000:00:1f.6"}, {"type": "rdma"}]));
    into_list(&mut list, &Map::new(), None, None).unwrap();
    assert_eq!(stdin(&list, 0)["pciBusID"], "0000:00:1f.6");
    assert_eq!(stdin(&list, 1).get("deviceID"), None);
}

#[test]
fn the_lists_name_and_version_replace_those_of_its_plugins() {
    let mut list = list(json!([{"type": "a", "name": "own", "cniVersion": "0.1.0"}]));
    into_list(&mut list, &Map::new(), None, None).unwrap();
    assert_eq!(
        stdin(&list, 0),
        json!({"type": "a", "name": "lan", "cniVersion": "1.0.0"})
    );
}

#[test]
fn a_value_in_the_way_is_named() {
    let args = map(json!({"vlan": 7}));
    let cases = [
        (json!({"type": "a", "args": 7}), "args.cni of plugin \"a\""),
        (
            json!({"type": "a", "args": null}),
            "args.cni of plugin \"a\"",
        ),
        (
            json!({"type": "a", "args": {"cni": []}}),
            "args.cni of plugin \"a\"",
        ),
        (
            json!({"type": "a", "capabilities": {"mac": true}, "runtimeConfig": []}),
            "runtimeConfig of plugin \"a\"",
        ),
    ];
    for (plugin, expected) in cases {
        let mut list = list(json!([plugin.clone()]));
        let problem = into_list(&mut list, &map(json!({"mac": "x"})), Some(&args), None);
        assert_eq!(
            problem,
            Err(format!("{expected} must be an object")),
            "{plugin}"
        );
    }
}
