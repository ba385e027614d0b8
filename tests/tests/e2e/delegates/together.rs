//! Many networks at once.

use e2e::{Node, lacking};
use serde_json::{Value, json};

use crate::delegates::attach::{both, live, plugin, reach};

/// A bridge of its own name and subnets, without default routes.
fn bridge(node: &Node, index: u8) -> Value {
    let subnets = subnets(index);
    let mut conf = node.bridge(&format!("br-{index}"), &[&subnets[0], &subnets[1]]);
    conf["ipam"]["routes"] = json!([]);
    conf
}

fn subnets(index: u8) -> [String; 2] {
    [format!("10.{index}.0.0/24"), format!("fd00:{index}::/64")]
}

#[test]
fn six_networks_beside_the_default_one() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("six") {
        make_networks(&node);
        let pod = |name: &str| {
            // The last one is the second on its network.
            let networks = "n1,n2,n3,n4,n5,n1";
            node.pod("default", name).networks(networks).create()
        };
        live(&node, &pod("a"), &pod("b"), |a, b| {
            let mut links = a.netns().links();
            links.sort();
            assert_eq!(
                links,
                ["eth0", "lo", "net1", "net2", "net3", "net4", "net5", "net6"]
            );
            reach(a, b, "eth0");
            for network in 1..=6 {
                reach(a, b, &format!("net{network}"));
            }
            let link = a.netns().link("net4").expect("net4 is there");
            assert_eq!(link["mtu"], 1400);
        });
    }
}

/// NADs `n1` to `n5`: bridge, macvlan, ptp, and bridges with tuning and firewall behind them.
fn make_networks(node: &Node) {
    node.master("mst0");
    let mut macvlan = node.macvlan("mst0", &["10.12.0.0/24", "fd00:12::/64"]);
    macvlan["name"] = json!("macvlan");
    let ipam = bridge(node, 13)["ipam"].clone();
    let ptp = plugin(node, "ptp", json!({ "ipam": ipam }));
    let tuning = json!({ "mtu": 1400, "dataDir": node.folder().join("tuning") });
    let firewall = json!({ "backend": "iptables" });
    let networks = [
        bridge(node, 11),
        macvlan,
        ptp,
        node.list(&[bridge(node, 14), plugin(node, "tuning", tuning)]),
        node.list(&[bridge(node, 15), plugin(node, "firewall", firewall)]),
    ];
    for (index, conf) in networks.into_iter().enumerate() {
        node.nad("default", &format!("n{}", index + 1), conf);
    }
}
