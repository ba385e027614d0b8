//! Many at once: calls for one sandbox never interleave, calls for several do not disturb each other.

use std::collections::HashSet;
use std::thread;

use e2e::{Node, Pod, RecordedCall};
use serde_json::json;

use crate::faults::scene::{link, pod};

/// The code of a sandbox that has everything already.
const INVALID_ENVIRONMENT: u64 = 4;

/// Two ADDs and a DEL of one pod, started at the same time, in every order that comes up.
fn two_adds_and_a_del(node: &Node, pod: &Pod) {
    let outcomes = thread::scope(|scope| {
        let calls = ["ADD", "DEL", "ADD"]
            .map(|verb| scope.spawn(move || (verb, node.call(verb).pod(pod).run())));
        calls.map(|call| call.join().expect("a call does not panic"))
    });
    for (verb, outcome) in outcomes {
        if verb == "ADD" && !outcome.status.success() {
            assert_eq!(outcome.error().0, INVALID_ENVIRONMENT, "{outcome}");
        } else {
            outcome.ok();
        }
    }
}

/// Asserts that the delegates of each process ran without one of another process between them.
fn assert_never_interleaved(calls: &[RecordedCall]) {
    for (before, after) in calls.iter().zip(&calls[1..]) {
        assert!(!before.overlaps(after), "{before:#?} and {after:#?}");
    }
    let mut parents: Vec<u64> = calls.iter().map(|call| call.parent).collect();
    parents.dedup();
    let distinct: HashSet<u64> = parents.iter().copied().collect();
    assert_eq!(parents.len(), distinct.len(), "{parents:?}");
}

#[test]
fn calls_for_one_sandbox_never_interleave() {
    let node = Node::new("one");
    let default = link(&node, "default", json!({}));
    for name in ["red", "green"] {
        node.nad("default", name, link(&node, name, json!({})));
    }
    // Delegates of one call must not overlap either, so that any overlap is between calls.
    let node = node.conf(json!({ "delegates": [default], "maxParallelDelegates": 1 }));
    for round in 0..12 {
        let pod = pod(&node, &format!("a{round}"), &["red", "green"]);
        two_adds_and_a_del(&node, &pod);
        node.del(&pod).ok();
        node.assert_clean();
        let mut calls = node.calls();
        calls.retain(|call| call.container_id == pod.container_id);
        assert!(calls.len() >= 6, "one ADD and one DEL at least: {calls:#?}");
        assert_never_interleaved(&calls);
    }
}

#[test]
fn many_sandboxes_come_and_go_at_once() {
    let node = Node::new("many");
    node.nad("default", "red", link(&node, "red", json!({})));
    let mut blue = node.bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]);
    blue["ipam"]["routes"] = json!([]);
    node.nad("default", "blue", blue);
    let pods: Vec<Pod> = (0..8)
        .map(|index| pod(&node, &format!("p{index}"), &["red", "blue"]))
        .collect();
    let at_once = |work: &(dyn Fn(&Pod) + Sync)| {
        thread::scope(|scope| {
            pods.iter()
                .for_each(|pod| _ = scope.spawn(move || work(pod)))
        });
    };
    for _ in 0..2 {
        at_once(&|pod| _ = node.add(pod).ok());
        let addresses: HashSet<String> = pods
            .iter()
            .flat_map(|pod| [pod.address("eth0", false), pod.address("net2", true)])
            .collect();
        assert_eq!(addresses.len(), 2 * pods.len(), "{addresses:?}");
        at_once(&|pod| _ = node.del(pod).ok());
        node.assert_clean();
    }
    // Out of step: while one is made another one goes.
    at_once(&|pod| {
        for _ in 0..3 {
            node.add(pod).ok();
            node.del(pod).ok();
        }
    });
    node.assert_clean();
}
