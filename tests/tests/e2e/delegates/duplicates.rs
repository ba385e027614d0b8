//! IPv6 addresses that another host of the link has, or that are not ready: macvlan over a link whose other end is in
//! another namespace.

use e2e::{Netns, Node, Pod, lacking};
use serde_json::json;

use crate::delegates::attach::{both, plugin};

/// The pod's address. No gateway comes with it, for which plugins would wait by themselves.
const ADDRESS: &str = "fd00:5::2";

/// The other host of the link, and pod `a` with `net1` on it, whose interfaces detect duplicates.
fn scene(node: &Node) -> (Netns, Pod) {
    let other = Netns::new("other");
    node.master("mst0");
    let name = other.name();
    node.host().sh(&format!("ip link set mst0-p netns {name}"));
    other.sh("ip link set mst0-p up");
    let addresses = json!([{ "address": "10.5.0.2/24" }, { "address": format!("{ADDRESS}/64") }]);
    let ipam = json!({ "type": "static", "addresses": addresses });
    let macvlan = json!({ "master": "mst0", "ipam": ipam });
    node.nad("default", "net", plugin(node, "macvlan", macvlan));
    let pod = node.pod("default", "a").networks("net").create();
    pod.netns().sysctl("net/ipv6/conf/default/accept_dad", "1");
    (other, pod)
}

fn take(other: &Netns, address: &str) {
    other.sh(&format!("ip address add {address}/64 dev mst0-p nodad"));
}

/// Addresses of `net1` that nothing can use yet.
fn tentative(pod: &Pod) -> String {
    pod.netns()
        .sh("ip -6 address show dev net1 tentative scope global")
}

#[test]
fn an_address_that_another_host_has_fails_the_add_and_everything_is_undone() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("duplicate") {
        let (other, pod) = scene(&node);
        take(&other, ADDRESS);
        node.add(&pod)
            .fails(11, &["default/net (net1)", ADDRESS, "another host has"]);
        assert_eq!(pod.netns().links(), ["lo"]);
        node.assert_clean();
    }
}

#[test]
fn addresses_of_a_pod_can_be_used_when_its_add_returns() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("ready") {
        let (_other, pod) = scene(&node);
        node.add(&pod).ok();
        assert_eq!(tentative(&pod), "");
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn without_a_time_for_it_no_address_is_waited_for() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("no-wait") {
        let node = node.conf(json!({ "dadTimeoutSeconds": 0 }));
        let (other, pod) = scene(&node);
        take(&other, ADDRESS);
        node.add(&pod).ok();
        assert!(tentative(&pod).contains(ADDRESS));
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn check_finds_an_address_that_another_host_has() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("late-duplicate") {
        let (other, pod) = scene(&node);
        node.add(&pod).ok();
        node.check(&pod).ok();
        let address = format!("{ADDRESS}/64 dev net1");
        pod.netns().sh(&format!("ip address delete {address}"));
        take(&other, ADDRESS);
        pod.netns().sh(&format!("ip address add {address}"));
        let patience = std::time::Duration::from_secs(10);
        e2e::wait_until("the address fails", patience, || {
            tentative(&pod).contains("dadfailed").then_some(())
        });
        node.check(&pod)
            .fails(100, &["default/net (net1)", ADDRESS, "another host has"]);
    }
}

/// An interface without a carrier never ends its detection.
#[test]
fn an_interface_without_a_carrier_is_not_waited_for() {
    if !lacking::require("macvlan") {
        return;
    }
    for node in both("no-carrier") {
        let node = node.conf(json!({ "dadTimeoutSeconds": 86400 }));
        let (other, pod) = scene(&node);
        other.sh("ip link set mst0-p down");
        let outcome = node.add(&pod);
        outcome.ok();
        assert!(outcome.stderr.contains("no carrier"), "{outcome}");
        node.del(&pod).ok();
        node.assert_clean();
    }
}
