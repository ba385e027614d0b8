//! Plugins that make or move an interface.

use e2e::{Node, Pod, lacking};
use serde_json::{Value, json};

use crate::delegates::attach::{
    addresses, both, bridge, default, plugin, reach, secondary, with_elements,
};

const NET1: [&str; 3] = ["lo", "eth0", "net1"];

#[test]
fn bridge_connects_pods() {
    for node in both("bridge") {
        secondary(&node, &bridge(&node), |a, b| {
            assert_eq!(a.netns().links(), NET1);
            reach(a, b, "net1");
            a.netns().ping("10.5.0.1");
            a.netns().ping("fd00:5::1");
        });
    }
}

#[test]
fn bridge_connects_pods_as_the_default_network() {
    for node in both("bridge-default") {
        let conf = bridge(&node);
        default(node, conf, |_, a, b| {
            assert_eq!(a.netns().links(), ["lo", "eth0"]);
            reach(a, b, "eth0");
        });
    }
}

#[test]
fn macvlan_connects_pods() {
    if !lacking::require("macvlan") {
        return;
    }
    on_a_master("macvlan", &json!({ "mode": "bridge" }));
}

#[test]
fn keys_of_a_plugin_may_be_of_any_case() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("any-case") {
        node.master("mst0");
        let conf = json!({
            "cniVersion": node.delegate_version(), "name": "net", "Type": "macvlan",
            "MASTER": "mst0", "Mode": "bridge", "IPAM": addresses(&node),
        });
        // A configuration of the node itself: a tenant's key of another case is refused.
        default(node, conf, |_, a, b| reach(a, b, "eth0"));
    }
}

#[test]
fn macvlan_connects_pods_as_the_default_network() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("macvlan-default") {
        node.master("mst0");
        let conf = node.macvlan("mst0", &crate::delegates::attach::SUBNETS);
        default(node, conf, |_, a, b| reach(a, b, "eth0"));
    }
}

#[test]
fn ipvlan_connects_pods() {
    if !lacking::require("ipvlan") {
        return;
    }
    on_a_master("ipvlan", &json!({ "mode": "l2" }));
}

/// Two pods on interfaces that lie on the same one of the host.
fn on_a_master(kind: &str, rest: &Value) {
    for node in both(kind) {
        node.master("mst0");
        let mut conf = plugin(&node, kind, rest.clone());
        conf["master"] = json!("mst0");
        conf["ipam"] = addresses(&node);
        secondary(&node, &conf, |a, b| {
            assert_eq!(a.netns().links(), NET1);
            let link = a.netns().link("net1").expect("net1 is there");
            assert_eq!(link["linkinfo"]["info_kind"], kind);
            reach(a, b, "net1");
        });
    }
}

#[test]
fn vlan_connects_pods() {
    if !lacking::require("vlan") {
        return;
    }
    for node in both("vlan") {
        node.master("mst0");
        let conf = |master: &str| {
            let rest = json!({ "master": master, "vlanId": 7, "ipam": addresses(&node) });
            plugin(&node, "vlan", rest)
        };
        two_ends(&node, conf("mst0"), conf("mst0-p"), |a, b| {
            let link = a.netns().link("net1").expect("net1 is there");
            assert_eq!(link["linkinfo"]["info_data"]["id"], 7);
            reach(a, b, "net1");
        });
    }
}

#[test]
fn host_device_moves_an_interface_and_brings_it_back() {
    for node in both("host-device") {
        node.master("dev0");
        let conf = |device: &str| {
            let rest = json!({ "device": device, "ipam": addresses(&node) });
            plugin(&node, "host-device", rest)
        };
        two_ends(&node, conf("dev0"), conf("dev0-p"), |a, b| {
            assert_eq!(node.host().link("dev0"), None);
            reach(a, b, "net1");
        });
        assert!(node.host().link("dev0").is_some());
        assert!(node.host().link("dev0-p").is_some());
    }
}

/// One pod on each end of a veth of the host, by a network for each.
fn two_ends(node: &Node, left: Value, right: Value, look: impl FnOnce(&Pod, &Pod)) {
    node.nad("default", "left", left);
    node.nad("default", "right", right);
    let elements = [json!({ "name": "left" }), json!({ "name": "right" })];
    with_elements(node, [&elements[0], &elements[1]], |a, b| {
        assert_eq!(a.netns().links(), NET1);
        look(a, b);
    });
}

#[test]
fn ptp_routes_between_pods() {
    for node in both("ptp") {
        let conf = plugin(&node, "ptp", json!({ "ipam": addresses(&node) }));
        secondary(&node, &conf, |a, b| {
            assert_eq!(a.netns().links(), NET1);
            reach(a, b, "net1");
            a.netns().ping("10.5.0.1");
            a.netns().ping("fd00:5::1");
        });
    }
}

#[test]
fn ptp_routes_between_pods_as_the_default_network() {
    for node in both("ptp-default") {
        let ipam = node.host_local(&crate::delegates::attach::SUBNETS);
        let conf = plugin(&node, "ptp", json!({ "ipam": ipam }));
        default(node, conf, |node, a, b| {
            reach(a, b, "eth0");
            node.host().ping(&a.address("eth0", false));
            node.host().ping(&a.address("eth0", true));
        });
    }
}

#[test]
fn loopback_is_a_network_without_an_interface_of_its_own() {
    for node in both("loopback") {
        let conf = plugin(&node, "loopback", json!({}));
        secondary(&node, &conf, |a, _| {
            assert_eq!(a.netns().links(), ["lo", "eth0"]);
            a.netns().ping("127.0.0.1");
            a.netns().ping("::1");
        });
    }
}

#[test]
fn dummy_holds_addresses() {
    if !lacking::require("dummy") {
        return;
    }
    holds_addresses("dummy");
}

#[test]
fn tap_holds_addresses() {
    if !lacking::require("tap") {
        return;
    }
    holds_addresses("tap");
}

/// An interface that leads nowhere. The distribution has none of these plugins.
fn holds_addresses(kind: &str) {
    let node = Node::new(kind);
    let conf = plugin(&node, kind, json!({ "ipam": addresses(&node) }));
    secondary(&node, &conf, |a, _| {
        assert_eq!(a.netns().links(), NET1);
        a.netns().ping(&a.address("net1", false));
        a.netns().ping(&a.address("net1", true));
    });
}
