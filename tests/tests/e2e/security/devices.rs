//! The kubelet says which devices a pod has; annotations and network definitions choose among those only.

use std::fs;

use e2e::Node;
use serde_json::{Value, json};

const RESOURCE: (&str, &str) = ("k8s.v1.cni.cncf.io/resourceName", "example.com/nic");
const OURS: [&str; 2] = ["0000:01:00.0", "0000:01:00.1"];
const OTHER: &str = "0000:09:00.0";
const NOT_GIVEN: &str = "was not given to pod default/web";

/// A node whose kubelet gave two devices to the pod `uid-1`, and a third to another pod.
fn node(name: &str, more: Value) -> Node {
    let node = Node::recorder(name);
    let kubelet = node.folder().join("kubelet");
    let entry = |uid: &str, ids: &[&str]| json!({ "PodUID": uid, "ContainerName": "main", "ResourceName": RESOURCE.1, "DeviceIDs": ids });
    let entries = json!([entry("uid-1", &OURS), entry("uid-2", &[OTHER])]);
    let checkpoint = json!({ "Data": { "PodDeviceEntries": entries, "RegisteredDevices": {} } });
    let folder = kubelet.join("device-plugins");
    fs::create_dir_all(&folder).expect("make a folder");
    fs::write(
        folder.join("kubelet_internal_checkpoint"),
        checkpoint.to_string(),
    )
    .expect("write a checkpoint");
    node.conf(json!({ "kubeletDir": kubelet })).conf(more)
}

fn wish(device: &str) -> Value {
    json!({ "name": "red", "deviceID": device })
}

/// What the ADD of `uid-1` with these elements of network `red` says; devices of its attachments, or the error.
fn devices(
    node: &Node,
    has_resource: bool,
    written: Value,
    elements: Value,
) -> Result<Vec<String>, String> {
    let mut conf = node.recording("red", json!({}));
    e2e::merge::merge(&mut conf, &written);
    let annotations: &[(&str, &str)] = if has_resource { &[RESOURCE] } else { &[] };
    node.nad_with("default", "red", annotations, conf);
    let before = node.calls().len();
    let pod = node
        .pod("default", "web")
        .uid("uid-1")
        .select(&elements)
        .create();
    let outcome = node.add(&pod);
    let calls = node.calls().split_off(before);
    if outcome.status.success() {
        node.del(&pod).ok();
        let secondary = calls
            .iter()
            .filter(|call| call.ifname != "eth0" && call.verb == "ADD");
        let device = |conf: Value| conf["deviceID"].as_str().unwrap_or_default().to_owned();
        return Ok(secondary.map(|call| device(call.conf())).collect());
    }
    assert!(calls.is_empty(), "{calls:?}");
    let (code, text, _) = outcome.error();
    Err(format!("{code} {text}"))
}

#[test]
fn with_a_resource_only_what_the_kubelet_gave_is_attached() {
    let node = node("given", json!({ "allowedDevices": ["*"] }));
    let none = || json!({});
    let named = |device: &str| json!({ "deviceID": device });
    let not_given = Err("7 ");
    for (what, written, elements, expected) in [
        (
            "in order",
            none(),
            json!([{ "name": "red" }, { "name": "red" }]),
            Ok(vec![OURS[0], OURS[1]]),
        ),
        ("chosen", none(), json!([wish(OURS[1])]), Ok(vec![OURS[1]])),
        (
            "chosen, and the rest",
            none(),
            json!([{ "name": "red" }, wish(OURS[0])]),
            Ok(vec![OURS[1], OURS[0]]),
        ),
        (
            "of another pod",
            none(),
            json!([wish(OTHER)]),
            not_given.clone(),
        ),
        (
            "of nobody",
            none(),
            json!([wish("eth0")]),
            not_given.clone(),
        ),
        (
            "twice",
            none(),
            json!([wish(OURS[0]), wish(OURS[0])]),
            not_given.clone(),
        ),
        (
            "in the definition",
            named(OTHER),
            json!([{ "name": "red" }]),
            not_given.clone(),
        ),
        (
            "as pciBusID",
            json!({ "pciBusID": OTHER }),
            json!([{ "name": "red" }]),
            not_given.clone(),
        ),
        (
            "in runtimeConfig",
            json!({ "runtimeConfig": named(OTHER) }),
            json!([{ "name": "red" }]),
            not_given,
        ),
    ] {
        let found = devices(&node, true, written, elements);
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{what}"),
            (Err(text), Err(code)) => assert!(
                text.starts_with(code) && text.contains(NOT_GIVEN),
                "{what}: {text}"
            ),
            _ => panic!("{what}: {found:?}"),
        }
    }
}

#[test]
fn without_a_resource_the_node_says_which_devices_may_be_named() {
    let (closed, open) = (
        node("closed", json!({})),
        node("open", json!({ "allowedDevices": [OURS[1]] })),
    );
    let written = json!({ "deviceID": OURS[1] });
    for (what, written, elements) in [
        ("by the pod", json!({}), json!([wish(OURS[1])])),
        ("by the definition", written, json!([{ "name": "red" }])),
    ] {
        let refused = devices(&closed, false, written.clone(), elements.clone());
        let text = refused.expect_err(what);
        assert!(
            text.starts_with("7 ") && text.contains("allowedDevices"),
            "{what}: {text}"
        );
        let given = devices(&open, false, written, elements);
        assert_eq!(given, Ok(vec![OURS[1].to_owned()]), "{what}");
    }
    let text = devices(&open, false, json!({}), json!([wish(OTHER)])).expect_err("another");
    assert!(text.contains("allowedDevices"), "{text}");
}

#[test]
fn a_definition_names_a_device_in_no_other_way() {
    let closed = node("other-ways", json!({}));
    let host_device = |key: &str, name: &str| json!({ "type": "host-device", key: name });
    for (what, written, words) in [
        (
            "in another case",
            json!({ "runtimeConfig": { "DeviceID": OTHER } }),
            "\"deviceID\" in another case",
        ),
        (
            "by a file",
            json!({ "runtimeConfig": { "CNIDeviceInfoFile": "/tmp/other" } }),
            "set by meta-cni alone",
        ),
        ("a link", host_device("device", "eth0"), NOT_GIVEN),
        (
            "a MAC",
            host_device("hwaddr", "02:00:00:00:00:09"),
            NOT_GIVEN,
        ),
        (
            "a path",
            host_device("kernelpath", "/sys/devices/pci0000:00"),
            NOT_GIVEN,
        ),
        (
            "in flannel's delegate",
            json!({ "type": "flannel", "delegate": host_device("pciBusID", OTHER) }),
            NOT_GIVEN,
        ),
    ] {
        let elements = json!([{ "name": "red" }]);
        let text = devices(&closed, true, written, elements).expect_err(what);
        assert!(
            text.starts_with("7 ") && text.contains(words),
            "{what}: {text}"
        );
    }
}
