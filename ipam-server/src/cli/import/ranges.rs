//! Ranges of another IPAM plugin, and the pools that they go into.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use proto::ipam::v1::{Pool, Subnet};

use super::held::Held;

/// A range and what is held of it.
pub(super) struct Range {
    pub(super) cidr: IpNetwork,
    pub(super) held: Vec<Held>,
}

/// Where a range goes.
struct Place {
    pool: String,
    prefix: u8,
}

/// Sets the pool of everything that is held, and tells the pools that must be made.
///
/// # Errors
/// A sentence, if a range has no pool and none may be made.
pub(super) fn place(
    ranges: &mut [Range],
    present: &[Pool],
    vrf: &str,
    prefix: Option<&str>,
) -> Result<Vec<Pool>, String> {
    let mut places: BTreeMap<IpNetwork, Place> = BTreeMap::new();
    let mut missing = Vec::new();
    for range in ranges.iter() {
        match present
            .iter()
            .find_map(|pool| containing(pool, vrf, range.cidr))
        {
            Some(place) => drop(places.insert(range.cidr, place)),
            None => missing.push(range),
        }
    }
    let mut made = Vec::new();
    if let Some(range) = missing.first() {
        let Some(prefix) = prefix else {
            return Err(format!(
                "no pool of VRF {vrf} contains {}; make one, or let --pool-prefix do it",
                range.cidr
            ));
        };
        for (first, second) in couples(&missing) {
            let pool = pool(prefix, vrf, first, second);
            for cidr in std::iter::once(first).chain(second) {
                let place = Place {
                    pool: pool.name.clone(),
                    prefix: cidr.prefix(),
                };
                places.insert(cidr, place);
            }
            made.push(pool);
        }
    }
    for range in ranges {
        let Some(place) = places.get(&range.cidr) else {
            continue;
        };
        for held in &mut range.held {
            held.pool.clone_from(&place.pool);
            held.prefix = place.prefix;
            vrf.clone_into(&mut held.vrf);
        }
    }
    Ok(made)
}

fn containing(pool: &Pool, vrf: &str, range: IpNetwork) -> Option<Place> {
    let subnets = [&pool.ipv4, &pool.ipv6].into_iter().flatten();
    let mut networks = subnets.filter_map(|subnet| subnet.cidr.parse::<IpNetwork>().ok());
    networks
        .find(|network| network.prefix() <= range.prefix() && network.contains(range.network()))
        .filter(|_| pool.vrf == vrf)
        .map(|network| Place {
            pool: pool.name.clone(),
            prefix: network.prefix(),
        })
}

/// Each range once: an IPv4 range with the IPv6 range with which it shares most interfaces, others alone.
fn couples(ranges: &[&Range]) -> Vec<(IpNetwork, Option<IpNetwork>)> {
    let mut v6: BTreeMap<IpNetwork, BTreeSet<(&str, &str)>> = BTreeMap::new();
    let mut v4 = v6.clone();
    for range in ranges {
        let family = if range.cidr.is_ipv4() {
            &mut v4
        } else {
            &mut v6
        };
        let interfaces = family.entry(range.cidr).or_default();
        interfaces.extend(
            range
                .held
                .iter()
                .map(|one| (one.container.as_str(), one.ifname.as_str())),
        );
    }
    let mut couples = Vec::new();
    for (cidr, interfaces) in &v4 {
        let shared = |other: &BTreeSet<(&str, &str)>| interfaces.intersection(other).count();
        let best = v6
            .iter()
            .max_by_key(|(_, other)| shared(other))
            .filter(|(_, other)| shared(other) > 0)
            .map(|(cidr, _)| *cidr);
        if let Some(best) = best {
            v6.remove(&best);
        }
        couples.push((*cidr, best));
    }
    couples.extend(v6.into_keys().map(|cidr| (cidr, None)));
    couples
}

fn pool(prefix: &str, vrf: &str, first: IpNetwork, second: Option<IpNetwork>) -> Pool {
    let (mut ipv4, mut ipv6) = (None, None);
    for cidr in std::iter::once(first).chain(second) {
        let network = format!("{}/{}", cidr.network(), cidr.prefix());
        let subnet = Subnet {
            cidr: network,
            ..Subnet::default()
        };
        match cidr {
            IpNetwork::V4(_) => ipv4 = Some(subnet),
            IpNetwork::V6(_) => ipv6 = Some(subnet),
        }
    }
    let range = format!("{}-{}", first.network(), first.prefix());
    Pool {
        name: format!("{prefix}{}", range.replace("::", "-").replace(':', "-")),
        vrf: vrf.to_owned(),
        ipv4,
        ipv6,
        ..Pool::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(cidr: &str, holders: &[(&str, &str)]) -> Range {
        let held = holders.iter().map(|(address, container)| Held {
            address: address.parse().expect("an address"),
            prefix: 0,
            pool: String::new(),
            vrf: String::new(),
            container: (*container).to_owned(),
            ifname: "net1".to_owned(),
            network: "blue".to_owned(),
            pod: None,
            since: None,
        });
        Range {
            cidr: cidr.parse().expect("a CIDR"),
            held: held.collect(),
        }
    }

    #[test]
    fn a_range_goes_into_the_pool_that_contains_it() {
        let present = Pool {
            name: "big".to_owned(),
            vrf: "default".to_owned(),
            ipv4: Some(Subnet {
                cidr: "10.20.0.0/16".to_owned(),
                ..Subnet::default()
            }),
            ..Pool::default()
        };
        let mut ranges = [range("10.20.1.0/24", &[("10.20.1.7", "a")])];
        let made =
            place(&mut ranges, std::slice::from_ref(&present), "default", None).expect("placed");
        assert!(made.is_empty());
        assert_eq!(
            (ranges[0].held[0].pool.as_str(), ranges[0].held[0].prefix),
            ("big", 16)
        );
        let error = place(&mut ranges, &[present], "red", None).expect_err("another VRF");
        assert!(
            error.starts_with("no pool of VRF red contains 10.20.1.0/24"),
            "{error}"
        );
    }

    #[test]
    fn missing_pools_are_made_with_both_families_of_the_same_containers() {
        let mut ranges = [
            range("10.1.0.0/24", &[("10.1.0.7", "a")]),
            range("10.2.0.0/24", &[("10.2.0.7", "b")]),
            range("fd00:2::/64", &[("fd00:2::7", "b")]),
            range("fd00:3::/64", &[]),
        ];
        let made = place(&mut ranges, &[], "default", Some("wb-")).expect("placed");
        let names: Vec<_> = made.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["wb-10.1.0.0-24", "wb-10.2.0.0-24", "wb-fd00-3--64"]);
        assert_eq!(
            made[1].ipv6.as_ref().map(|at| at.cidr.as_str()),
            Some("fd00:2::/64")
        );
        assert_eq!(ranges[2].held[0].pool, "wb-10.2.0.0-24");
    }
}
