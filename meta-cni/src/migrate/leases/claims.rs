//! Who claims which address: whereabouts' IPPools by an offset, reservations by their names, and running pods by their status.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::super::cache::Cached;
use super::super::network::Network;
use super::super::objects::names::{of_pool, of_reservation};
use super::super::objects::{Holder, IpPool, Objects, PodName};
use super::super::obstacle::Obstacle;
use super::super::span::{number, plain, with_number};

/// Bits that whereabouts keeps of an offset.
const OFFSET_BITS: u8 = 64;

/// An address, as whereabouts keeps addresses apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) network_name: String,
    pub(super) address: IpAddr,
}

/// One claim of an address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claim {
    /// The object that has it, as messages name it.
    pub(super) source: String,
    /// Empty: not known.
    pub(super) container: String,
    pub(super) pod: Option<PodName>,
    /// Empty: not known.
    pub(super) ifname: String,
}

/// All claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    pub(super) of_address: BTreeMap<Place, Vec<Claim>>,
    /// Entries without an address.
    pub(super) obstacles: Vec<Obstacle>,
}

/// An IPPool with what its name says.
struct Known<'o> {
    pool: &'o IpPool,
    network_name: String,
}

impl Claims {
    /// The claims of all objects; those of networks that stay with whereabouts are among them.
    pub(super) fn of(objects: &Objects, cache: &[Cached], networks: &[Network]) -> Claims {
        let known: Vec<Known<'_>> = objects
            .pools
            .iter()
            .map(|pool| Known {
                pool,
                network_name: of_pool(pool, &objects.slices).network_name,
            })
            .collect();
        let reserved = reserved(objects, &known, networks);
        let mut claims = Claims::default();
        for one in &known {
            claims.add_pool(one, objects, cache, networks, &reserved);
        }
        for (place, name, holder) in &reserved {
            let source = format!("OverlappingRangeIPReservation {name}");
            claims.add(place.clone(), source, holder);
        }
        claims.add_pods(objects, networks);
        claims
    }

    fn add_pool(
        &mut self,
        one: &Known<'_>,
        objects: &Objects,
        cache: &[Cached],
        networks: &[Network],
        reserved: &[(Place, &str, &Holder)],
    ) {
        let Known { pool, network_name } = one;
        let is_leased = networks.iter().any(|network| {
            let mut cidrs = network.ipam.settings.iter().map(|one| one.cidr);
            network.ipam.network_name == *network_name
                && cidrs.any(|cidr| cidr.contains(pool.range.ip()))
        });
        if !is_leased && !pool.allocations.is_empty() {
            self.obstacles.push(Obstacle::new(
                format!("IPPool {}", pool.name),
                format!(
                    "it has {} addresses, and no network that is carried over leases from it",
                    pool.allocations.len()
                ),
                "they stay with whereabouts until their pods end",
            ));
            return;
        }
        for (offset, holder) in &pool.allocations {
            let source = format!("IPPool {}, allocation {offset}", pool.name);
            let elsewhere = || elsewhere(one, holder, objects, cache, reserved);
            match address(pool.range, offset, elsewhere) {
                Some(address) => {
                    let place = Place {
                        network_name: network_name.clone(),
                        address,
                    };
                    self.add(place, source, holder);
                }
                None => self.obstacles.push(Obstacle::new(
                    source,
                    format!("it is no offset of an address of {}", pool.written),
                    format!(
                        "make the pod {} anew if it runs, and remove the entry",
                        holder.podref
                    ),
                )),
            }
        }
    }

    fn add(&mut self, place: Place, source: String, holder: &Holder) {
        let claim = Claim {
            source,
            container: holder.container.clone(),
            pod: holder.pod(),
            ifname: holder.ifname.clone(),
        };
        let claims = self.of_address.entry(place).or_default();
        let is_same = |other: &Claim| {
            let same = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
            other.pod == claim.pod
                && same(&other.ifname, &claim.ifname)
                && same(&other.container, &claim.container)
        };
        if !claims.iter().any(is_same) {
            claims.push(claim);
        }
    }

    /// What running pods have and whereabouts does not know.
    fn add_pods(&mut self, objects: &Objects, networks: &[Network]) {
        for (name, pod) in objects.pods.iter().filter(|(_, pod)| !pod.has_ended) {
            for interface in &pod.interfaces {
                let mut of_name = networks.iter();
                let network = of_name.find(|one| one.name.to_string() == interface.name);
                let Some(network) = network else { continue };
                let cidrs = || network.ipam.settings.iter().map(|one| one.cidr);
                let leased = |address: &&IpAddr| cidrs().any(|cidr| cidr.contains(**address));
                for address in interface.ips.iter().filter(leased) {
                    let place = Place {
                        network_name: network.ipam.network_name.clone(),
                        address: *address,
                    };
                    let holder = Holder {
                        container: String::new(),
                        podref: name.to_string(),
                        ifname: interface.interface.clone(),
                    };
                    self.add(place, format!("network-status of pod {name}"), &holder);
                }
            }
        }
    }
}

