//! MTUs, and the way of older kernels to a name that the host has, too.

#[path = "../../../netlink/src/test_netns.rs"]
mod test_netns;

use netlink::{MacVlanMode, NewKind};

use super::*;
use test_netns::TestNetns;

#[test]
fn the_mtu_is_at_most_the_masters_and_0_is_its_own() {
    let master = Link {
        mtu: 1500,
        ..Link::default()
    };
    let of = |wanted| mtu(wanted, &master).map_err(|error| error.to_string());
    assert_eq!(of(0), Ok(None));
    assert_eq!(of(1500), Ok(Some(1500)));
    for wrong in [-1, 1501, i64::MAX, i64::MIN] {
        let error = of(wrong).unwrap_err();
        assert!(error.starts_with(&format!("mtu: {wrong} ")), "{error}");
    }
}

#[test]
fn a_link_gets_its_name_in_the_sandbox_if_the_kernel_does_not_take_it_before() {
    let (host, pod) = (TestNetns::new(), TestNetns::new());
    host.ip("link add eth0 type bridge");
    let namespace = Namespace::open(&pod.path()).unwrap();
    let made = netlink::netns::within(&host.path(), || {
        let mut host = Netlink::open().unwrap();
        let kind = NewKind::Macvlan {
            mode: MacVlanMode::Bridge,
            broadcast_queue: None,
        };
        let link = NewLink {
            parent: Some(host.link("eth0").unwrap().unwrap().index),
            namespace: Some(namespace.as_fd()),
            ..NewLink::new("eth0", kind)
        };
        make_under_other_name(&mut host, &namespace, &link)?;
        // What has no place there goes again.
        let again = make_under_other_name(&mut host, &namespace, &link);
        assert!(again.is_err());
        Ok::<_, Failure>(())
    });
    made.unwrap().unwrap();
    let inside = pod.ip("-brief link");
    assert!(inside.contains("eth0@"), "{inside}");
    assert!(!inside.contains("meta"), "{inside}");
}
