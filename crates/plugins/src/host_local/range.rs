//! Ranges of addresses, and in which order the addresses of a set are tried.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Deserialize;

use crate::notation;

/// A range as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenRange {
    #[serde(alias = "rangestart")]
    range_start: Option<String>,
    #[serde(alias = "rangeend")]
    range_end: Option<String>,
    pub(super) subnet: Option<String>,
    gateway: Option<String>,
}

/// Addresses of one subnet, from `first` to `last`, without the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) subnet: IpNetwork,
    pub(super) first: IpAddr,
    pub(super) last: IpAddr,
    pub(super) gateway: IpAddr,
}

/// Ranges of one family, of which an attachment gets one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RangeSet(pub(super) Vec<Range>);

impl WrittenRange {
    /// The range with what is not written filled in; what is wrong with it otherwise.
    pub(super) fn read(&self) -> Result<Range, String> {
        let subnet = subnet(self.subnet.as_deref().unwrap_or_default())?;
        let inside = |key: &str, text: &Option<String>| {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let address = notation::address(text)
                .ok_or_else(|| format!("{key} {text:?} is not an address"))?;
            match subnet.contains(address) {
                true => Ok(Some(address)),
                false => Err(format!("{key} {address} is not in the subnet {subnet}")),
            }
        };
        let second = next(subnet.network());
        let read = Range {
            subnet,
            first: inside("rangeStart", &self.range_start)?.unwrap_or(second),
            last: inside("rangeEnd", &self.range_end)?.unwrap_or_else(|| last_of(subnet)),
            gateway: inside("gateway", &self.gateway)?.unwrap_or(second),
        };
        match read.first <= read.last {
            true => Ok(read),
            false => Err(format!(
                "rangeStart {} is above rangeEnd {}",
                read.first, read.last
            )),
        }
    }
}

fn subnet(text: &str) -> Result<IpNetwork, String> {
    let subnet = notation::network(text)
        // IPv4 mapped into IPv6 is a subnet of neither family.
        .filter(|subnet| subnet.is_ipv6() == text.contains(':'))
        .ok_or_else(|| format!("subnet {text:?} is not a subnet such as 10.1.0.0/16"))?;
    let bits = if subnet.is_ipv4() { 32 } else { 128 };
    if subnet.prefix() > bits - 2 {
        let least = bits - 2;
        return Err(format!(
            "subnet {text} has too few addresses; use a prefix of at most {least}"
        ));
    }
    match subnet.ip() == subnet.network() {
        true => Ok(subnet),
        false => Err(format!(
            "subnet {text} has bits of a host; write {}/{}",
            subnet.network(),
            subnet.prefix()
        )),
    }
}

/// The last address of a subnet that a host can have.
fn last_of(subnet: IpNetwork) -> IpAddr {
    match subnet {
        IpNetwork::V4(v4) => Ipv4Addr::from(u32::from(v4.broadcast()).wrapping_sub(1)).into(),
        IpNetwork::V6(v6) => v6.broadcast().into(),
    }
}

fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4).wrapping_add(1)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6).wrapping_add(1)).into(),
    }
}

impl Range {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        // Addresses of different families are ordered, too.
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl RangeSet {
    /// A set of these ranges; what is wrong with them otherwise.
    pub(super) fn read(written: &[WrittenRange]) -> Result<RangeSet, String> {
        let ranges: Vec<_> = written
            .iter()
            .map(WrittenRange::read)
            .collect::<Result<_, _>>()?;
        let Some(first) = ranges.first() else {
            return Err("is empty; name a subnet".to_owned());
        };
        if ranges
            .iter()
            .any(|one| one.first.is_ipv4() != first.first.is_ipv4())
        {
            return Err("has ranges of both families; write one set for each".to_owned());
        }
        for (at, one) in ranges.iter().enumerate() {
            if let Some(other) = ranges.iter().skip(at + 1).find(|other| one.overlaps(other)) {
                return Err(format!("has the ranges {one} and {other}, which overlap"));
            }
        }
        Ok(RangeSet(ranges))
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.0.iter().any(|range| range.first.is_ipv4())
    }

    /// The range that has the address.
    pub(super) fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(address))
    }

    pub(super) fn overlaps(&self, other: &RangeSet) -> bool {
        let mut ours = self.0.iter();
        ours.any(|one| other.0.iter().any(|other| one.overlaps(other)))
    }

    /// All addresses but the gateways, each once, in the order in which they are tried: round robin, from the one behind
    /// `last` on.
    pub(super) fn addresses_after(&self, last: Option<IpAddr>) -> Addresses<'_> {
        let found = last.and_then(|last| {
            let at = self.0.iter().position(|range| range.contains(last))?;
            Some((at, last))
        });
        Addresses {
            ranges: &self.0,
            at: found.map_or(0, |(at, _)| at),
            current: found.map(|(_, last)| last),
            start: None,
        }
    }
}

/// The addresses of a set, as [`RangeSet::addresses_after`] has them.
pub(super) struct Addresses<'a> {
    ranges: &'a [Range],
    at: usize,
    current: Option<IpAddr>,
    start: Option<IpAddr>,
}

impl<'a> Iterator for Addresses<'a> {
    type Item = (IpAddr, &'a Range);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let range = self.ranges.get(self.at)?;
            let (range, address) = match self.current {
                None => (range, range.first),
                Some(current) if current == range.last => {
                    self.at = (self.at + 1) % self.ranges.len();
                    let range = self.ranges.get(self.at)?;
                    (range, range.first)
                }
                Some(current) => (range, next(current)),
            };
            if self.start == Some(address) {
                return None;
            }
            self.start.get_or_insert(address);
            self.current = Some(address);
            if address != range.gateway {
                return Some((address, range));
            }
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<_> = self.0.iter().map(Range::to_string).collect();
        f.write_str(&ranges.join(", "))
    }
}

#[cfg(test)]
mod tests;
