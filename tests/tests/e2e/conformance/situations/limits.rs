//! Section 6, "Limits": outputs of delegates, annotations, nesting.

use e2e::Node;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// A node with a network `red` that behaves so on ADD.
fn node(name: &str, record: Value) -> Node {
    let node = Node::recorder(name);
    let mut record = record;
    record["on"] = json!(["ADD"]);
    node.nad("default", "red", node.recording("red", record));
    node
}

#[test]
fn a_result_of_nearly_8_mib_is_read() {
    let result = json!({ "cniVersion": "1.1.0", "padding": "x".repeat(1000) });
    let text = result.to_string();
    let padded = format!("{text}{}", " ".repeat(8 * MIB - text.len()));
    let node = Node::recorder("fits");
    let file = node.folder().join("cat");
    std::fs::write(node.folder().join("result"), padded).unwrap();
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = DEL ] || cat {}/result\n",
        node.folder().display()
    );
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    node.install(&file);
    node.nad(
        "default",
        "red",
        json!({ "cniVersion": "1.1.0", "name": "red", "type": "cat" }),
    );
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn more_than_8_mib_on_stdout_is_an_error() {
    let node = node("stdout", json!({ "printBytes": 8 * MIB + 1 }));
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod)
        .fails(100, &["default/red", "stdout", "8388608"]);
    node.assert_clean();
}

#[test]
fn endless_output_is_cut_off_and_never_held_in_memory() {
    let node = node("endless", json!({ "printBytes": 1_u64 << 40 }));
    let pod = node.pod("default", "web").networks("red").create();
    // 256 MiB of address space are plenty for 8 MiB of output.
    let add = node
        .call("ADD")
        .pod(&pod)
        .under(["prlimit", "--as=268435456"]);
    let outcome = add.run();
    outcome.fails(100, &["default/red", "stdout"]);
    node.assert_clean();
}

#[test]
fn stderr_up_to_1_mib_does_not_matter_and_more_is_an_error() {
    let much = node("much", json!({ "stderrBytes": MIB }));
    let pod = much.pod("default", "web").networks("red").create();
    much.add(&pod).ok();
    let more = node("more", json!({ "stderrBytes": MIB + 1 }));
    let pod = more.pod("default", "web").networks("red").create();
    more.add(&pod)
        .fails(100, &["default/red", "stderr", "1048576"]);
    more.assert_clean();
}

#[test]
fn an_annotation_of_a_folder_may_be_far_longer_than_one_of_the_api() {
    let node = node("long", json!({}));
    let element = json!({ "name": "red", "cni-args": { "x": "x".repeat(3 * MIB) } });
    let pod = node
        .pod("default", "web")
        .select(&json!([element]))
        .create();
    node.add(&pod).ok();
    let conf = node.last_call("ADD net1 red").conf();
    assert_eq!(
        conf["args"]["cni"]["x"].as_str().map(str::len),
        Some(3 * MIB)
    );
}

#[test]
fn a_file_of_more_than_4_mib_is_refused_by_name() {
    let node = node("file", json!({}));
    let pod = node
        .pod("default", "web")
        .networks(&" ".repeat(4 * MIB))
        .create();
    node.add(&pod).fails(11, &["pod-default-web.yaml"]);
    assert!(node.calls().is_empty());
}

#[test]
fn nesting_is_bounded_in_annotations_networks_and_results() {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let node = node(
        "deep",
        json!({ "print": format!(r#"{{"cniVersion":"1.1.0","x":{deep}}}"#) }),
    );
    let add = |networks: &str| node.add(&node.pod("default", "web").networks(networks).create());
    add(&deep).fails(7, &["annotation"]);
    node.nad(
        "default",
        "deep",
        json!(format!(r#"{{"type":"x","x":{deep}}}"#)),
    );
    add("deep").fails(7, &["default/deep"]);
    add("red").fails(6, &["default/red"]);
    node.assert_clean();
}

#[test]
fn many_networks_in_one_pod_work() {
    let node = node("many", json!({ "link": true }));
    let networks = vec!["red"; 30].join(",");
    let pod = node.pod("default", "web").networks(&networks).create();
    node.add(&pod).ok();
    assert_eq!(pod.netns().links().len(), 31);
    node.del(&pod).ok();
    node.assert_clean();
}
