//! CHECK of secondary networks: healthy pods pass whose plugins' own CHECK refuses what it made itself, and what is
//! missing is named.

use e2e::{IpamServer, Node, Pod, lacking, locate};
use serde_json::{Value, json};

use crate::delegates::attach::{both, bridge, plugin, secondary};

/// A bridge without addresses.
fn flat(node: &Node) -> Value {
    plugin(node, "bridge", json!({ "bridge": "br-net" }))
}

/// CHECK of bridge asks for the MAC address that the bridge had before another pod came.
#[test]
fn a_flat_bridge_passes_check_when_another_pod_has_come() {
    for node in both("flat-check") {
        secondary(&node, &flat(&node), |_, _| {});
    }
}

/// CHECK of bandwidth asks for a limit that the pod has none of.
#[test]
fn bandwidth_without_a_rate_passes_check() {
    if !lacking::require("bandwidth") {
        return;
    }
    for node in both("rate-check") {
        let rest = json!({ "capabilities": { "bandwidth": true } });
        let conf = node.list(&[bridge(&node), plugin(&node, "bandwidth", rest)]);
        secondary(&node, &conf, |_, _| {});
    }
}

/// A pod with `net1`, which has addresses and routes of both families.
fn routed(node: &Node) -> Pod {
    let mut conf = bridge(node);
    conf["ipam"] = json!({
        "type": "static",
        "addresses": [{ "address": "10.5.0.2/24" }, { "address": "fd00:5::2/64" }],
        "routes": [
            { "dst": "10.9.0.0/16", "gw": "10.5.0.1" },
            { "dst": "fd00:9::/64", "gw": "fd00:5::1" },
        ],
    });
    node.nad("default", "net", conf);
    let pod = node.pod("default", "a").networks("net").create();
    node.add(&pod).ok();
    pod
}

#[test]
fn what_a_pod_lost_on_a_secondary_network_is_named() {
    let cases = [
        (
            "ip address delete 10.5.0.2/24 dev net1",
            "address 10.5.0.2 is gone from net1",
        ),
        (
            "ip address delete fd00:5::2/64 dev net1",
            "address fd00:5::2 is gone from net1",
        ),
        (
            "ip route delete 10.9.0.0/16",
            "the route to 10.9.0.0/16 via 10.5.0.1 is gone",
        ),
        (
            "ip route delete fd00:9::/64",
            "the route to fd00:9::/64 via fd00:5::1 is gone",
        ),
        (
            "ip link set net1 address 02:00:00:00:00:99",
            "net1 has MAC address 02:00:00:00:00:99",
        ),
        ("ip link set net1 name other1", "interface net1 is gone"),
    ];
    for node in both("lost") {
        for (change, found) in cases {
            let pod = routed(&node);
            node.check(&pod).ok();
            pod.netns().sh(change);
            node.check(&pod).fails(100, &["default/net (net1)", found]);
            node.del(&pod).ok();
        }
    }
}

#[test]
fn a_lease_that_was_taken_away_is_found() {
    let server = IpamServer::start();
    let create = ["pool", "create", "blue", "--ipv4-cidr", "10.5.0.0/24"];
    assert!(server.ipamctl(&create).status.success());
    let node = Node::new("lease-check");
    node.install(&locate::executable("meta-ipam"));
    let mut conf = flat(&node);
    node.leases_from(&server.address(), json!({}));
    conf["ipam"] = json!({ "type": "meta-ipam", "pool": "blue" });
    node.nad("default", "net", conf);
    let pod = node.pod("default", "a").networks("net").create();
    node.add(&pod).ok();
    node.check(&pod).ok();
    let lease = server.ipamctl_json(&["lease", "list"])["leases"][0]["id"].clone();
    let lease = lease.as_str().expect("a lease has an id");
    assert!(
        server
            .ipamctl(&["lease", "release", lease, "--yes"])
            .status
            .success()
    );
    node.check(&pod)
        .fails(3, &["default/net (net1)", "10.5.0.1", "not leased"]);
    node.del(&pod).ok();
}
