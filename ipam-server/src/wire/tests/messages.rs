//! Messages of every form that this server writes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pbjson_types as wkt;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proto::ipam::v1::{self as ipam, subject::Subject};

fn text() -> impl Strategy<Value = String> {
    "[a-zé0-9/.-]{0,12}"
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

fn time() -> impl Strategy<Value = Option<wkt::Timestamp>> {
    let time = (-60_000_000_000..200_000_000_000_i64, 0..1_000_000_000_i32);
    of(time.prop_map(|(seconds, nanos)| wkt::Timestamp { seconds, nanos }))
}

fn duration() -> impl Strategy<Value = Option<wkt::Duration>> {
    let duration = (0..315_360_000_i64, 0..1_000_000_000_i32);
    of(duration.prop_map(|(seconds, nanos)| wkt::Duration { seconds, nanos }))
}

fn ip() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ]
}

/// A text, or the empty one.
fn or_empty(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    of(text).prop_map(Option::unwrap_or_default)
}

prop_compose! {
    fn owner()(texts in vec(text(), 10)) -> ipam::Owner {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        ipam::Owner {
            kind: next(),
            cluster: next(),
            namespace: next(),
            pod: next(),
            pod_uid: next(),
            container_id: next(),
            ifname: next(),
            network: next(),
            node: next(),
            claim: next(),
        }
    }
}

prop_compose! {
    pub(super) fn leases()(
        id in any::<u64>(),
        texts in (text(), text(), text(), text()),
        ipv4 in or_empty((any::<Ipv4Addr>(), 0..=32_u8).prop_map(|(ip, prefix)| format!("{ip}/{prefix}"))),
        ipv6 in or_empty((any::<Ipv6Addr>(), 0..=128_u8).prop_map(|(ip, prefix)| format!("{ip}/{prefix}"))),
        owner in of(owner()),
        numbers in (1..=2_i32, any::<u64>(), 0..=4_i32),
        times in (time(), time(), time(), time()),
        labels in labels(),
        requested_ips in vec(ip(), 0..3),
        requested_pools in vec(text(), 0..3),
    ) -> ipam::Lease {
        ipam::Lease {
            id: format!("l{id}"),
            pool: texts.0,
            vrf: texts.1,
            ipv4,
            ipv6,
            owner,
            mac: texts.2,
            state: numbers.0,
            generation: numbers.1,
            create_time: times.0,
            renew_time: times.1,
            expire_time: times.2,
            quarantine_until_time: times.3,
            labels,
            request_id: texts.3,
            requested_ips,
            requested_pools,
            requested_families: numbers.2,
        }
    }
}

/// A network with host bits cut off, and texts of ranges in it.
fn subnet(is_ipv4: bool) -> impl Strategy<Value = ipam::Subnet> {
    let bits = if is_ipv4 { 32_u32 } else { 128 };
    let address = move |number: u128| match u32::try_from(number) {
        Ok(number) if is_ipv4 => IpAddr::V4(number.into()),
        _ => IpAddr::V6(number.into()),
    };
    let parts = (any::<u128>(), 1..=bits, vec(any::<(u128, u128)>(), 0..6));
    let more = (
        any::<Option<u128>>(),
        vec((any::<u128>(), any::<u32>()), 0..3),
    );
    (parts, more).prop_map(move |((number, prefix, pairs), (gateway, routes))| {
        let shift = bits - prefix;
        let number = number >> (128 - bits);
        let hosts = 1_u128.checked_shl(shift).map_or(u128::MAX, |size| size - 1);
        let base = number & !hosts;
        let at = |offset: u128| base + (offset & hosts);
        let mut texts = pairs.into_iter().map(|(one, two)| {
            let (first, last) = (at(one.min(two)).min(at(one)), at(one));
            match first == last {
                true => address(first).to_string(),
                false => format!("{}-{}", address(first), address(last)),
            }
        });
        ipam::Subnet {
            cidr: format!("{}/{prefix}", address(base)),
            ranges: texts.by_ref().take(3).collect(),
            excludes: texts.collect(),
            gateway: gateway
                .map(|gateway| address(at(gateway)).to_string())
                .unwrap_or_default(),
            routes: routes
                .into_iter()
                .map(|(hop, mtu)| ipam::Route {
                    dst: format!("{}/{prefix}", address(base)),
                    gw: if mtu % 2 == 0 {
                        String::new()
                    } else {
                        address(at(hop)).to_string()
                    },
                    mtu,
                })
                .collect(),
        }
    })
}

