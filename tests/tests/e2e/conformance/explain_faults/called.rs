//! Faults of plugins, and of what becomes of a sandbox later.

use std::fs;

use e2e::DEFAULT_SUBNETS;
use e2e::{Node, Pod};
use serde_json::{Value, json};

use super::{Fault, Scene, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "wrong master",
        &[
            "ADD failed",
            "network default/blue (net1): macvlan ADD",
            "eth7",
        ],
        Some("correct what macvlan names"),
        || added(|node| node.macvlan("eth7", &["10.2.0.0/24"])),
    ),
    fault(
        "IPAM plugin not installed",
        &[
            "ADD failed",
            "network default/blue (net1): bridge ADD",
            "no-such-ipam",
        ],
        Some("correct what bridge names"),
        no_ipam,
    ),
    fault(
        "host-local full",
        &[
            "ADD failed",
            "network default/blue (net1): bridge ADD",
            "no address of",
        ],
        Some("correct what bridge names"),
        full,
    ),
    fault(
        "one default route of bridge and its IPAM",
        &[
            "ADD failed",
            "(eth0): bridge ADD: failed to add route",
            "file exists",
        ],
        Some("the default route of ipam needs its `gw`"),
        || twice_one_default_route(&DEFAULT_SUBNETS[..1]),
    ),
    fault(
        "the same for IPv6",
        &[
            "ADD failed",
            "(eth0): bridge ADD: failed to add route",
            "file exists",
        ],
        Some("the default route of ipam needs its `gw`"),
        || twice_one_default_route(&DEFAULT_SUBNETS[1..]),
    ),
    fault(
        "bridge before 1.10 after a failed ADD",
        &[
            "ADD failed",
            "(eth0): bridge ADD",
            "could not set bridge's mac",
        ],
        Some("the next tries succeed; install 1.10"),
        again_on_a_new_bridge,
    ),
    fault(
        "a plugin refuses",
        &[
            "ADD failed",
            "network default/blue (net1): recording-plugin ADD: no uplink",
        ],
        Some("correct what recording-plugin names"),
        || recorded(json!({ "failOn": { "ADD": { "code": 42, "msg": "no uplink" } } })),
    ),
    fault(
        "the default network's plugin refuses",
        &["ADD failed", "(eth0): recording-plugin ADD: no uplink"],
        Some("correct what recording-plugin names"),
        default_refuses,
    ),
    fault(
        "a plugin fails silently",
        &[
            "ADD failed",
            "network default/blue (net1)",
            "exited with status 3",
            "its stderr: x",
        ],
        Some("correct what recording-plugin names"),
        || recorded(json!({ "exit": 3, "stderrBytes": 10, "on": ["ADD"] })),
    ),
    fault(
        "a plugin hangs",
        &[
            "ADD failed",
            "network default/blue (net1)",
            "stopped after 1.0s",
        ],
        Some("delegateTimeoutSeconds"),
        hanging,
    ),
    fault(
        "a plugin prints no result",
        &[
            "ADD failed",
            "network default/blue (net1)",
            "not a CNI result",
        ],
        Some("correct the JSON"),
        || recorded(json!({ "print": "ready", "on": ["ADD"] })),
    ),
    fault(
        "network-status cannot be written",
        &["ADD failed", "network-status (all attachments were undone)"],
        Some("writable, and the disk not full?"),
        || unreported(json!({})),
    ),
    fault(
        "the same, and not undone",
        &["ADD failed, and could not be undone", "network-status"],
        Some("writable, and the disk not full?"),
        || unreported(busy()),
    ),
    fault(
        "an ADD that failed is not undone",
        &[
            "ADD failed, and could not be undone",
            "(net1)",
            "ADD: no uplink",
        ],
        Some("correct what recording-plugin names"),
        || {
            let add = json!({ "code": 42, "msg": "no uplink" });
            recorded(json!({ "failOn": { "ADD": add }, "exit": 1 }))
        },
    ),
    fault(
        "an ADD was killed",
        &["an ADD was begun", "has not ended, or was killed"],
        None,
        killed,
    ),
    fault(
        "CHECK finds something",
        &[
            "attached, but CHECK failed",
            "network default/blue (net1)",
            "link is gone",
        ],
        Some("correct what recording-plugin names"),
        || {
            let fail = json!({ "CHECK": { "code": 42, "msg": "link is gone" } });
            then(json!({ "failOn": fail }), |node, pod| {
                node.check(pod).error();
            })
        },
    ),
    fault(
        "a DEL is refused",
        &[
            "DEL failed",
            "network default/blue (net1): recording-plugin DEL: busy",
        ],
        Some("correct what recording-plugin names"),
        || {
            then(busy(), |node, pod| {
                node.del(pod).error();
            })
        },
    ),
    fault(
        "GC is refused",
        &[
            "DEL failed",
            "network default/blue (net1): recording-plugin DEL: busy",
        ],
        Some("correct what recording-plugin names"),
        || {
            then(busy(), |node, _| {
                node.gc([]).error();
            })
        },
    ),
    fault(
        "GC is refused for another pod",
        &["deleted", "by GC"],
        None,
        refused_for_another,
    ),
    fault(
        "the record cannot be read",
        &["is not a record that can be read"],
        Some("delete the pod"),
        || {
            then(json!({}), |node, pod| {
                fs::write(node.record_file(pod), "{").expect("write a record");
            })
        },
    ),
];

