//! Addresses and routes in namespaces of their own.

use super::*;
use crate::test_netns::TestNetns;
use crate::{LinkChange, netns};

/// A namespace with a veth of the name `one` that is up.
fn namespace() -> TestNetns {
    let netns = TestNetns::new();
    netns.ip("link add one type veth peer name other");
    netns.ip("link set other up");
    netns.ip("link set one up");
    netns
}

fn inside<T: Send>(netns: &TestNetns, act: impl FnOnce(&mut Netlink, u32) -> T + Send) -> T {
    netns::within(&netns.path(), || {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link("one").unwrap().unwrap().index;
        act(&mut netlink, link)
    })
    .unwrap()
}

#[test]
fn an_address_of_either_family_is_added_once_and_removed() {
    let netns = namespace();
    let addresses: [IpNetwork; 2] = ["10.5.0.2/24", "fd00:5::2/64"].map(|one| one.parse().unwrap());
    inside(&netns, |netlink, link| {
        for address in addresses {
            netlink.add_address(link, address).unwrap();
            let again = netlink.add_address(link, address).unwrap_err();
            assert_eq!(again.errno(), Some(nix::libc::EEXIST));
        }
    });
    let shown = netns.ip("address show dev one");
    assert!(
        shown.contains("10.5.0.2/24 brd 10.5.0.255 scope global one"),
        "{shown}"
    );
    assert!(shown.contains("fd00:5::2/64 scope global"), "{shown}");
    inside(&netns, |netlink, link| {
        for address in addresses {
            netlink.remove_address(link, address).unwrap();
        }
    });
    assert!(!netns.ip("address show dev one").contains("global"));
}

#[test]
fn a_route_has_all_that_was_asked_and_the_one_that_the_kernel_takes_is_found() {
    let netns = namespace();
    netns.ip("address add 10.5.0.2/24 dev one");
    inside(&netns, |netlink, link| {
        let gateway: IpAddr = "10.5.0.1".parse().unwrap();
        let route = NewRoute {
            priority: Some(50),
            table: Some(1000),
            mtu: Some(1300),
            advmss: Some(1200),
            ..NewRoute::over(link, "192.0.2.0/24".parse().unwrap(), Some(gateway))
        };
        netlink.add_route(&route).unwrap();
        let again = netlink.add_route(&route).unwrap_err();
        assert_eq!(again.errno(), Some(nix::libc::EEXIST));
        let route = NewRoute::over(link, "198.51.100.0/24".parse().unwrap(), Some(gateway));
        netlink.add_route(&route).unwrap();

        let taken = |netlink: &mut Netlink, to: &str| {
            let found = netlink.route_to(to.parse().unwrap()).unwrap();
            found.map(|route| (route.destination.to_string(), route.hops[0].link == link))
        };
        let taken = |to: &str| taken(netlink, to);
        let cases = [
            ("198.51.100.7", Some(("198.51.100.0/24", true))),
            ("10.5.0.77", Some(("10.5.0.0/24", true))),
            ("10.5.0.2", Some(("10.5.0.2/32", true))),
            ("203.0.113.1", None),
            ("fd00:5::1", None),
        ];
        let mut taken = taken;
        for (to, expected) in cases {
            let expected = expected.map(|(route, is_ours)| (route.to_owned(), is_ours));
            assert_eq!(taken(to), expected, "{to}");
        }
    });
    let shown = netns.ip("route show table 1000");
    for part in [
        "192.0.2.0/24",
        "via 10.5.0.1",
        "metric 50",
        "mtu 1300",
        "advmss 1200",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn links_of_a_group_are_removed_at_once() {
    let netns = namespace();
    netns.ip("link add third type veth peer name fourth");
    inside(&netns, |netlink, link| {
        let grouped = LinkChange {
            group: Some(77),
            ..LinkChange::default()
        };
        let other = netlink.link("third").unwrap().unwrap().index;
        for link in [link, other] {
            netlink.change("group a link", link, &grouped).unwrap();
        }
        netlink.delete_group(77).unwrap();
        let names = netlink.links().unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        let none = netlink.delete_group(77).unwrap_err();
        assert_eq!(none.errno(), Some(nix::libc::ENODEV));
    });
}

#[test]
fn the_route_that_an_address_brought_is_removed_once() {
    let netns = namespace();
    netns.ip("address add 10.5.0.2/24 dev one");
    netns.ip("address add fd00:5::2/64 dev one nodad");
    inside(&netns, |netlink, link| {
        for subnet in ["10.5.0.0/24", "fd00:5::/64"] {
            let subnet = subnet.parse().unwrap();
            netlink.remove_route(link, subnet).unwrap();
            let again = netlink.remove_route(link, subnet).unwrap_err();
            assert_eq!(again.errno(), Some(nix::libc::ESRCH));
        }
    });
    let left = netns.ip("route") + &netns.ip("-6 route");
    assert!(
        !left.contains(":5::/64") && !left.contains("10.5."),
        "{left}"
    );
}
