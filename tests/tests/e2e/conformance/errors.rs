//! Section 5, "Error codes": each code by what leads to it. 50 and 51 are in `verbs/status.rs`; 2 is not
//! used.

use std::fs;

use e2e::{Node, Pod};
use serde_json::{Value, json};

/// A node with a network `red` of the recording plugin that behaves as `record` says, and a pod of it.
fn node(name: &str, record: Value) -> (Node, Pod) {
    let node = Node::recorder(name);
    node.nad("default", "red", node.recording("red", record));
    let pod = node.pod("default", "web").networks("red").create();
    (node, pod)
}

#[test]
fn code_1_is_an_unknown_version_of_the_runtimes_configuration() {
    let (node, pod) = node("code1", json!({}));
    let add = node
        .call("ADD")
        .pod(&pod)
        .conf(json!({ "cniVersion": "9.9.9" }));
    add.run().fails(1, &["9.9.9", "1.1.0"]);
    assert!(node.calls().is_empty());
}

#[test]
fn code_3_is_a_check_of_a_container_of_which_nothing_is_recorded() {
    let (node, pod) = node("code3", json!({}));
    node.check(&pod).fails(3, &[&pod.container_id]);
    node.assert_clean();
}

#[test]
fn code_4_is_a_sandbox_that_is_attached_already() {
    let (node, pod) = node("code4", json!({}));
    node.add(&pod).ok();
    node.add(&pod).fails(4, &[&pod.container_id, "DEL"]);
    assert_eq!(node.calls().len(), 2);
}

#[test]
fn code_5_is_a_state_dir_that_cannot_be_written_and_no_delegate_runs() {
    let (node, pod) = node("code5", json!({}));
    let file = node.folder().join("file");
    fs::write(&file, "").unwrap();
    let add = node.call("ADD").pod(&pod).conf(json!({ "stateDir": file }));
    add.run().fails(5, &[file.to_str().unwrap()]);
    assert!(node.calls().is_empty());
}

#[test]
fn code_6_is_standard_input_that_is_no_json_object() {
    let (node, pod) = node("code6", json!({}));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for text in ["", "null", "[]", "{", r#"{"cniVersion":1}"#, "\u{0}", &deep] {
        node.call("ADD")
            .pod(&pod)
            .stdin(text)
            .run()
            .fails(6, &["standard input"]);
    }
}

#[test]
fn code_6_is_a_result_of_a_delegate_that_cannot_be_read() {
    for printed in [
        "",
        "{",
        "[]",
        "null",
        r#"{"cniVersion":"1.1.0","ips":[{"address":"x"}]}"#,
    ] {
        let (node, pod) = node("result", json!({ "print": printed, "on": ["ADD"] }));
        node.add(&pod)
            .fails(6, &["default/red", "recording-plugin ADD"]);
        node.assert_clean();
    }
}

#[test]
fn code_7_is_a_value_that_a_key_cannot_have() {
    let (node, pod) = node("code7", json!({}));
    for (key, value) in [
        ("delegates", json!({})),
        ("defaultNetworks", json!([1])),
        ("maxParallelDelegates", json!(0)),
        ("delegateTimeoutSeconds", json!("60")),
        ("stateDir", json!("relative")),
        ("namespaceIsolation", json!("yes")),
    ] {
        let add = node.call("ADD").pod(&pod).conf(json!({ key: value }));
        add.run().fails(7, &[key]);
    }
}

#[test]
fn code_7_is_a_name_that_is_missing_or_invalid_before_the_pod_is_looked_up() {
    let (node, pod) = node("name", json!({}));
    for name in [json!(null), json!(""), json!("a/b"), json!(7)] {
        let add = node.call("ADD").pod(&pod).conf(json!({ "name": name }));
        let nobody = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nobody";
        add.env("CNI_ARGS", nobody).run().fails(7, &["key name"]);
    }
    assert!(node.calls().is_empty());
    node.add(&pod).ok();
    let del = node.call("DEL").pod(&pod).conf(json!({ "name": null }));
    del.run().ok();
    node.assert_clean();
}

