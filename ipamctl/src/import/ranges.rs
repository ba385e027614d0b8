//! Ranges of another IPAM plugin, and the pools that they go into.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proto::ipam::v1::Pool;

use super::held::{Destination, Held};
use super::settings::{Setting, subnet};

/// A range of addresses that are unique together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    /// Without host bits.
    pub(super) cidr: IpNetwork,
    /// VRF that it goes into.
    pub(super) vrf: String,
    /// The name that keeps it apart from others of the same CIDR; empty: none.
    pub(super) name: String,
    /// What networks lease of it; empty: that is not known.
    pub(super) settings: Vec<Setting>,
}

/// The pools that addresses go into.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    subnets: Vec<(String, IpNetwork, String)>,
    /// Pools that must be made.
    pub(super) made: Vec<Pool>,
    /// Sentences that a person should read.
    pub(super) notes: Vec<String>,
}

impl Destinations {
    /// The pool that an address goes into.
    pub(super) fn of(&self, vrf: &str, address: IpAddr) -> Option<Destination> {
        let found = self
            .subnets
            .iter()
            .find(|(of, cidr, _)| of == vrf && cidr.contains(address));
        found.map(|(_, cidr, pool)| Destination {
            pool: pool.clone(),
            prefix: cidr.prefix(),
        })
    }

    fn covers(&self, range: &Range) -> bool {
        self.subnets.iter().any(|(vrf, cidr, _)| {
            *vrf == range.vrf
                && cidr.prefix() <= range.cidr.prefix()
                && cidr.contains(range.cidr.network())
        })
    }

    fn add(&mut self, pool: &Pool) {
        let subnets = [&pool.ipv4, &pool.ipv6].into_iter().flatten();
        let cidrs = subnets.filter_map(|subnet| subnet.cidr.parse::<IpNetwork>().ok());
        self.subnets
            .extend(cidrs.map(|cidr| (pool.vrf.clone(), cidr, pool.name.clone())));
    }
}

/// Finds pools for all ranges: present ones, and, named with `prefix`, those that must be made. A range inside of
/// another one shares its pool, since pools of a VRF may not overlap.
///
/// # Errors
/// A sentence, if a range has no pool and none may be made.
pub(super) fn destinations(
    ranges: &[Range],
    held: &[Held],
    present: &[Pool],
    prefix: Option<&str>,
) -> Result<Destinations, String> {
    let mut destinations = Destinations::default();
    for pool in present {
        destinations.add(pool);
    }
    let mut missing: Vec<&Range> = ranges
        .iter()
        .filter(|range| !destinations.covers(range))
        .collect();
    missing.sort_by_key(|range| (range.cidr.prefix(), range.cidr));
    let Some(first) = missing.first() else {
        return Ok(destinations);
    };
    let Some(prefix) = prefix else {
        return Err(format!(
            "no pool of VRF {} contains {}{}; make one, let --pool-prefix do it, or name the VRF of the pools with --vrf",
            first.vrf,
            first.cidr,
            match missing.len() {
                1 => String::new(),
                more => format!(" (nor {} other ranges)", more - 1),
            }
        ));
    };
    let mut outer: Vec<Outer<'_>> = Vec::new();
    for range in missing {
        match outer.iter_mut().find(|outer| outer.contains(range)) {
            Some(outer) => outer.take(range, &mut destinations.notes),
            None => outer.push(Outer::new(range)),
        }
    }
    for held in held {
        let of =
            |outer: &&mut Outer<'_>| outer.vrf == held.vrf && outer.cidr.contains(held.address);
        if let Some(outer) = outer.iter_mut().find(of) {
            outer
                .interfaces
                .insert((&held.holder.container, &held.holder.ifname));
        }
    }
    for (one, two) in couples(&outer) {
        let pool = pool(prefix, one, two, &mut destinations.notes);
        destinations.add(&pool);
        destinations.made.push(pool);
    }
    Ok(destinations)
}

/// A range that is inside of no other one, with those inside of it.
struct Outer<'a> {
    cidr: IpNetwork,
    vrf: &'a str,
    name: &'a str,
    settings: Vec<Setting>,
    /// Containers and interfaces that hold addresses of it.
    interfaces: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Outer<'a> {
    fn new(range: &'a Range) -> Outer<'a> {
        Outer {
            cidr: range.cidr,
            vrf: &range.vrf,
            name: &range.name,
            settings: settings(range),
            interfaces: BTreeSet::new(),
        }
    }

    /// Ranges are taken from the largest to the smallest.
    fn contains(&self, range: &Range) -> bool {
        self.vrf == range.vrf && self.cidr.contains(range.cidr.network())
    }

    fn take(&mut self, range: &Range, notes: &mut Vec<String>) {
        if range.cidr != self.cidr {
            notes.push(format!(
                "{} is inside of {}: one pool leases both",
                range.cidr, self.cidr
            ));
        }
        self.settings.extend(settings(range));
    }

    /// How much speaks for a pool with both: attachments that hold addresses of both, networks that name both.
    fn affinity(&self, other: &Outer<'_>) -> usize {
        let networks = |outer: &Outer<'_>| -> BTreeSet<String> {
            let each = outer.settings.iter().map(|setting| setting.network.clone());
            each.filter(|name| !name.is_empty()).collect()
        };
        let shared = self.interfaces.intersection(&other.interfaces).count();
        let named = networks(self).intersection(&networks(other)).count();
        match self.vrf == other.vrf {
            true => shared + named,
            false => 0,
        }
    }
}

fn settings(range: &Range) -> Vec<Setting> {
    match range.settings.is_empty() {
        true => vec![Setting::all_of(range.cidr)],
        false => range.settings.clone(),
    }
}

/// Each range once: an IPv4 range with the IPv6 range to which it is closest, others alone.
fn couples<'o, 'a>(ranges: &'o [Outer<'a>]) -> Vec<(&'o Outer<'a>, Option<&'o Outer<'a>>)> {
    let order = |range: &&Outer<'a>| (range.vrf, range.cidr);
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = ranges.iter().partition(|one| one.cidr.is_ipv4());
    v4.sort_by_key(order);
    v6.sort_by_key(order);
    let mut couples = Vec::new();
    for one in v4 {
        let closest = (0..v6.len()).max_by_key(|&at| one.affinity(v6[at]));
        let closest = closest.filter(|&at| one.affinity(v6[at]) > 0);
        couples.push((one, closest.map(|at| v6.remove(at))));
    }
    couples.extend(v6.into_iter().map(|one| (one, None)));
    couples
}

fn pool(
    prefix: &str,
    first: &Outer<'_>,
    second: Option<&Outer<'_>>,
    notes: &mut Vec<String>,
) -> Pool {
    let (mut ipv4, mut ipv6) = (None, None);
    for range in std::iter::once(first).chain(second) {
        let (subnet, more) = subnet(range.cidr, &range.settings);
        notes.extend(more);
        match range.cidr {
            IpNetwork::V4(_) => ipv4 = Some(subnet),
            IpNetwork::V6(_) => ipv6 = Some(subnet),
        }
    }
    let apart = match first.name {
        "" => String::new(),
        name => format!("{name}-"),
    };
    let range = format!("{}-{}", first.cidr.network(), first.cidr.prefix());
    Pool {
        name: format!(
            "{prefix}{apart}{}",
            range.replace("::", "-").replace(':', "-")
        ),
        vrf: first.vrf.to_owned(),
        ipv4,
        ipv6,
        ..Pool::default()
    }
}

#[cfg(test)]
mod tests;