fn dns() -> impl Strategy<Value = ipam::Dns> {
    let lists = (vec(ip(), 0..3), vec(text(), 0..3), vec(text(), 0..3));
    (lists, text()).prop_map(|((nameservers, search, options), domain)| ipam::Dns {
        nameservers,
        domain,
        search,
        options,
    })
}

prop_compose! {
    pub(super) fn pools()(
        texts in (text(), "[a-z]{1,5}", text()),
        ipv4 in of(subnet(true)),
        ipv6 in of(subnet(false)),
        dns in of(dns()),
        numbers in (1..=2_i32, 0..=4_i32, 1..=3_i32, 1..=2_i32, 0..=3_i32),
        durations in (duration(), duration(), duration()),
        times in (time(), time()),
        labels in labels(),
        namespaces in proptest::collection::btree_set(text(), 0..3),
        namespace_quota in any::<u32>(),
    ) -> ipam::Pool {
        ipam::Pool {
            name: texts.0,
            vrf: texts.1,
            ipv4,
            ipv6,
            dns,
            pairing: numbers.0,
            families_required: numbers.1,
            strategy: numbers.2,
            quarantine: durations.0,
            default_ttl: durations.1,
            max_ttl: durations.2,
            state: numbers.3,
            labels,
            etag: texts.2,
            create_time: times.0,
            update_time: times.1,
            ipv4_usage: None,
            ipv6_usage: None,
            allowed_namespaces: namespaces.into_iter().collect(),
            requested_addresses: numbers.4,
            namespace_quota,
        }
    }
}

prop_compose! {
    pub(super) fn reservations()(
        texts in vec(text(), 9),
        ipv4 in or_empty(any::<Ipv4Addr>().prop_map(|ip| ip.to_string())),
        ipv6 in or_empty(any::<Ipv6Addr>().prop_map(|ip| ip.to_string())),
        labels in labels(),
        create_time in time(),
    ) -> ipam::Reservation {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        ipam::Reservation {
            name: next(),
            pool: next(),
            ipv4,
            ipv6,
            identity: Some(ipam::Identity {
                cluster: next(),
                namespace: next(),
                pod: next(),
                claim: next(),
                mac: next(),
                network: next(),
                ifname: next(),
            }),
            labels,
            create_time,
        }
    }
}

/// The two sides of an event.
fn sides() -> impl Strategy<Value = (Option<Subject>, Option<Subject>)> {
    prop_oneof![
        (of(leases()), of(leases()))
            .prop_map(|(one, two)| (one.map(Subject::Lease), two.map(Subject::Lease))),
        (of(pools()), of(pools()))
            .prop_map(|(one, two)| (one.map(Subject::Pool), two.map(Subject::Pool))),
        (of(reservations()), of(reservations()))
            .prop_map(|(one, two)| (one.map(Subject::Reservation), two.map(Subject::Reservation))),
    ]
}

prop_compose! {
    pub(super) fn events()(
        revision in any::<u64>(),
        time in time().prop_map(Option::unwrap_or_default),
        kind in 1..=8_i32,
        actor in text(),
        (before, after) in sides(),
    ) -> ipam::Event {
        let wrap = |subject| ipam::Subject { subject: Some(subject) };
        ipam::Event {
            revision,
            time: Some(time),
            r#type: kind,
            actor,
            before: before.map(wrap),
            after: after.map(wrap),
        }
    }
}
