//! Plugins that hang use up the time of a DEL or GC: what had no time is tried first the next time, so that nothing is kept from its
//! turn for ever.

use e2e::{Node, Pod};
use serde_json::{Value, json};

use crate::faults::scene::{link, pod};

/// As many as are worked on side by side.
const HUNG: [&str; 4] = ["a", "b", "c", "d"];

/// A node whose verbs have ten seconds, with four networks whose DEL hangs, and a default network.
fn node(name: &str, on: Value) -> Node {
    let node = Node::recorder(name).conf(json!({ "verbTimeoutSeconds": 10 }));
    for name in HUNG {
        let hanging = json!({ "hang": true, "on": on });
        node.nad("default", name, link(&node, name, hanging));
    }
    node
}

/// The calls of a verb since the last question, as interface and network.
fn calls_of(node: &Node, verb: &str, what: impl FnOnce()) -> Vec<String> {
    let before = node.calls().len();
    what();
    let calls = node.summaries().split_off(before);
    let begin = format!("{verb} ");
    let calls = calls.iter().filter_map(|call| call.strip_prefix(&begin));
    calls.map(str::to_owned).collect()
}

#[test]
fn a_del_begins_with_the_attachments_that_the_last_one_did_not_reach() {
    let node = node("turns", json!(["DEL"]));
    let pod = pod(&node, "web", &HUNG);
    node.add(&pod).ok();
    let first = calls_of(&node, "DEL", || {
        let failed = node.del(&pod);
        failed.fails(11, &["verbTimeoutSeconds"]);
    });
    let record = std::fs::read(node.record_file(&pod)).expect("read a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let unreached: Vec<String> = record["attachments"]
        .as_array()
        .expect("attachments")
        .iter()
        .filter(|entry| entry["unreached"] == 1)
        .map(|entry| {
            entry["attachment"]["ifname"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect();
    assert_eq!(unreached, ["eth0"], "{first:?}");
    let second = calls_of(&node, "DEL", || {
        node.del(&pod).fails(11, &["verbTimeoutSeconds"]);
    });
    assert_eq!(second[0], "eth0 default", "{second:?}");
}

#[test]
fn a_gc_begins_with_the_sandboxes_that_the_last_one_did_not_reach() {
    let node = node("turns-gc", json!(["DEL"]));
    let pods: Vec<Pod> = ["x", "y"].map(|name| pod(&node, name, &["a"])).into();
    for pod in &pods {
        node.add(pod).ok();
    }
    let reached = || {
        let before = node.calls().len();
        node.gc([]).error();
        let calls = node.calls().split_off(before);
        let hanging = calls.iter().filter(|call| call.network == "a");
        let mut reached: Vec<String> = hanging.map(|call| call.container_id.clone()).collect();
        reached.dedup();
        reached
    };
    let (first, second) = (reached(), reached());
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert_ne!(first, second);
}

#[test]
fn a_gc_asks_the_networks_first_that_the_last_one_had_no_time_for() {
    let node = node("turns-networks", json!(["GC"]));
    let pod = pod(&node, "web", &["a", "b"]);
    node.add(&pod).ok();
    let asked = || calls_of(&node, "GC", || drop(node.gc([&pod]).error()));
    let (first, second) = (asked(), asked());
    assert_eq!(first, [" a"], "it hangs");
    assert_eq!(second, [" b"], "so does this one");
}