fn busy() -> Value {
    json!({ "failOn": { "DEL": { "code": 42, "msg": "busy" } } })
}

fn on(node: Node, blue: Value) -> (Node, Pod) {
    node.nad("default", "blue", blue);
    let pod = node.pod("default", "web").networks("blue").create();
    (node, pod)
}

/// After an ADD that failed.
fn added(blue: impl FnOnce(&Node) -> Value) -> Scene {
    let node = Node::recorder("called");
    let blue = blue(&node);
    let (node, pod) = on(node, blue);
    node.add(&pod).error();
    node.into()
}

/// The same of a plugin that behaves so.
fn recorded(record: Value) -> Scene {
    added(|node| node.recording("blue", record))
}

/// After an ADD that succeeded, and what comes then.
fn then(record: Value, what: impl FnOnce(&Node, &Pod)) -> Scene {
    let node = Node::recorder("called");
    let mut blue = node.recording("blue", record);
    blue["checkByPlugins"] = json!(true);
    let (node, pod) = on(node, blue);
    node.add(&pod).ok();
    what(&node, &pod);
    node.into()
}

fn no_ipam() -> Scene {
    added(|node| {
        let mut blue = node.side_bridge("br-blue", &[]);
        blue["ipam"] = json!({ "type": "no-such-ipam" });
        blue
    })
}

/// The most common default network, with a route that names no gateway. The error says what `explain` says.
fn twice_one_default_route(subnets: &[&str]) -> Scene {
    let node = Node::new("called").default_network(|node| default_gateway(node, subnets));
    let node = node.conf(executed());
    let pod = node.pod("default", "web").create();
    let (_, msg, _) = node.add(&pod).error();
    assert!(
        msg.contains("file exists") && msg.ends_with("or remove the route"),
        "{msg}"
    );
    node.into()
}

/// For faults of the reference plugins that the ones that are built in do not have.
fn executed() -> Value {
    json!({ "builtinPlugins": "off" })
}

fn default_gateway(node: &Node, subnets: &[&str]) -> Value {
    let mut network = node.bridge("br-default", subnets);
    network["isDefaultGateway"] = json!(true);
    network
}

/// An ADD that failed left a bridge without a MAC address; the network was corrected since.
fn again_on_a_new_bridge() -> Scene {
    let node = Node::with_debian_plugins("called")
        .conf(executed())
        .default_network(|node| default_gateway(node, &DEFAULT_SUBNETS));
    let pod = node.pod("default", "web").create();
    node.add(&pod).error();
    let node = node.default_network(|node| node.bridge("br-default", &DEFAULT_SUBNETS));
    let (_, msg, _) = node.add(&pod).error();
    assert!(msg.ends_with("install 1.10"), "{msg}");
    node.into()
}

fn full() -> Scene {
    let node = Node::recorder("called");
    let blue = node.side_bridge("br-blue", &["10.2.0.0/30"]);
    let (node, pod) = on(node, blue);
    let first = node.pod("default", "first").networks("blue").create();
    node.add(&first).ok();
    node.add(&pod).error();
    node.into()
}

fn default_refuses() -> Scene {
    let fail = json!({ "failOn": { "ADD": { "code": 42, "msg": "no uplink" } } });
    let node = Node::new("called").default_network(|node| node.recording("default", fail));
    let blue = node.recording("blue", json!({}));
    let (node, pod) = on(node, blue);
    node.add(&pod).error();
    node.into()
}

fn hanging() -> Scene {
    let node = Node::recorder("called").conf(json!({ "delegateTimeoutSeconds": 1 }));
    let blue = node.recording("blue", json!({ "hang": true, "on": ["ADD"] }));
    let (node, pod) = on(node, blue);
    node.add(&pod).error();
    node.into()
}

fn unreported(record: Value) -> Scene {
    let node = Node::recorder("called");
    let blue = node.recording("blue", record);
    let (node, pod) = on(node, blue);
    // A folder in its place.
    fs::create_dir_all(node.status_file(&pod)).expect("make a folder");
    node.add(&pod).error();
    node.into()
}

fn killed() -> Scene {
    let node = Node::recorder("called");
    let blue = node.recording("blue", json!({ "killParent": "ADD:after" }));
    let (node, pod) = on(node, blue);
    assert!(!node.add(&pod).status.success());
    node.into()
}

fn refused_for_another() -> Scene {
    let node = Node::recorder("called");
    node.nad("default", "red", node.recording("red", busy()));
    let blue = node.recording("blue", json!({}));
    let (node, pod) = on(node, blue);
    let other = node.pod("default", "other").networks("red").create();
    node.add(&pod).ok();
    node.add(&other).ok();
    node.gc([]).error();
    node.into()
}
