//! One family of a pool: what of it can be leased, as numbers.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use crate::family::{Family, number};
use crate::free_set::FreeSet;

/// A route that a pod gets with its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub dst: IpNetwork,
    /// The next hop; none: the subnet's gateway, or, without one, the link itself.
    pub gw: Option<IpAddr>,
    /// Bytes; 0: unset.
    pub mtu: u32,
}

/// The addresses of one family of a pool, as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    /// The family.
    pub family: Family,
    /// The network's prefix length.
    pub prefix: u8,
    /// The network's first and last address.
    pub all: RangeInclusive<u128>,
    /// What may be leased; empty: all that an interface can have.
    pub ranges: Vec<RangeInclusive<u128>>,
    /// What is never leased.
    pub excludes: Vec<RangeInclusive<u128>>,
    /// The router.
    pub gateway: Option<u128>,
    /// Routes that a pod gets with its lease.
    pub routes: Vec<Route>,
    /// What can be leased: ranges without excludes, gateway, network and broadcast address. See [`Subnet::with_leasable`].
    pub leasable: FreeSet,
}

impl Subnet {
    /// A whole network, without a gateway.
    pub fn of(network: IpNetwork) -> Subnet {
        let subnet = Subnet {
            family: Family::of(network.ip()),
            prefix: network.prefix(),
            all: number(network.network())..=number(network.broadcast()),
            ranges: Vec::new(),
            excludes: Vec::new(),
            gateway: None,
            routes: Vec::new(),
            leasable: FreeSet::new(),
        };
        subnet.with_leasable()
    }

    /// The same with `leasable` as the other fields demand.
    pub fn with_leasable(mut self) -> Subnet {
        let mut leasable = FreeSet::new();
        for range in &self.ranges {
            leasable.add_range(range.clone());
        }
        if self.ranges.is_empty() {
            leasable.add_range(self.all.clone());
        }
        for end in self.ends() {
            leasable.remove(end);
        }
        for range in &self.excludes {
            leasable.remove_range(range.clone());
        }
        if let Some(gateway) = self.gateway {
            leasable.remove(gateway);
        }
        self.leasable = leasable;
        self
    }

    /// An address by its number.
    pub fn address(&self, number: u128) -> IpAddr {
        self.family.address(number)
    }

    /// The network.
    pub fn cidr(&self) -> String {
        format!("{}/{}", self.address(*self.all.start()), self.prefix)
    }

    /// An IPv4 address as a lease has it: with the prefix length.
    pub fn ipv4(&self, number: u128) -> Option<Ipv4Network> {
        match self.address(number) {
            IpAddr::V4(address) => Ipv4Network::new(address, self.prefix).ok(),
            IpAddr::V6(_) => None,
        }
    }

    /// An IPv6 address as a lease has it: with the prefix length.
    pub fn ipv6(&self, number: u128) -> Option<Ipv6Network> {
        match self.address(number) {
            IpAddr::V6(address) => Ipv6Network::new(address, self.prefix).ok(),
            IpAddr::V4(_) => None,
        }
    }

    /// Why an address of this network cannot be leased; none if it can, or is outside of the ranges.
    pub fn withheld(&self, number: u128) -> Option<&'static str> {
        if self.gateway == Some(number) {
            Some("it is the gateway")
        } else if self.excludes.iter().any(|range| range.contains(&number)) {
            Some("it is excluded")
        } else if self.is_end(number) {
            Some(match self.family {
                Family::V4 => "it is the network or broadcast address",
                Family::V6 => "it is the subnet-router anycast address (RFC 4291, 2.6.1)",
            })
        } else {
            None
        }
    }

    /// Whether an address is one of those that no interface of the network has.
    pub fn is_end(&self, number: u128) -> bool {
        self.ends().any(|end| end == number)
    }

    /// The addresses at the ends of the network that are no host's: network and broadcast of IPv4 up to /30, the subnet-router
    /// anycast address of IPv6 up to /126.
    fn ends(&self) -> impl Iterator<Item = u128> + use<> {
        let (first, last) = (*self.all.start(), *self.all.end());
        let ends = match self.family {
            Family::V4 if self.prefix <= 30 => [Some(first), Some(last)],
            Family::V6 if self.prefix <= 126 => [Some(first), None],
            _ => [None, None],
        };
        ends.into_iter().flatten()
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
            common.add_range(first.max(begin)..=last.min(end));
        }
        if last < end {
            left.next();
        } else {
            right.next();
        }
    }
    common
}
