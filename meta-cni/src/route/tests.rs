//! Real namespaces: a sandbox with eth0 and net1, each one end of a veth pair whose other end is in the
//! sandbox as well, so that links have a carrier.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::snapshot::inspect;
use crate::test_netns::TestNetns;

fn sandbox() -> TestNetns {
    let netns = TestNetns::new();
    for (ifname, peer, net) in [("eth0", "peer0", 0), ("net1", "peer1", 1)] {
        netns.ip(&format!("link add {ifname} type veth peer name {peer}"));
        netns.ip(&format!("link set {ifname} up"));
        netns.ip(&format!("link set {peer} up"));
        netns.ip(&format!("addr add 10.{net}.0.2/24 dev {ifname}"));
        netns.ip(&format!("-6 addr add fd0{net}::2/64 dev {ifname}"));
    }
    netns
}

fn want(ifname: &str, gateways: &[&str]) -> Want {
    Want {
        ifname: ifname.to_owned(),
        gateways: gateways
            .iter()
            .map(|gateway| gateway.parse().unwrap())
            .collect(),
    }
}

/// `VIA@IFNAME …` of what the kernel lists, without our own reading of it.
fn listed(netns: &TestNetns, family: &str) -> Vec<String> {
    netns
        .ip(&format!("{family} route show default"))
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn brief(routes: &[DefaultRoute]) -> Vec<String> {
    routes
        .iter()
        .map(|route| match route.gateway {
            Some(gateway) => format!("{gateway}@{}", route.ifname),
            None => format!("link@{}", route.ifname),
        })
        .collect()
}

#[test]
fn both_families_move_to_the_interface_that_asks() {
    let netns = sandbox();
    netns.ip("route add default via 10.0.0.1 dev eth0");
    netns.ip("-6 route add default via fd00::1 dev eth0");
    let after = apply(&netns.path(), &[want("net1", &["10.1.0.1", "fd01::1"])]).unwrap();
    assert_eq!(brief(&after), ["10.1.0.1@net1", "fd01::1@net1"]);
    assert_eq!(listed(&netns, "-4"), ["default via 10.1.0.1 dev net1"]);
    assert_eq!(
        listed(&netns, "-6"),
        ["default via fd01::1 dev net1 metric 1024 pref medium"]
    );
    assert_eq!(inspect(&netns.path()).unwrap().default_routes, after);
}

#[test]
fn the_other_family_is_left_alone() {
    let netns = sandbox();
    netns.ip("route add default via 10.0.0.1 dev eth0");
    netns.ip("-6 route add default via fd00::1 dev eth0 metric 7");
    let after = apply(&netns.path(), &[want("net1", &["10.1.0.1"])]).unwrap();
    assert_eq!(brief(&after), ["10.1.0.1@net1", "fd00::1@eth0"]);
    let after = apply(&netns.path(), &[want("eth0", &["10.0.0.1"])]).unwrap();
    assert_eq!(brief(&after), ["10.0.0.1@eth0", "fd00::1@eth0"]);
}

#[test]
fn each_family_may_go_to_another_interface() {
    let netns = sandbox();
    let wants = [want("net1", &["fd01::1"]), want("eth0", &["10.0.0.1"])];
    let after = apply(&netns.path(), &wants).unwrap();
    assert_eq!(brief(&after), ["10.0.0.1@eth0", "fd01::1@net1"]);
    assert_eq!(apply(&netns.path(), &wants).unwrap(), after);
}

#[test]
fn routes_of_other_metrics_types_of_service_and_ways_go_too() {
    let netns = sandbox();
    for route in [
        "default via 10.0.0.1 dev eth0",
        "default via 10.0.0.1 dev eth0 metric 100",
        "default via 10.0.0.1 dev eth0 tos 0x10",
        "default dev eth0 metric 5 mtu 1400",
        "default via 10.1.0.9 dev net1 metric 50 src 10.1.0.2",
        "default metric 200 nexthop via 10.0.0.1 dev eth0 nexthop via 10.1.0.1 dev net1",
    ] {
        netns.ip(&format!("route append {route}"));
    }
    netns.ip("route append default via 10.0.0.7 dev eth0");
    for route in [
        "default via fd00::1 dev eth0 metric 512",
        "default via fd00::1 dev eth0",
        "default via fd01::9 dev net1",
        "default via fe80::1 dev net1 metric 3 proto ra expires 100",
        "default dev eth0 metric 77",
        "default dev net1 metric 78",
        "default metric 200 nexthop via fd00::1 dev eth0 nexthop via fd01::1 dev net1",
    ] {
        netns.ip(&format!("-6 route append {route}"));
    }
    let after = apply(&netns.path(), &[want("net1", &["10.1.0.1", "fd01::1"])]).unwrap();
    assert_eq!(brief(&after), ["10.1.0.1@net1", "fd01::1@net1"]);
    assert_eq!(listed(&netns, "-4"), ["default via 10.1.0.1 dev net1"]);
    assert_eq!(
        listed(&netns, "-6"),
        ["default via fd01::1 dev net1 metric 1024 pref medium"]
    );
}

#[test]
fn other_tables_and_routes_are_left_alone() {
    let netns = sandbox();
    netns.ip("route add default via 10.0.0.1 dev eth0 table 100");
    netns.ip("route add 10.9.0.0/16 via 10.0.0.1 dev eth0");
    netns.ip("route add 0.0.0.0/1 via 10.0.0.1 dev eth0");
    netns.ip("-6 route add blackhole default metric 4000");
    let before = netns.ip("route show table 100") + &netns.ip("-6 route show type blackhole");
    apply(&netns.path(), &[want("net1", &["10.1.0.1", "fd01::1"])]).unwrap();
    let after = netns.ip("route show table 100") + &netns.ip("-6 route show type blackhole");
    assert_eq!(after, before);
    assert!(netns.ip("route show 10.9.0.0/16").contains("10.0.0.1"));
    assert!(netns.ip("route show 0.0.0.0/1").contains("10.0.0.1"));
}

#[test]
fn a_gateway_behind_a_link_scope_route_is_on_the_link() {
    let netns = sandbox();
    netns.ip("route add 169.254.1.1/32 dev net1 scope link");
    let after = apply(&netns.path(), &[want("net1", &["169.254.1.1", "fe80::1"])]).unwrap();
    assert_eq!(brief(&after), ["169.254.1.1@net1", "fe80::1@net1"]);
}

#[test]
fn a_gateway_beside_the_link_is_named_with_what_the_link_has() {
    let netns = sandbox();
    netns.ip("route add default via 10.0.0.1 dev eth0");
    for (gateway, prefix) in [("10.0.0.1", "10.1.0.2/24"), ("fd00::1", "fd01::2/64")] {
        let error = apply(&netns.path(), &[want("net1", &[gateway])]).unwrap_err();
        let message = error.diagnosis().to_string();
        assert!(
            matches!(error, RouteError::GatewayNotOnLink { .. }),
            "{error:?}"
        );
        assert!(error.source().is_some());
        assert!(
            message.contains(&format!("via {gateway} on net1")),
            "{message}"
        );
        assert!(message.contains(prefix), "{message}");
        let own = error.to_string().len() + error.remedy().unwrap().len();
        assert!(own < 300, "{own}");
    }
    assert_eq!(listed(&netns, "-4"), ["default via 10.0.0.1 dev eth0"]);
    netns.ip("addr flush dev net1 scope global");
    netns.ip("addr flush dev eth0 scope global");
    let error = apply(&netns.path(), &[want("net1", &["10.1.0.1"])]).unwrap_err();
    assert!(
        error.diagnosis().to_string().contains("no IPv4 address"),
        "{error}"
    );
}

#[test]
fn a_router_that_no_prefix_could_have_is_on_the_link() {
    for (case, addresses, gateways) in [
        (
            "link-local",
            &["10.1.0.2/24", "fd01::2/64"][..],
            ["169.254.1.1", "fe80::1"],
        ),
        (
            "host addresses",
            &["10.7.0.2/32", "fd07::2/128"],
            ["10.9.0.1", "fd09::1"],
        ),
        ("unnumbered", &[], ["10.9.0.1", "fd09::1"]),
    ] {
        let netns = sandbox();
        netns.ip("route add default via 10.0.0.1 dev eth0");
        netns.ip("addr flush dev net1 scope global");
        for address in addresses {
            netns.ip(&format!("addr add {address} dev net1"));
        }
        let wants = [want("net1", &gateways)];
        let after = apply(&netns.path(), &wants).unwrap();
        let expected = gateways.map(|gateway| format!("{gateway}@net1"));
        assert_eq!(brief(&after), expected, "{case}");
        assert_eq!(apply(&netns.path(), &wants).unwrap(), after, "{case}");
        assert_eq!(inspect(&netns.path()).unwrap().default_routes, after);
    }
}

#[test]
fn the_kernels_words_are_in_the_error() {
    let netns = sandbox();
    let error = apply(&netns.path(), &[want("net1", &["fd01::2"])]).unwrap_err();
    assert!(matches!(error, RouteError::Set { .. }), "{error:?}");
    let source = error.source().unwrap().to_string();
    assert!(source.contains("local address"), "{source}");
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let netns = sandbox();
    let error = apply(&netns.path(), &[want("net9", &["10.1.0.1"])]).unwrap_err();
    let message = error.diagnosis().to_string();
    assert!(message.contains("no interface net9"), "{message}");
    assert!(message.contains("eth0"), "{message}");
}

#[test]
fn no_gateways_takes_both_families_off_that_interface() {
    let netns = sandbox();
    netns.ip("route add default via 10.1.0.1 dev net1");
    netns.ip("route add default via 10.0.0.1 dev eth0 metric 100");
    netns.ip("-6 route add default via fd01::1 dev net1");
    netns.ip("-6 route add default via fd00::1 dev eth0 metric 100");
    let after = apply(&netns.path(), &[want("net1", &[])]).unwrap();
    assert_eq!(brief(&after), ["10.0.0.1@eth0", "fd00::1@eth0"]);
    assert!(
        apply(&netns.path(), &[want("eth0", &[])])
            .unwrap()
            .is_empty()
    );
    assert!(listed(&netns, "-4").is_empty() && listed(&netns, "-6").is_empty());
}

#[test]
fn no_gateways_takes_only_its_own_hops_out_of_a_multipath_route() {
    let netns = sandbox();
    netns.ip("route add default metric 20 mtu 1400 nexthop via 10.0.0.1 dev eth0 nexthop via 10.1.0.1 dev net1");
    netns.ip("-6 route add default nexthop via fd00::1 dev eth0 nexthop via fd01::1 dev net1");
    let after = apply(&netns.path(), &[want("net1", &[])]).unwrap();
    assert_eq!(brief(&after), ["10.0.0.1@eth0", "fd00::1@eth0"]);
    assert_eq!(
        listed(&netns, "-4"),
        ["default via 10.0.0.1 dev eth0 metric 20 mtu 1400"]
    );
}

#[test]
fn tentative_addresses_and_links_without_carrier_do_not_hold_it_up() {
    let netns = sandbox();
    netns.ip("link set peer1 down");
    // The detection of duplicates sends this often, a second apart: it does not end within the test.
    let sends = "/proc/sys/net/ipv6/conf/eth0/dad_transmits";
    netns::within(&netns.path(), || std::fs::write(sends, "1000").unwrap()).unwrap();
    netns.ip("-6 addr add fd0a::2/64 dev net1");
    netns.ip("-6 addr add fd0b::2/64 dev eth0");
    assert!(netns.ip("-6 addr show tentative").contains("fd0b::2"));
    let after = apply(&netns.path(), &[want("net1", &["fd0a::1"])]).unwrap();
    assert_eq!(brief(&after), ["fd0a::1@net1"]);
    let after = apply(&netns.path(), &[want("eth0", &["fd0b::1"])]).unwrap();
    assert_eq!(brief(&after), ["fd0b::1@eth0"]);
    assert!(netns.ip("-6 addr show tentative").contains("fd0b::2"));
}

#[test]
fn default_routes_of_router_advertisements_do_not_come_back() {
    let netns = sandbox();
    let defrtr = |ifname: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra_defrtr");
        netns::within(&netns.path(), || std::fs::read_to_string(path).unwrap()).unwrap()
    };
    apply(&netns.path(), &[want("net1", &["10.1.0.1"])]).unwrap();
    assert_eq!((defrtr("eth0").trim(), defrtr("net1").trim()), ("1", "1"));
    apply(&netns.path(), &[want("net1", &[])]).unwrap();
    assert_eq!((defrtr("eth0").trim(), defrtr("net1").trim()), ("1", "0"));
    apply(&netns.path(), &[want("net1", &["fd01::1"])]).unwrap();
    assert_eq!((defrtr("eth0").trim(), defrtr("net1").trim()), ("0", "0"));
}

#[test]
fn there_is_no_moment_without_a_default_route() {
    let netns = sandbox();
    netns.ip("route add default via 10.0.0.1 dev eth0 metric 10");
    netns.ip("-6 route add default via fd00::1 dev eth0 metric 10");
    let path = netns.path();
    let done = AtomicBool::new(false);
    let reads = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            netns::within(&path, || {
                let mut netlink = Netlink::open().unwrap();
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) {
                    for family in Family::BOTH {
                        assert!(!netlink.default_routes(family).unwrap().is_empty());
                    }
                    reads += 1;
                }
                reads
            })
            .unwrap()
        });
        for round in 0..50 {
            let (ifname, net) = [("net1", 1), ("eth0", 0)][round % 2];
            let gateways = [format!("10.{net}.0.1"), format!("fd0{net}::1")];
            let gateways = gateways.each_ref().map(String::as_str);
            let after = apply(&path, &[want(ifname, &gateways)]).unwrap();
            assert_eq!(after.len(), 2);
        }
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(reads > 0);
}
