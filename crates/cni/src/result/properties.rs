//! What holds for every result, every pair of versions and every input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::tests::plain_route;
use super::*;

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9/:.é\"\\\\-]{1,12}"
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()),
    ]
}

fn networks() -> impl Strategy<Value = IpNetwork> {
    (addresses(), 0..=128u8).prop_map(|(address, length)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNetwork::new(address, length.min(longest)).unwrap()
    })
}

fn interfaces() -> impl Strategy<Value = Interface> {
    (
        text(),
        option::of(text()),
        option::of(1..=u32::MAX),
        option::of(text()),
        option::of(text()),
        option::of(text()),
    )
        .prop_map(|(name, mac, mtu, sandbox, socket_path, pci_id)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
        })
}

fn routes() -> impl Strategy<Value = Route> {
    let nonzero = any::<i64>().prop_filter("0 is absent", |number| *number != 0);
    (
        networks(),
        option::of(addresses()),
        option::of(1..=u32::MAX),
        option::of(1..=u32::MAX),
        option::of(nonzero),
        option::of(any::<i64>()),
        option::of(any::<i64>()),
    )
        .prop_map(|(dst, gw, mtu, advmss, priority, table, scope)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        })
}

fn dns() -> impl Strategy<Value = Dns> {
    (
        vec(text(), 0..3),
        option::of(text()),
        vec(text(), 0..3),
        vec(text(), 0..3),
    )
        .prop_map(|(nameservers, domain, search, options)| Dns {
            nameservers,
            domain,
            search,
            options,
        })
}

/// Results that 1.1 can say.
fn results() -> impl Strategy<Value = CniResult> {
    let ips = vec(
        (
            option::of(any::<proptest::sample::Index>()),
            networks(),
            option::of(addresses()),
        ),
        0..5,
    );
    (vec(interfaces(), 0..4), ips, vec(routes(), 0..5), dns()).prop_map(
        |(interfaces, ips, routes, dns)| {
            let ips = ips
                .into_iter()
                .map(|(index, address, gateway)| IpConfig {
                    interface: index
                        .filter(|_| !interfaces.is_empty())
                        .map(|index| index.index(interfaces.len())),
                    address,
                    gateway,
                })
                .collect();
            CniResult {
                interfaces,
                ips,
                routes,
                dns,
            }
        },
    )
}

/// What is left of a result when `version` has said it; none if it cannot say it.
fn left_by(mut result: CniResult, version: Version) -> Option<CniResult> {
    if version < Version::V1_0_0 {
        for interface in &mut result.interfaces {
            interface.mtu = None;
            interface.socket_path = None;
            interface.pci_id = None;
        }
    }
    if version >= Version::V0_3_0 {
        return Some(result);
    }
    let mut left = CniResult {
        dns: result.dns,
        ..CniResult::default()
    };
    for is_ipv4 in [true, false] {
        let mut ips = result.ips.iter();
        if let Some(first) = ips.find(|ip| ip.address.is_ipv4() == is_ipv4) {
            left.ips.push(IpConfig {
                interface: None,
                ..first.clone()
            });
            let routes = result.routes.iter();
            left.routes.extend(
                routes
                    .filter(|route| route.dst.is_ipv4() == is_ipv4)
                    .map(|route| plain_route(route.dst, route.gw)),
            );
        }
    }
    (!left.ips.is_empty()).then_some(left)
}

fn said_in(result: &CniResult, version: Version) -> Option<CniResult> {
    match result.to_value(version) {
        Ok(value) => {
            assert_eq!(value["cniVersion"], version.as_str());
            // The default must not matter: the version is in the value.
            Some(CniResult::from_value(&value, Version::V0_1_0).unwrap())
        }
        Err(ResultError::NoAddress { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn json_values() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(
        &[
            "cniVersion",
            "interfaces",
            "ips",
            "routes",
            "dns",
            "ip4",
            "ip6",
            "ip",
            "name",
            "mac",
            "mtu",
            "sandbox",
            "interface",
            "address",
            "gateway",
            "dst",
            "gw",
            "table",
            "search",
            "other",
        ][..],
    );
    let leaves = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..3u8).prop_map(Value::from),
        ".*".prop_map(Value::from),
        networks().prop_map(|network| Value::from(network.to_string())),
        addresses().prop_map(|address| Value::from(address.to_string())),
        prop::sample::select(&Version::ALL[..]).prop_map(|version| Value::from(version.as_str())),
    ];
    leaves.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(keys.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_result_goes_up_and_down_between_any_two_versions(result in results()) {
        for from in Version::ALL {
            let Some(in_from) = left_by(result.clone(), from) else {
                prop_assert!(result.to_value(from).is_err());
                continue;
            };
            prop_assert_eq!(said_in(&result, from), Some(in_from.clone()), "to {}", from);
            prop_assert_eq!(said_in(&in_from, from), Some(in_from.clone()), "in {}", from);
            for to in Version::ALL {
                let expected = left_by(in_from.clone(), to);
                prop_assert_eq!(said_in(&in_from, to), expected, "{} to {}", from, to);
            }
        }
    }

    #[test]
    fn no_json_makes_it_panic_and_what_it_reads_it_reads_again(value in json_values()) {
        for default in Version::ALL {
            if let Ok(result) = CniResult::from_value(&value, default) {
                let again = result.to_value(Version::LATEST).unwrap();
                prop_assert_eq!(CniResult::from_value(&again, default).unwrap(), result);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z0-9]{0,100}") {
        let _ = CniResult::parse(&bytes, Version::LATEST);
        let _ = CniResult::parse(text.as_bytes(), Version::LATEST);
    }
}
