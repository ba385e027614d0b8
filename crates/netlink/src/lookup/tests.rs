//! Real namespaces: `net1` is one end of a veth pair whose other end is in the namespace as well.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::Ipv6Settings;
use crate::netns::within;
use crate::test_netns::TestNetns;

fn sandbox() -> TestNetns {
    let netns = TestNetns::new();
    netns.ip("link add net1 address 02:00:00:00:00:0a mtu 1400 type veth peer name peer1");
    netns.ip("link set net1 up");
    netns.ip("link set peer1 up");
    netns
}

fn ask<T: Send>(netns: &TestNetns, question: impl FnOnce(&mut Netlink) -> T + Send) -> T {
    within(&netns.path(), || question(&mut Netlink::open().unwrap())).unwrap()
}

#[test]
fn a_link_is_found_by_its_name() {
    let netns = sandbox();
    let link = ask(&netns, |netlink| netlink.link("net1"))
        .unwrap()
        .unwrap();
    assert_eq!((link.name.as_str(), link.mtu), ("net1", 1400));
    assert_eq!(link.mac, "02:00:00:00:00:0a");
    assert!(link.has_carrier);
    for name in ["net2", "", "a-name-of-16-char"] {
        assert_eq!(ask(&netns, |netlink| netlink.link(name)).unwrap(), None);
    }
    netns.ip("link property add dev net1 altname storage-network-of-rack-17");
    let by_other_name = ask(&netns, |netlink| netlink.link("storage-network-of-rack-17"));
    assert_eq!(by_other_name.unwrap().unwrap().name, "net1");
}

#[test]
fn a_link_is_found_by_its_index() {
    let netns = sandbox();
    let by_name = ask(&netns, |netlink| netlink.link("net1")).unwrap();
    let index = by_name.as_ref().unwrap().index;
    let by_index = ask(&netns, |netlink| netlink.link_of_index(index));
    assert_eq!(by_index.unwrap(), by_name);
    let absent = ask(&netns, |netlink| netlink.link_of_index(index + 100));
    assert_eq!(absent.unwrap(), None);
}

#[test]
fn a_link_says_how_ipv6_is_set_on_it() {
    let netns = sandbox();
    let path = |setting: &str| format!("/proc/sys/net/ipv6/conf/net1/{setting}");
    for (accept_ra, accept_dad, is_disabled) in [(1, 0, true), (0, 2, false)] {
        let settings = ask(&netns, |netlink| {
            fs::write(path("accept_ra"), accept_ra.to_string()).unwrap();
            fs::write(path("accept_dad"), accept_dad.to_string()).unwrap();
            fs::write(path("disable_ipv6"), u8::from(is_disabled).to_string()).unwrap();
            netlink.link("net1").unwrap().unwrap().ipv6
        });
        let wanted = Ipv6Settings {
            is_disabled,
            accept_ra,
            accept_dad,
        };
        assert_eq!(settings, Some(wanted));
    }
    // Too small for IPv6.
    netns.ip("link set net1 mtu 1000");
    let small = ask(&netns, |netlink| netlink.link("net1")).unwrap();
    assert_eq!(small.unwrap().ipv6, None);
}

#[test]
fn a_connection_stays_with_the_namespace_that_it_was_opened_in() {
    let netns = sandbox();
    let mut netlink = within(&netns.path(), Netlink::open).unwrap().unwrap();
    assert!(netlink.link("net1").unwrap().is_some());
}

#[test]
fn an_address_that_another_host_has_is_found_out() {
    let netns = sandbox();
    netns.ip("-6 addr add fd00::5/64 dev peer1 nodad");
    netns.ip("-6 addr add fd00::5/64 dev net1");
    netns.ip("-6 addr add fd00::6/64 dev net1");
    let index = ask(&netns, |netlink| netlink.link("net1"))
        .unwrap()
        .unwrap()
        .index;
    let detection = |address: &str| {
        let address = address.parse().unwrap();
        ask(&netns, |netlink| netlink.detection(index, address)).unwrap()
    };
    assert_eq!(detection("fd00::7"), None);
    let end = Instant::now() + Duration::from_secs(20);
    while detection("fd00::5") == Some(Detection::Pending)
        || detection("fd00::6") == Some(Detection::Pending)
    {
        assert!(Instant::now() < end, "the detection ends");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(detection("fd00::5"), Some(Detection::Failed));
    assert_eq!(detection("fd00::6"), Some(Detection::Done));
}

#[test]
fn addresses_of_all_links_and_routes_of_all_tables_are_listed() {
    let netns = sandbox();
    netns.ip("addr add 10.5.0.2 peer 10.5.0.1/32 dev net1");
    netns.ip("-6 addr add fd00::5/64 dev net1 nodad");
    netns.ip("route add 10.9.0.0/16 via 10.5.0.1 dev net1 table 100");
    netns.ip("-6 route add default via fd00::1 dev net1");
    let (addresses, index) = ask(&netns, |netlink| {
        let index = netlink.link("net1").unwrap().unwrap().index;
        (netlink.all_addresses().unwrap(), index)
    });
    let of_net1 = addresses
        .iter()
        .filter(|address| address.link == index && address.is_global);
    let texts: Vec<_> = of_net1.map(|address| address.address.to_string()).collect();
    assert_eq!(texts, ["10.5.0.2/32", "fd00::5/64"]);
    for (family, destination, table, gateway) in [
        (Family::V4, "10.9.0.0/16", 100, "10.5.0.1"),
        (Family::V6, "::/0", 254, "fd00::1"),
    ] {
        let route = TableRoute {
            table,
            destination: destination.parse().unwrap(),
            hops: vec![Hop {
                link: index,
                gateway: Some(gateway.parse().unwrap()),
            }],
        };
        let all = ask(&netns, |netlink| netlink.all_routes(family)).unwrap();
        assert!(all.contains(&route), "{all:?}");
    }
}

#[test]
fn a_route_that_is_on_no_list_is_deleted_as_one_of_a_list_is() {
    let netns = sandbox();
    netns.ip("addr add 10.1.0.2/24 dev net1");
    netns.ip("addr add 10.2.0.2/24 dev peer1");
    for route in [
        "default via 10.1.0.1 dev net1 metric 7",
        "default metric 8 nexthop via 10.1.0.1 dev net1 nexthop via 10.2.0.1 dev peer1",
    ] {
        netns.ip(&format!("route add {route}"));
        let (listed, left) = ask(&netns, |netlink| {
            let listed = netlink.default_routes(Family::V4).unwrap();
            let [one] = listed.as_slice() else {
                panic!("{listed:?}");
            };
            let route = crate::Route::over(Family::V4, one.metric, one.hops.clone());
            netlink.delete(&route).unwrap();
            (listed, netlink.default_routes(Family::V4).unwrap())
        });
        assert_eq!(left, [], "{listed:?}");
    }
}
