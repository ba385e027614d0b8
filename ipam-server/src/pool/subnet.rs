//! One family of a pool: what of it can be leased, as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;
use proto::ipam::v1 as ipam;

use super::{Problems, parse_address};
use crate::error::Family;
use crate::free_set::FreeSet;

/// One family of a pool. Addresses are their numbers, 32 bits of them for IPv4.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    /// The family.
    pub family: Family,
    /// The network's prefix length.
    pub prefix: u8,
    /// The network's first and last address.
    pub all: RangeInclusive<u128>,
    /// What can be leased: ranges without excludes, gateway, network and broadcast address.
    pub leasable: FreeSet,
    /// The router.
    pub gateway: Option<u128>,
    /// What is excluded.
    excludes: Vec<RangeInclusive<u128>>,
}

impl Subnet {
    pub(super) fn decode(
        family: Family,
        message: &mut ipam::Subnet,
        problems: &mut Problems,
    ) -> Option<Subnet> {
        let at = match family {
            Family::V4 => "pool.ipv4",
            Family::V6 => "pool.ipv6",
        };
        let (all, prefix) = match cidr(&message.cidr, family) {
            Ok(cidr) => cidr,
            Err(problem) => {
                problems.add(format!("{at}.cidr"), problem);
                return None;
            }
        };
        message.cidr = format!("{}/{prefix}", address(family, *all.start()));
        if prefix == 0 {
            problems.add(
                format!("{at}.cidr"),
                "a prefix length of 0 is every address there is",
            );
            return None;
        }
        let mut leasable = FreeSet::new();
        for (index, text) in message.ranges.iter_mut().enumerate() {
            let field = format!("{at}.ranges[{index}]");
            let Some(range) = inside(&field, text, family, &all, problems) else {
                continue;
            };
            let before = leasable.count();
            leasable.give_range(range.clone());
            if leasable.count() - before != range.end() - range.start() + 1 {
                problems.add(field, format!("{text} overlaps another range"));
            }
        }
        if message.ranges.is_empty() {
            leasable.give_range(all.clone());
        }
        for end in ends(family, prefix, &all) {
            leasable.take(end);
        }
        let mut excludes = Vec::new();
        for (index, text) in message.excludes.iter_mut().enumerate() {
            let field = format!("{at}.excludes[{index}]");
            if let Some(range) = inside(&field, text, family, &all, problems) {
                leasable.take_range(range.clone());
                excludes.push(range);
            }
        }
        let gateway = gateway(at, message, family, &all, prefix, problems);
        if let Some(gateway) = gateway {
            leasable.take(gateway);
        }
        routes(at, message, family, problems);
        if leasable.count() == 0 && !problems.names(at) {
            problems.add(
                format!("{at}.ranges"),
                "leave no address that can be leased",
            );
        }
        Some(Subnet {
            family,
            prefix,
            all,
            leasable,
            gateway,
            excludes,
        })
    }

    /// An address by its number.
    pub fn address(&self, number: u128) -> IpAddr {
        address(self.family, number)
    }

    /// As a lease names it: with the prefix length.
    pub fn with_prefix(&self, number: u128) -> String {
        format!("{}/{}", self.address(number), self.prefix)
    }

    /// As CIDR.
    pub fn cidr(&self) -> String {
        self.with_prefix(*self.all.start())
    }

    /// Why an address of this network cannot be leased; nothing if it can, or is outside of the ranges.
    pub fn kept_back(&self, number: u128) -> Option<&'static str> {
        if self.gateway == Some(number) {
            Some("it is the gateway")
        } else if self.excludes.iter().any(|range| range.contains(&number)) {
            Some("it is excluded")
        } else if ends(self.family, self.prefix, &self.all).any(|end| end == number) {
            Some(match self.family {
                Family::V4 => "it is the network or broadcast address",
                Family::V6 => "it is the subnet-router anycast address (RFC 4291, 2.6.1)",
            })
        } else {
            None
        }
    }

    /// Whether an address is one of those that no interface of the subnet has: for IPv4, network and broadcast address.
    pub(super) fn kept_back_at_ends(&self, number: u128) -> bool {
        ends(self.family, self.prefix, &self.all).any(|end| end == number)
    }

    /// Offsets at which both can be leased.
    pub fn aligned_with(&self, other: &Subnet) -> FreeSet {
        common(
            (&self.leasable, *self.all.start()),
            (&other.leasable, *other.all.start()),
        )
    }

    /// Whether two networks have addresses in common.
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.family == other.family
            && self.all.start() <= other.all.end()
            && other.all.start() <= self.all.end()
    }
}

