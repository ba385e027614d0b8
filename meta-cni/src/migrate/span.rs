//! Ranges of addresses: first and last, both of one family.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// First and last address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) first: IpAddr,
    pub(super) last: IpAddr,
}

impl Span {
    /// All of a network.
    pub(super) fn of(cidr: IpNetwork) -> Span {
        Span {
            first: cidr.network(),
            last: cidr.broadcast(),
        }
    }

    /// One address.
    pub(super) fn one(address: IpAddr) -> Span {
        Span {
            first: address,
            last: address,
        }
    }

    /// The addresses of a network without its first and its last one, which whereabouts never allocates (`GetIPRange` in its
    /// pkg/iphelpers); all of them where there are no others.
    pub(super) fn usable(cidr: IpNetwork) -> Span {
        let (first, last) = (number(cidr.network()), number(cidr.broadcast()));
        match last - first {
            0 | 1 => Span::of(cidr),
            _ => Span {
                first: with_number(cidr.network(), first + 1),
                last: with_number(cidr.network(), last - 1),
            },
        }
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// The addresses of both.
    pub(super) fn intersection(self, other: Span) -> Option<Span> {
        let span = Span {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        };
        let same_family = self.first.is_ipv4() == other.first.is_ipv4();
        (same_family && span.first <= span.last).then_some(span)
    }

    /// As a pool names it.
    pub(super) fn text(self) -> String {
        match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        }
    }
}

/// The spans without overlaps, in order.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.first <= last.last => last.last = last.last.max(span.last),
            _ => merged.push(span),
        }
    }
    merged
}

/// An address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address of a number, of the family of `like`. A number that is too large for IPv4 gives the last address.
pub(super) fn with_number(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

/// A network without host bits.
pub(super) fn plain(cidr: IpNetwork) -> IpNetwork {
    IpNetwork::new(cidr.network(), cidr.prefix()).unwrap_or(cidr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: &str, last: &str) -> Span {
        Span {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
        }
    }

    #[test]
    fn the_first_and_last_address_of_a_network_are_not_usable_where_there_are_others() {
        for (cidr, first, last) in [
            ("10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
            ("10.0.0.4/31", "10.0.0.4", "10.0.0.5"),
            ("10.0.0.4/32", "10.0.0.4", "10.0.0.4"),
            ("fd00::/126", "fd00::1", "fd00::2"),
            ("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
        ] {
            let usable = Span::usable(cidr.parse().unwrap());
            assert_eq!(usable, span(first, last), "{cidr}");
        }
    }

    #[test]
    fn spans_of_two_families_have_nothing_in_common() {
        let four = span("10.0.0.1", "10.0.0.9");
        assert_eq!(four.intersection(span("::1", "::9")), None);
        let both = four.intersection(span("10.0.0.5", "10.0.0.20"));
        assert_eq!(both.map(Span::text).as_deref(), Some("10.0.0.5-10.0.0.9"));
        let all = merged(vec![span("10.0.0.5", "10.0.0.20"), four]);
        assert_eq!(all, [span("10.0.0.1", "10.0.0.20")]);
    }
}
