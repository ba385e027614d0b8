//! A pod is healthy whatever other pods of its bridge come and go.

use std::thread;

use e2e::{Node, Pod};
use serde_json::{Value, json};

/// How often two pods come first at once.
const ROUNDS: usize = 12;

/// A node whose pods have an interface on this bridge.
fn node(name: &str, change: impl FnOnce(&mut Value)) -> Node {
    Node::new(name).default_network(|node| {
        let mut network = node.bridge("br-default", &["10.60.0.0/24"]);
        change(&mut network);
        network
    })
}

fn pods(node: &Node, round: usize) -> [Pod; 2] {
    ["first", "second"].map(|name| node.pod("default", &format!("{name}-{round}")).create())
}

#[test]
fn two_pods_that_come_first_at_once_are_both_healthy() {
    let node = node("first-at-once", |_| {});
    for round in 0..ROUNDS {
        let pods = pods(&node, round);
        thread::scope(|scope| {
            for pod in &pods {
                scope.spawn(|| node.call("ADD").pod(pod).run().ok());
            }
        });
        for pod in &pods {
            node.call("CHECK").pod(pod).run().ok();
        }
        for pod in &pods {
            node.call("DEL").pod(pod).run().ok();
        }
        // The next two make it anew.
        node.host().ip("link delete br-default");
    }
}

#[test]
fn on_a_bridge_without_an_address_a_pod_is_healthy_after_another_one_came_or_went() {
    let node = node("came-and-went", |network| {
        network["isGateway"] = json!(false)
    });
    let [first, second] = pods(&node, 0);
    node.call("ADD").pod(&first).run().ok();
    // The bridge has the lowest hardware address of its ports: one of the two CHECKs meets another one.
    node.call("ADD").pod(&second).run().ok();
    node.call("CHECK").pod(&first).run().ok();
    node.call("DEL").pod(&first).run().ok();
    node.call("CHECK").pod(&second).run().ok();
    node.call("DEL").pod(&second).run().ok();
    node.assert_clean();
}
