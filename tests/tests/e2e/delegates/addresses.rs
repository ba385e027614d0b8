//! Plugins that give addresses, with and without a wish of the pod.

use e2e::{IpamServer, locate};
use serde_json::{Value, json};

use crate::delegates::attach::{
    addresses, both, bridge, default, plugin, reach, secondary, with_elements,
};

/// What two pods ask for.
const WISHES: [[&str; 2]; 2] = [
    ["10.5.0.11/24", "fd00:5::11/64"],
    ["10.5.0.12/24", "fd00:5::12/64"],
];

#[test]
fn host_local_leases_and_gives_back() {
    for node in both("host-local") {
        secondary(&node, &bridge(&node), |a, b| {
            let leases = ["10.5.0.2", "10.5.0.3", "fd00:5::2", "fd00:5::3"];
            assert_eq!(node.leased("br-net"), leases);
            reach(a, b, "net1");
        });
        assert!(node.leased("br-net").is_empty());
    }
}

/// The bridge plugin takes the default route of its IPAM for its own only if that names the gateway.
#[test]
fn meta_ipam_leases_for_a_bridge_that_is_the_default_gateway() {
    let pools = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pools.yaml");
    for node in both("meta-ipam") {
        let server = IpamServer::start_with(&["--pools", pools]);
        node.install(&locate::executable("meta-ipam"));
        let mut conf = plugin(
            &node,
            "bridge",
            json!({"bridge": "br-net", "isDefaultGateway": true}),
        );
        let socket = format!("unix://{}", server.socket().display());
        conf["ipam"] = json!({"type": "meta-ipam", "pool": "pods", "server": socket, "stateDir": node.state_dir()});
        default(node, conf, |_, a, b| {
            reach(a, b, "eth0");
            let routes = a.netns().sh("ip route") + &a.netns().sh("ip -6 route");
            for route in [
                "default via 10.10.0.1 dev eth0",
                "default via fd00:10::1 dev eth0",
            ] {
                assert_eq!(routes.matches(route).count(), 1, "{routes}");
            }
        });
    }
}

/// A wish for one family leaves the other alone, and a pair can be wished for.
#[test]
fn host_local_gives_the_address_that_a_pod_asks_for() {
    for node in both("wishes-host-local") {
        let conf = asking(bridge(&node), addresses(&node));
        node.nad("default", "net", conf);
        let elements = [
            json!({ "name": "net", "ips": ["10.5.0.11"] }),
            json!({ "name": "net", "ips": ["10.5.0.12", "fd00:5::12"] }),
        ];
        with_elements(&node, [&elements[0], &elements[1]], |a, b| {
            let first = ["10.5.0.11/24", "fd00:5::2/64"];
            let second = ["10.5.0.12/24", "fd00:5::12/64"];
            assert_eq!(a.netns().addresses("net1"), first);
            assert_eq!(b.netns().addresses("net1"), second);
            reach(a, b, "net1");
        });
    }
}

#[test]
fn static_gives_the_addresses_that_a_pod_asks_for() {
    for node in both("wishes-static") {
        let conf = asking(bridge(&node), json!({ "type": "static" }));
        node.nad("default", "net", conf);
        let wish = |index: usize| json!({ "name": "net", "ips": WISHES[index] });
        with_elements(&node, [&wish(0), &wish(1)], |a, b| {
            assert_eq!(a.netns().addresses("net1"), WISHES[0]);
            assert_eq!(b.netns().addresses("net1"), WISHES[1]);
            reach(a, b, "net1");
        });
    }
}

fn asking(mut conf: Value, ipam: Value) -> Value {
    conf["capabilities"] = json!({ "ips": true });
    conf["ipam"] = ipam;
    conf
}

#[test]
fn static_gives_the_addresses_of_its_configuration() {
    for node in both("static") {
        let conf = |index: usize| {
            let addresses = WISHES[index].map(|address| json!({ "address": address }));
            let mut conf = bridge(&node);
            conf["ipam"] = json!({ "type": "static", "addresses": addresses });
            conf
        };
        node.nad("default", "one", conf(0));
        node.nad("default", "two", conf(1));
        let elements = [json!({ "name": "one" }), json!({ "name": "two" })];
        with_elements(&node, [&elements[0], &elements[1]], |a, b| {
            assert_eq!(a.netns().addresses("net1"), WISHES[0]);
            reach(a, b, "net1");
        });
    }
}

#[test]
fn static_gives_the_addresses_of_the_default_network() {
    for node in both("static-default") {
        let mut conf = bridge(&node);
        let addresses = [
            json!({ "address": "10.5.0.9/24" }),
            json!({ "address": "fd00:5::9/64" }),
        ];
        conf["ipam"] = json!({ "type": "static", "addresses": addresses });
        let node = node.conf(json!({ "delegates": [conf] }));
        let pod = node.pod("default", "a").create();
        node.add(&pod).ok();
        assert_eq!(
            pod.netns().addresses("eth0"),
            ["10.5.0.9/24", "fd00:5::9/64"]
        );
        pod.netns().ping("10.5.0.1");
        pod.netns().ping("fd00:5::1");
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn one_family_alone_is_enough() {
    for (name, subnet, v6) in [("v4", "10.5.0.0/24", false), ("v6", "fd00:5::/64", true)] {
        for node in both(name) {
            let conf = node.bridge("br-one", &[subnet]);
            default(node, conf, |_, a, b| {
                assert_eq!(b.netns().addresses("eth0").len(), 1);
                a.netns().ping(&b.address("eth0", v6));
            });
        }
    }
}
