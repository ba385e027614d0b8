//! What one pod may ask of a node: more is refused with code 7 before anything runs, and costs little memory.

use e2e::{Node, Outcome, Pod};
use serde_json::{Value, json};

/// The most memory that meta-cni and its plugins may have each.
const DATA: u64 = 64 << 20;

/// ADD with little memory.
fn add(node: &Node, pod: &Pod) -> Outcome {
    let limit = format!("--data={DATA}");
    node.call("ADD").pod(pod).under(["prlimit", &limit]).run()
}

#[track_caller]
fn refused(node: &Node, networks: &str, words: &[&str]) {
    let pod = node.pod("default", "web").networks(networks).create();
    add(node, &pod).fails(7, words);
    assert!(node.calls().is_empty(), "{:?}", node.calls());
}

/// The text of a network with so many bytes.
fn sized(node: &Node, bytes: usize) -> String {
    let text = node.recording("red", json!({ "pad": "" })).to_string();
    let pad = "a".repeat(bytes - text.len());
    node.recording("red", json!({ "pad": pad })).to_string()
}

fn mentions(number: usize) -> String {
    vec!["red"; number].join(",")
}

#[test]
fn more_networks_or_larger_ones_than_allowed_are_refused_before_anything_runs() {
    let node = Node::recorder("limits");
    node.nad("default", "red", node.recording("red", json!({})));
    refused(&node, &mentions(65), &["names 65 networks", "at most 64"]);
    let missing: Vec<_> = (0..1000)
        .map(|number| format!("missing-{number}"))
        .collect();
    refused(&node, &missing.join(","), &["names 1000 networks"]);
    node.nad("default", "red", Value::from(sized(&node, (64 << 10) + 1)));
    refused(
        &node,
        "red",
        &["default/red", "65537 bytes", "at most 65536"],
    );
    // Each is small enough, and all of them are not.
    node.nad("default", "red", Value::from(sized(&node, 64 << 10)));
    refused(
        &node,
        &mentions(64),
        &["the pod's networks", "at most 4194304"],
    );
    node.nad("default", "red", Value::from(sized(&node, 60 << 10)));
    let pod = node.pod("default", "web").networks(&mentions(64)).create();
    add(&node, &pod).ok();
    assert_eq!(node.calls().len(), 65);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn copies_for_many_plugins_are_refused_before_they_are_made() {
    let node = Node::recorder("copies");
    let plugins = |number: usize| {
        let plugins = vec![json!({ "type": "recording-plugin" }); number];
        json!({ "cniVersion": "1.0.0", "name": "red", "plugins": plugins })
    };
    node.nad("default", "red", plugins(1000));
    refused(
        &node,
        "red",
        &["default/red", "has 1000 plugins", "at most 32"],
    );
    node.nad("default", "red", plugins(32));
    let large = json!([{ "name": "red", "cni-args": { "x": vec![0; 80_000] } }]);
    refused(
        &node,
        &large.to_string(),
        &["the pod's networks", "at most 4194304"],
    );
}

#[test]
fn a_verb_ends_in_its_time_and_what_was_begun_is_undone() {
    let node = Node::recorder("time").conf(json!({ "verbTimeoutSeconds": 10 }));
    for name in ["a", "b"] {
        let slow = json!({ "on": ["ADD"], "hang": true });
        node.nad("default", name, node.recording(name, slow));
    }
    let pod = node.pod("default", "web").networks("a,b").create();
    let failed = node.add(&pod);
    failed.fails(11, &["verbTimeoutSeconds"]);
    assert!(!node.record_file(&pod).exists(), "undone in time: {failed}");
    node.assert_clean();
}