/// Offsets from a base each, at which both sets have an address.
pub fn common(one: (&FreeSet, u128), other: (&FreeSet, u128)) -> FreeSet {
    let offsets = |(set, base): (&FreeSet, u128)| -> Vec<_> {
        set.intervals()
            .map(|range| (range.start() - base, range.end() - base))
            .collect()
    };
    let (one, other) = (offsets(one), offsets(other));
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut common = FreeSet::new();
    while let (Some(&&(first, last)), Some(&&(begin, end))) = (left.peek(), right.peek()) {
        if first.max(begin) <= last.min(end) {
            common.give_range(first.max(begin)..=last.min(end));
        }
        if last < end {
            left.next();
        } else {
            right.next();
        }
    }
    common
}

/// The number of an address.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(u32::from(four)),
        IpAddr::V6(six) => u128::from(six),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match (family, u32::try_from(number)) {
        (Family::V4, Ok(four)) => Ipv4Addr::from(four).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

/// The addresses at the ends of a network that are no host's: network and broadcast of IPv4 up to /30, the
/// subnet-router anycast address of IPv6 up to /126.
fn ends(
    family: Family,
    prefix: u8,
    all: &RangeInclusive<u128>,
) -> impl Iterator<Item = u128> + use<> {
    let (first, last) = (*all.start(), *all.end());
    let ends = match family {
        Family::V4 if prefix <= 30 => [Some(first), Some(last)],
        Family::V6 if prefix <= 126 => [Some(first), None],
        _ => [None, None],
    };
    ends.into_iter().flatten()
}

fn cidr(text: &str, family: Family) -> Result<(RangeInclusive<u128>, u8), String> {
    let example = match family {
        Family::V4 => "10.20.0.0/24",
        Family::V6 => "fd00:20::/64",
    };
    let wrong = || format!("{text:?} is not an {family} network such as {example}");
    let (host, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let host = parse_address(host, Some(family))?;
    let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (prefix.len() > 1 && prefix.starts_with('0')) {
        return Err(wrong());
    }
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let network = IpNetwork::new(host, prefix).map_err(|_| wrong())?;
    if network.network() != host {
        return Err(format!(
            "{text} has host bits; the network is {}/{prefix}",
            network.network()
        ));
    }
    Ok((
        number(network.network())..=number(network.broadcast()),
        prefix,
    ))
}

/// Reads `a-b`, a CIDR or one address, inside of `all`; leaves it in canonical form.
fn inside(
    field: &str,
    text: &mut String,
    family: Family,
    all: &RangeInclusive<u128>,
    problems: &mut Problems,
) -> Option<RangeInclusive<u128>> {
    let read = || -> Result<RangeInclusive<u128>, String> {
        if let Some((first, last)) = text.split_once('-') {
            let first = number(parse_address(first.trim(), Some(family))?);
            let last = number(parse_address(last.trim(), Some(family))?);
            if first > last {
                return Err(format!("{text} begins after its end"));
            }
            Ok(first..=last)
        } else if text.contains('/') {
            cidr(text, family).map(|(range, _)| range)
        } else {
            let one = number(parse_address(text, Some(family))?);
            Ok(one..=one)
        }
    };
    match read() {
        Ok(range) if !all.contains(range.start()) || !all.contains(range.end()) => {
            problems.add(field, format!("{text} is not inside the cidr"));
            None
        }
        Ok(range) => {
            let (first, last) = (
                address(family, *range.start()),
                address(family, *range.end()),
            );
            *text = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            Some(range)
        }
        Err(problem) => {
            problems.add(field, problem);
            None
        }
    }
}

fn gateway(
    at: &str,
    message: &mut ipam::Subnet,
    family: Family,
    all: &RangeInclusive<u128>,
    prefix: u8,
    problems: &mut Problems,
) -> Option<u128> {
    if message.gateway.is_empty() {
        return None;
    }
    let field = format!("{at}.gateway");
    let gateway = problems.address(&field, &message.gateway, Some(family))?;
    if !all.contains(&number(gateway)) && !may_be_outside(gateway, prefix) {
        problems.add(
            field,
            format!(
                "{gateway} is not inside the cidr; give a router inside, a link-local one, or routes with a gw"
            ),
        );
        return None;
    }
    message.gateway = gateway.to_string();
    Some(number(gateway))
}

/// Whether the router may be outside of the network: a link-local one is on every link, and the network of
/// one address only has no room for it.
fn may_be_outside(gateway: IpAddr, prefix: u8) -> bool {
    match gateway {
        IpAddr::V4(four) => four.is_link_local() || prefix == 32,
        IpAddr::V6(six) => six.is_unicast_link_local() || prefix == 128,
    }
}

fn routes(at: &str, message: &mut ipam::Subnet, family: Family, problems: &mut Problems) {
    for (index, route) in message.routes.iter_mut().enumerate() {
        match cidr(&route.dst, family) {
            Ok((range, prefix)) => {
                route.dst = format!("{}/{prefix}", address(family, *range.start()));
            }
            Err(problem) => problems.add(format!("{at}.routes[{index}].dst"), problem),
        }
        if !route.gw.is_empty() {
            problems.address(&format!("{at}.routes[{index}].gw"), &route.gw, Some(family));
        }
    }
}
