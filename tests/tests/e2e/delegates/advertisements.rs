//! Router advertisements on the link of a secondary network that asks for none: macvlan over a link whose other end is
//! a router's.

use std::time::Duration;

use e2e::router::Router;
use e2e::{Netns, Node, Pod, lacking, wait_until};
use serde_json::{Value, json};

use crate::delegates::attach::{both, plugin};

const PATIENCE: Duration = Duration::from_secs(10);
const PREFIX: &str = "2001:db8:7:1::";
/// How the addresses of it begin.
const BEGIN: &str = "2001:db8:7:1:";

/// A router on `mst0`, which has advertised itself before there is a pod and goes on.
fn routed(node: &Node) -> (Netns, Router) {
    let netns = Netns::new("router");
    node.master("mst0");
    let name = netns.name();
    node.host().sh(&format!("ip link set mst0-p netns {name}"));
    netns.sh("ip link set mst0-p up");
    let router = Router::start(&netns, "mst0-p", PREFIX);
    (netns, router)
}

/// A macvlan whose IPAM gives these addresses and routes.
fn macvlan(node: &Node, name: &str, addresses: &[&str], routes: &Value) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|address| json!({ "address": address }))
        .collect();
    let ipam = json!({ "type": "static", "addresses": addresses, "routes": routes });
    let mut conf = plugin(node, "macvlan", json!({ "master": "mst0", "ipam": ipam }));
    conf["name"] = json!(name);
    conf
}

/// Pod `a` with `net1` on an IPv4 network.
fn add(node: &Node) -> Pod {
    let conf = macvlan(node, "net", &["10.7.0.5/24"], &json!([]));
    node.nad("default", "net", conf);
    let pod = node.pod("default", "a").networks("net").create();
    node.add(&pod).ok();
    pod
}

fn learns_an_address(pod: &Pod, ifname: &str) {
    wait_until("an address of the prefix", PATIENCE, || {
        let addresses = pod.netns().addresses(ifname);
        addresses
            .iter()
            .any(|one| one.starts_with(BEGIN))
            .then_some(())
    });
}

fn default_route_over(pod: &Pod, ifname: &str) -> bool {
    let routes = pod.netns().default_routes();
    routes
        .iter()
        .any(|route| route.starts_with("fe80:") && route.ends_with(ifname))
}

fn setting(pod: &Pod, key: &str) -> String {
    let text = pod.netns().sh(&format!("sysctl -n net.ipv6.conf.{key}"));
    text.trim().to_owned()
}

#[test]
fn a_secondary_network_learns_no_default_route_that_nobody_asked_for() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("ra") {
        let (_netns, _router) = routed(&node);
        let pod = add(&node);
        learns_an_address(&pod, "net1");
        assert!(!default_route_over(&pod, "net1"));
        // What the pod makes itself later learns what it always did.
        assert_eq!(setting(&pod, "default.accept_ra_defrtr"), "1");
        assert_eq!(setting(&pod, "eth0.accept_ra_defrtr"), "1");
        let checked = node.check(&pod);
        checked.ok();
        assert!(checked.stderr.contains(BEGIN), "{checked}");
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn an_attachment_that_has_an_ipv6_default_route_has_asked_for_what_routers_advertise() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("ra-asked") {
        let (_netns, _router) = routed(&node);
        let routes = json!([{ "dst": "::/0", "gw": "fd00:7::1" }]);
        let asks = macvlan(&node, "asks", &["fd00:7::6/64"], &routes);
        node.nad("default", "asks", asks);
        let plain = macvlan(&node, "plain", &["10.7.0.6/24"], &json!([]));
        node.nad("default", "plain", plain);
        let pod = node.pod("default", "a").networks("asks,plain").create();
        node.add(&pod).ok();
        wait_until("the default route of the router", PATIENCE, || {
            default_route_over(&pod, "net1").then_some(())
        });
        learns_an_address(&pod, "net2");
        assert!(!default_route_over(&pod, "net2"));
    }
}

#[test]
fn a_key_lets_everything_in_or_nothing() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("ra-all") {
        let (_netns, _router) = routed(&node);
        let node = node.conf(json!({ "acceptRouterAdvertisements": "all" }));
        let pod = add(&node);
        wait_until("the default route of the router", PATIENCE, || {
            default_route_over(&pod, "net1").then_some(())
        });
    }
    for node in both("ra-none") {
        let (_netns, _router) = routed(&node);
        let node = node.conf(json!({ "acceptRouterAdvertisements": "none" }));
        let pod = add(&node);
        assert_eq!(setting(&pod, "net1.accept_ra"), "0");
        assert_eq!(setting(&pod, "default.accept_ra"), "1");
    }
}
