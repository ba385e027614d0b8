//! Links of kinds that every kernel here has, in namespaces of their own.

use std::fs::File;
use std::os::fd::AsFd as _;

use super::*;
use crate::netns;
use crate::test_netns::TestNetns;

#[test]
fn both_ends_of_a_pair_are_made_where_they_stay_with_all_that_was_asked() {
    let (host, pod) = (TestNetns::new(), TestNetns::new());
    host.ip("link add br0 type bridge");
    let file = File::open(pod.path()).unwrap();
    let bridge = netns::within(&host.path(), || {
        let mut netlink = Netlink::open().unwrap();
        let bridge = netlink.link("br0").unwrap().unwrap().index;
        let peer = NewLink {
            mac: Some(&[2, 0, 0, 0, 0, 9]),
            mtu: Some(1400),
            namespace: Some(file.as_fd()),
            ..NewLink::new("eth0", NewKind::Peer)
        };
        let link = NewLink {
            mtu: Some(1400),
            tx_queue: Some(0),
            controller: Some(bridge),
            is_up: true,
            ..NewLink::new("veth9", NewKind::Veth { peer: &peer })
        };
        netlink.make(&link).unwrap();
        let refused = netlink.make(&link).unwrap_err();
        assert_eq!(refused.errno(), Some(nix::libc::EEXIST));
        bridge
    });
    let there = netns::within(&host.path(), || {
        Netlink::open().unwrap().link("veth9").unwrap().unwrap()
    });
    let (bridge, there) = (bridge.unwrap(), there.unwrap());
    assert_eq!((there.controller, there.mtu), (Some(bridge), 1400));
    assert_eq!(there.tx_queue, 0);
    assert!(there.is_up);
    let inside = pod.ip("-d link show eth0");
    for part in ["02:00:00:00:00:09", "mtu 1400", "veth"] {
        assert!(inside.contains(part), "{inside}");
    }
}

#[test]
fn a_macvlan_is_made_in_the_namespace_of_the_pod_on_a_parent_of_the_host() {
    let (host, pod) = (TestNetns::new(), TestNetns::new());
    host.ip("link add br0 type bridge");
    let file = File::open(pod.path()).unwrap();
    netns::within(&host.path(), || {
        let mut netlink = Netlink::open().unwrap();
        let parent = netlink.link("br0").unwrap().unwrap().index;
        let kind = NewKind::Macvlan {
            mode: MacVlanMode::Bridge,
            broadcast_queue: None,
        };
        let link = NewLink {
            parent: Some(parent),
            namespace: Some(file.as_fd()),
            ..NewLink::new("net1", kind)
        };
        netlink.make(&link).unwrap();
    })
    .unwrap();
    let inside = pod.ip("-d link show net1");
    assert!(inside.contains("macvlan mode bridge"), "{inside}");
}
