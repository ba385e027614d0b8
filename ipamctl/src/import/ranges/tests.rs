//! Which range goes into which pool.

use proto::ipam::v1::Subnet;

use super::*;
use crate::import::held::Holder;
use crate::import::source::Source;

fn range(cidr: &str, name: &str) -> Range {
    Range {
        cidr: cidr.parse().expect("a CIDR"),
        vrf: if name.is_empty() { "default" } else { name }.to_owned(),
        name: name.to_owned(),
        settings: Vec::new(),
    }
}

fn held(address: &str, container: &str) -> Held {
    Held {
        address: address.parse().expect("an address"),
        vrf: "default".to_owned(),
        destination: Destination::default(),
        holder: Holder {
            container: container.to_owned(),
            ifname: "net1".to_owned(),
            ..Holder::default()
        },
        since: None,
        source: Source::Whereabouts,
    }
}

fn pool_of(name: &str, vrf: &str, ipv4: &str) -> Pool {
    Pool {
        name: name.to_owned(),
        vrf: vrf.to_owned(),
        ipv4: Some(Subnet {
            cidr: ipv4.to_owned(),
            ..Subnet::default()
        }),
        ..Pool::default()
    }
}

/// The pool of an address, with the prefix length.
fn of(destinations: &Destinations, vrf: &str, address: &str) -> Option<(String, u8)> {
    let place = destinations.of(vrf, address.parse().expect("an address"))?;
    Some((place.pool, place.prefix))
}

fn names(destinations: &Destinations) -> Vec<&str> {
    destinations
        .made
        .iter()
        .map(|pool| pool.name.as_str())
        .collect()
}

#[test]
fn a_range_goes_into_the_pool_that_contains_it() {
    let present = [pool_of("big", "default", "10.20.0.0/16")];
    let ranges = [range("10.20.1.0/24", "")];
    let found = destinations(&ranges, &[], &present, None).expect("placed");
    assert!(found.made.is_empty());
    assert_eq!(
        of(&found, "default", "10.20.1.7"),
        Some(("big".to_owned(), 16))
    );
    let elsewhere = [range("10.20.1.0/24", "red"), range("10.21.0.0/24", "red")];
    let error = destinations(&elsewhere, &[], &present, None).expect_err("another VRF");
    assert!(
        error.starts_with("no pool of VRF red contains 10.20.1.0/24 (nor 1 other ranges); "),
        "{error}"
    );
}

#[test]
fn missing_pools_are_made_with_both_families_of_the_same_containers() {
    let ranges = ["10.1.0.0/24", "10.2.0.0/24", "fd00:2::/64", "fd00:3::/64"];
    let ranges = ranges.map(|cidr| range(cidr, ""));
    let held = [
        held("10.1.0.7", "a"),
        held("10.2.0.7", "b"),
        held("fd00:2::7", "b"),
    ];
    let found = destinations(&ranges, &held, &[], Some("wb-")).expect("placed");
    assert_eq!(
        names(&found),
        ["wb-10.1.0.0-24", "wb-10.2.0.0-24", "wb-fd00-3--64"]
    );
    assert_eq!(
        found.made[1].ipv6.as_ref().map(|at| at.cidr.as_str()),
        Some("fd00:2::/64")
    );
    assert_eq!(
        of(&found, "default", "fd00:2::7"),
        Some(("wb-10.2.0.0-24".to_owned(), 64))
    );
}

#[test]
fn both_families_of_one_network_become_one_pool_though_nobody_holds_any() {
    let of_network = |cidr: &str, network: &str| Range {
        settings: vec![Setting {
            network: network.to_owned(),
            ..Setting::all_of(cidr.parse().expect("a CIDR"))
        }],
        ..range(cidr, "")
    };
    let ranges = [
        of_network("fd00:1::/64", "ns/a"),
        of_network("fd00:2::/64", "ns/b"),
        of_network("10.2.0.0/24", "ns/b"),
    ];
    let found = destinations(&ranges, &[], &[], Some("wb-")).expect("placed");
    assert_eq!(names(&found), ["wb-10.2.0.0-24", "wb-fd00-1--64"]);
}

#[test]
fn a_range_inside_of_another_one_shares_its_pool() {
    let ranges = [
        range("10.1.2.0/24", ""),
        range("10.1.0.0/16", ""),
        range("10.1.2.0/25", ""),
    ];
    let found = destinations(&ranges, &[], &[], Some("wb-")).expect("placed");
    assert_eq!(names(&found), ["wb-10.1.0.0-16"]);
    assert_eq!(
        of(&found, "default", "10.1.2.7"),
        Some(("wb-10.1.0.0-16".to_owned(), 16))
    );
    assert_eq!(
        found.notes,
        [
            "10.1.2.0/24 is inside of 10.1.0.0/16: one pool leases both",
            "10.1.2.0/25 is inside of 10.1.0.0/16: one pool leases both"
        ]
    );
}

#[test]
fn ranges_of_different_names_are_of_different_vrfs() {
    let ranges = [range("10.1.0.0/24", "blue"), range("10.1.0.0/24", "red")];
    let found = destinations(&ranges, &[], &[], Some("wb-")).expect("placed");
    assert_eq!(names(&found), ["wb-blue-10.1.0.0-24", "wb-red-10.1.0.0-24"]);
    assert_eq!(
        of(&found, "red", "10.1.0.7"),
        Some(("wb-red-10.1.0.0-24".to_owned(), 24))
    );
    assert_eq!(of(&found, "default", "10.1.0.7"), None);
}
