//! Which pools take the place of which ranges.

use serde_json::{Value, json};

use super::super::network::tests::network;
use super::*;

fn plan(networks: &[(&str, Value)], existing: &[Pool]) -> Pools {
    let networks: Vec<Network> = networks
        .iter()
        .map(|(name, ipam)| network(name, ipam))
        .collect();
    Pools::plan(&networks, existing, "wb-")
}

/// The pools as `NAME VRF IPV4 IPV6: NETWORKS`.
fn lines(pools: &Pools) -> Vec<String> {
    let cidr = |subnet: &Option<Subnet>| {
        subnet
            .as_ref()
            .map(|one| one.cidr.clone())
            .unwrap_or_default()
    };
    let line = |plan: &PoolPlan| {
        let networks: Vec<_> = plan.networks.iter().map(|name| name.name.clone()).collect();
        let PoolPlan { pool, .. } = plan;
        let (four, six) = (cidr(&pool.ipv4), cidr(&pool.ipv6));
        format!(
            "{} {} {four} {six}: {}",
            pool.name,
            pool.vrf,
            networks.join(" ")
        )
    };
    pools.plans.iter().map(line).collect()
}

#[test]
fn networks_that_share_a_range_share_a_pool() {
    for (name, networks, expected) in [
        (
            "one of IPv4",
            vec![("a", json!({"range": "10.1.0.0/24"}))],
            &["wb-10.1.0.0-24 default 10.1.0.0/24 : a"][..],
        ),
        (
            "one of IPv6",
            vec![("a", json!({"range": "fd00:1::/64"}))],
            &["wb-fd00-1-64 default  fd00:1::/64: a"],
        ),
        (
            "a pair",
            vec![(
                "a",
                json!({"ipRanges": [{"range": "fd00:1::/64"}, {"range": "10.1.0.0/24"}]}),
            )],
            &["wb-10.1.0.0-24 default 10.1.0.0/24 fd00:1::/64: a"],
        ),
        (
            "one with a pair and one with half of it",
            vec![
                ("a", json!({"range": "10.1.0.0/24"})),
                (
                    "b",
                    json!({"range": "10.1.0.9/24", "ipRanges": [{"range": "fd00:1::/64"}]}),
                ),
                ("c", json!({"range": "fd00:1::/64"})),
            ],
            &["wb-10.1.0.0-24 default 10.1.0.0/24 fd00:1::/64: a b c"],
        ),
        (
            "a network_name",
            vec![
                ("a", json!({"range": "10.1.0.0/24", "network_name": "red"})),
                ("b", json!({"range": "10.1.0.0/24"})),
            ],
            &[
                "wb-red-10.1.0.0-24 red 10.1.0.0/24 : a",
                "wb-10.1.0.0-24 default 10.1.0.0/24 : b",
            ],
        ),
    ] {
        let pools = plan(&networks, &[]);
        assert_eq!(lines(&pools), expected, "{name}");
        assert_eq!(pools.obstacles, [], "{name}");
    }
}