/// Reservations with their addresses: of several ways to read a name, the one that gives an address of a known range.
fn reserved<'o>(
    objects: &'o Objects,
    known: &[Known<'_>],
    networks: &[Network],
) -> Vec<(Place, &'o str, &'o Holder)> {
    let is_known = |network_name: &str, address: IpAddr| {
        let of_pools = known
            .iter()
            .any(|one| one.network_name == network_name && one.pool.range.contains(address));
        let of_networks = || {
            networks.iter().any(|network| {
                let mut cidrs = network.ipam.settings.iter().map(|one| one.cidr);
                network.ipam.network_name == network_name
                    && cidrs.any(|cidr| cidr.contains(address))
            })
        };
        of_pools || of_networks()
    };
    let read = objects.reservations.iter().filter_map(|reservation| {
        let ways = of_reservation(&reservation.name);
        let (network_name, address) = ways
            .into_iter()
            .find(|(name, address)| is_known(name, *address))?;
        let place = Place {
            network_name: network_name.to_owned(),
            address,
        };
        Some((place, reservation.name.as_str(), &reservation.holder))
    });
    read.collect()
}

/// The addresses of a range that a holder has by other objects.
fn elsewhere(
    known: &Known<'_>,
    holder: &Holder,
    objects: &Objects,
    cache: &[Cached],
    reserved: &[(Place, &str, &Holder)],
) -> Vec<IpAddr> {
    let is_same = |other: &Holder| other.podref == holder.podref && other.ifname == holder.ifname;
    let of_reservations = reserved
        .iter()
        .filter(|(place, _, other)| place.network_name == known.network_name && is_same(other))
        .map(|(place, ..)| place.address);
    let of_cache = cache
        .iter()
        .filter(|one| one.container == holder.container && one.ifname == holder.ifname)
        .flat_map(|one| one.ips.iter().copied());
    let pod = holder.pod().and_then(|pod| objects.pods.get(&pod));
    let interface = pod.and_then(|pod| pod.interface(&holder.ifname));
    let of_pod = interface
        .into_iter()
        .flat_map(|one| one.ips.iter().copied());
    let all = of_cache.chain(of_pod).chain(of_reservations);
    all.filter(|address| known.pool.range.contains(*address))
        .collect()
}

/// The address at an offset of a range. Of an IPv6 range with more than 2^64 addresses, whereabouts keeps the low bits of an offset:
/// `elsewhere` gives addresses of which one may have these bits.
fn address(
    range: IpNetwork,
    offset: &str,
    elsewhere: impl FnOnce() -> Vec<IpAddr>,
) -> Option<IpAddr> {
    let offset: u64 = offset.parse().ok()?;
    let first = range.ip();
    if matches!(range, IpNetwork::V4(_)) && offset > u64::from(u32::MAX) {
        return None;
    }
    let exact = number(first).checked_add(offset.into())?;
    let exact = with_number(first, exact);
    let is_cut = range.is_ipv6() && range.prefix() < 128 - OFFSET_BITS;
    if is_cut {
        let low =
            |address: IpAddr| number(address).wrapping_sub(number(first)) & u128::from(u64::MAX);
        let same = elsewhere()
            .into_iter()
            .find(|one| low(*one) == u128::from(offset));
        return Some(same.unwrap_or(exact));
    }
    plain(range).contains(exact).then_some(exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_counts_from_the_address_that_the_range_is_written_with() {
        let other = "fd00:0:0:7::5".parse::<IpAddr>().unwrap();
        for (range, offset, expected) in [
            ("10.1.0.0/24", "7", Some("10.1.0.7")),
            ("10.1.0.16/24", "7", Some("10.1.0.23")),
            ("10.1.0.0/24", "256", None),
            ("10.1.0.0/8", "4294967296", None),
            ("10.1.0.0/24", "x", None),
            ("10.1.0.0/24", "-1", None),
            ("fd00::/64", "9223372036854775808", Some("fd00::8000:0:0:0")),
            ("fd00::/64", "18446744073709551616", None),
            ("fd00::/32", "5", Some("fd00:0:0:7::5")),
            ("fd00::/32", "6", Some("fd00::6")),
        ] {
            let found = address(range.parse().unwrap(), offset, || vec![other]);
            assert_eq!(
                found,
                expected.map(|text| text.parse().unwrap()),
                "{range} {offset}"
            );
        }
    }
}