#[test]
fn code_7_is_a_value_that_a_field_of_an_element_cannot_hold_and_nothing_runs() {
    let (node, _) = node("element", json!({}));
    let mapping = |port: &str| {
        format!(
            r#"[{{"name": "red", "portMappings": [{{"hostPort": {port}, "containerPort": 80}}]}}]"#
        )
    };
    for (networks, place) in [
        ("red@b@c", "element 1"),
        (&mapping("99999999999999999999"), "portMappings[0].hostPort"),
        (&mapping("-1"), "portMappings[0].hostPort"),
        (
            r#"[{"name": "red", "bandwidth": {"ingressRate": "fast"}}]"#,
            "bandwidth.ingressRate",
        ),
        (r#"[{"name": "red", "deviceID": 7}]"#, "deviceID"),
    ] {
        let pod = node.pod("default", "bad").networks(networks).create();
        node.add(&pod).fails(7, &[place]);
    }
    assert!(node.calls().is_empty());
}

#[test]
fn code_7_is_a_configuration_without_a_default_network() {
    let (node, pod) = node("none", json!({}));
    let add = node.call("ADD").pod(&pod).conf(json!({ "delegates": [] }));
    add.run().fails(7, &["default network"]);
    assert!(
        node.calls().is_empty(),
        "red is not taken for the default network"
    );
}

#[test]
fn code_8_is_a_namespace_that_is_not_there_or_is_none_before_any_delegate_runs() {
    let (node, pod) = node("code8", json!({}));
    let file = node.folder().join("file");
    fs::write(&file, "").unwrap();
    for netns in ["/run/netns/absent", file.to_str().unwrap()] {
        node.call("ADD")
            .pod(&pod)
            .env("CNI_NETNS", netns)
            .run()
            .fails(8, &["CNI_NETNS", netns]);
    }
    assert!(node.calls().is_empty());
    node.assert_clean();
}

#[test]
fn codes_from_100_are_our_own_and_100_is_a_delegate_that_fails_without_an_error_object() {
    let (node, pod) = node(
        "silent",
        json!({ "exit": 3, "stderrBytes": 10, "on": ["ADD"] }),
    );
    let words = [
        "default/red (net1)",
        "recording-plugin",
        "exited with status 3",
        "xxxxxxxxxx",
    ];
    node.add(&pod).fails(100, &words);
    node.assert_clean();
}

#[test]
fn code_100_is_a_plugin_that_is_not_installed_and_nothing_runs() {
    let (node, pod) = node("absent", json!({}));
    node.nad(
        "default",
        "red",
        json!({ "cniVersion": "1.0.0", "name": "x", "type": "no-such-plugin" }),
    );
    let searched = node.bin_dir().display().to_string();
    node.add(&pod)
        .fails(100, &["default/red", "no-such-plugin", &searched]);
    assert!(node.calls().is_empty());
}

#[test]
fn a_delegates_own_code_message_and_details_pass_through() {
    let fail = json!({ "ADD": { "code": 42, "msg": "no uplink", "details": "port 7" } });
    let (node, pod) = node("through", json!({ "failOn": fail }));
    let subject = "ADD of pod default/web";
    let words = [subject, "default/red (net1)", "no uplink", "port 7"];
    node.add(&pod).fails(42, &words);
}

#[test]
fn the_error_object_is_on_stdout_alone_in_the_runtimes_version() {
    let (node, pod) = node("object", json!({ "exit": 1, "on": ["ADD"] }));
    let outcome = node
        .call("ADD")
        .pod(&pod)
        .conf(json!({ "cniVersion": "0.3.1" }))
        .run();
    let object = outcome.json();
    assert_eq!(object["cniVersion"], "0.3.1");
    assert_eq!(outcome.status.code(), Some(1));
    let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
    assert!(
        keys.iter()
            .all(|key| ["cniVersion", "code", "msg", "details"].contains(&key.as_str()))
    );
}

#[test]
fn a_message_fits_into_one_line_of_300_bytes_and_the_rest_is_in_the_details() {
    let msg = format!("{}THE END", "é".repeat(400));
    let (node, pod) = node(
        "long",
        json!({ "failOn": { "ADD": { "code": 42, "msg": msg } } }),
    );
    let (_, msg, details) = node.add(&pod).error();
    assert!(msg.len() <= 300 && !msg.contains('\n'), "{msg}");
    assert!(details.ends_with("THE END"), "{details}");
}