#[test]
fn a_pool_leases_what_any_of_its_networks_leased() {
    let pools = plan(
        &[
            (
                "a",
                json!({"range": "10.1.0.10-10.1.0.50/24", "exclude": ["10.1.0.20/30", "10.1.0.48/29"], "gateway": "10.1.0.1",
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd00:9::/64"}]}),
            ),
            (
                "b",
                json!({"range": "10.1.0.0/24", "range_start": "10.1.0.40", "range_end": "10.1.0.99", "gateway": "10.1.0.2",
                    "exclude": ["10.1.0.90", "10.1.0.91"]}),
            ),
        ],
        &[],
    );
    let [plan] = &pools.plans[..] else {
        panic!("{pools:?}");
    };
    let subnet = plan.pool.ipv4.clone().expect("a subnet");
    assert_eq!(subnet.ranges, ["10.1.0.10-10.1.0.99"]);
    assert_eq!(
        subnet.excludes,
        ["10.1.0.20-10.1.0.23", "10.1.0.90", "10.1.0.91"]
    );
    assert_eq!(subnet.gateway, "10.1.0.1");
    assert_eq!(subnet.routes.len(), 1);
    let reasons: Vec<_> = pools
        .obstacles
        .iter()
        .map(|one| one.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "it excludes 10.1.0.48-10.1.0.55, which ns/b leases: their pool leases it",
            "its gateway is 10.1.0.2, and that of its pool 10.1.0.1"
        ]
    );
    assert_eq!(pools.notes.len(), 1, "{:?}", pools.notes);
}

#[test]
fn ranges_that_are_no_pool_stay_with_whereabouts() {
    for (name, networks, reason) in [
        (
            "one IPv4 range with two IPv6 ranges",
            vec![
                (
                    "a",
                    json!({"range": "10.1.0.0/24", "ipRanges": [{"range": "fd00:1::/64"}]}),
                ),
                (
                    "b",
                    json!({"range": "10.1.0.0/24", "ipRanges": [{"range": "fd00:2::/64"}]}),
                ),
            ],
            "networks tie fd00:1::/64 and fd00:2::/64 together",
        ),
        (
            "a range inside of another",
            vec![
                ("a", json!({"range": "10.1.0.0/16"})),
                ("b", json!({"range": "10.1.2.0/24"})),
            ],
            "its range 10.1.",
        ),
        (
            "a name that is none",
            vec![
                ("a", json!({"range": "10.1.0.0/24", "network_name": "Red"})),
                ("b", json!({"range": "10.1.0.0/24", "network_name": "Red"})),
            ],
            "network_name \"Red\" cannot be the name of a VRF",
        ),
    ] {
        let pools = plan(&networks, &[]);
        assert!(pools.plans.is_empty(), "{name}");
        assert_eq!(pools.obstacles.len(), 2, "{name}: {:?}", pools.obstacles);
        for obstacle in &pools.obstacles {
            assert!(
                obstacle.reason.starts_with(reason),
                "{name}: {}",
                obstacle.reason
            );
        }
    }
}

#[test]
fn an_existing_pool_of_the_same_ranges_is_used_and_another_one_is_in_the_way() {
    let subnet = |cidr: &str| {
        Some(Subnet {
            cidr: cidr.to_owned(),
            ..Subnet::default()
        })
    };
    let pool = |name: &str, vrf: &str, ipv4: &str| Pool {
        name: name.to_owned(),
        vrf: vrf.to_owned(),
        ipv4: subnet(ipv4),
        ipv6: subnet("fd00:1::/64"),
        ..Pool::default()
    };
    let networks = [("a", json!({"range": "10.1.0.0/24"}))];
    let pools = plan(&networks, &[pool("blue", "default", "10.1.0.0/24")]);
    assert_eq!(lines(&pools), ["blue default 10.1.0.0/24 fd00:1::/64: a"]);
    assert!(pools.plans[0].exists);
    let pools = plan(&networks, &[pool("blue", "default", "10.1.0.0/16")]);
    assert_eq!(pools.obstacles.len(), 1);
    let pools = plan(&networks, &[pool("wb-10.1.0.0-24", "red", "10.1.0.0/16")]);
    assert_eq!(lines(&pools), ["wb-10.1.0.0-24-2 default 10.1.0.0/24 : a"]);
}

#[test]
fn a_name_is_never_too_long() {
    let pools = plan(
        &[(
            "a",
            json!({"range": "10.1.0.0/24", "network_name": "n".repeat(63)}),
        )],
        &[],
    );
    assert!(is_name(&pools.plans[0].pool.name), "{pools:?}");
}

#[test]
fn an_address_that_a_pool_never_leases_has_a_reason() {
    let of = |ranges: &[&str]| {
        Leasable::of(&Subnet {
            cidr: "10.1.0.0/24".to_owned(),
            ranges: ranges.iter().map(ToString::to_string).collect(),
            excludes: vec!["10.1.0.16/30".to_owned()],
            gateway: "10.1.0.1".to_owned(),
            routes: Vec::new(),
        })
        .expect("a subnet")
    };
    for (ranges, address, refused) in [
        (&[][..], "10.1.0.2", None),
        (&[], "10.1.0.1", Some("is the gateway")),
        (&[], "10.1.0.255", Some("is outside of the ranges")),
        (&[], "10.1.0.18", Some("is excluded")),
        (&["10.1.0.10-10.1.0.20"], "10.1.0.10", None),
        (
            &["10.1.0.10-10.1.0.20"],
            "10.1.0.21",
            Some("is outside of the ranges"),
        ),
    ] {
        let found = of(ranges).refuses(address.parse().unwrap());
        assert_eq!(found, refused, "{address} of {ranges:?}");
    }
}
