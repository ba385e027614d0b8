//! Pools as a table.

use proto::ipam::v1::pool::RequestedAddresses;
use proto::ipam::v1::{Pairing, Pool, Strategy, Subnet, Usage, pool};

use crate::labels::joined;
use crate::out::Column;
use crate::time::{age, length};

/// The columns of a pool.
pub(crate) const COLUMNS: &[Column<Pool>] = &[
    Column {
        heading: "NAME",
        wide: false,
        cell: |at, _| at.name.clone(),
    },
    Column {
        heading: "STATE",
        wide: false,
        cell: |at, _| state(at).to_owned(),
    },
    Column {
        heading: "IPV4",
        wide: false,
        cell: |at, _| cidr(at.ipv4.as_ref()),
    },
    Column {
        heading: "LEASED",
        wide: false,
        cell: |at, _| used(at.ipv4_usage.as_ref()),
    },
    Column {
        heading: "FREE",
        wide: false,
        cell: |at, _| free(at.ipv4_usage.as_ref()),
    },
    Column {
        heading: "IPV6",
        wide: false,
        cell: |at, _| cidr(at.ipv6.as_ref()),
    },
    Column {
        heading: "LEASED",
        wide: false,
        cell: |at, _| used(at.ipv6_usage.as_ref()),
    },
    Column {
        heading: "FREE",
        wide: false,
        cell: |at, _| free(at.ipv6_usage.as_ref()),
    },
    Column {
        heading: "AGE",
        wide: false,
        cell: |at, now| age(at.create_time.as_ref(), now),
    },
    Column {
        heading: "VRF",
        wide: true,
        cell: |at, _| at.vrf.clone(),
    },
    Column {
        heading: "RESERVED",
        wide: true,
        cell: |at, _| both(at, |usage| &usage.reserved),
    },
    Column {
        heading: "QUARANTINED",
        wide: true,
        cell: |at, _| both(at, |usage| &usage.quarantined),
    },
    Column {
        heading: "STRATEGY",
        wide: true,
        cell: |at, _| strategy(at).to_owned(),
    },
    Column {
        heading: "PAIRING",
        wide: true,
        cell: |at, _| pairing(at).to_owned(),
    },
    Column {
        heading: "QUARANTINE",
        wide: true,
        cell: |at, _| span(at.quarantine.as_ref()),
    },
    Column {
        heading: "TTL",
        wide: true,
        cell: |at, _| span(at.default_ttl.as_ref()),
    },
    Column {
        heading: "RANGES",
        wide: true,
        cell: |at, _| ranges(at),
    },
    Column {
        heading: "NAMESPACES",
        wide: true,
        cell: |at, _| at.allowed_namespaces.join(","),
    },
    Column {
        heading: "REQUESTED",
        wide: true,
        cell: |at, _| requested(at).to_owned(),
    },
    Column {
        heading: "QUOTA",
        wide: true,
        cell: |at, _| quota(at),
    },
    Column {
        heading: "LABELS",
        wide: true,
        cell: |at, _| joined(&at.labels),
    },
];

/// Numbers of addresses of one family. Those of a v6 /0 do not fit, and are shown as the most that does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) capacity: u128,
    pub(crate) leased: u128,
    pub(crate) reserved: u128,
    pub(crate) quarantined: u128,
    pub(crate) free: u128,
}

impl Counts {
    /// Reads decimal strings.
    pub(crate) fn of(usage: &Usage) -> Counts {
        let number = |text: &str| text.parse().unwrap_or(u128::MAX);
        Counts {
            capacity: number(&usage.capacity),
            leased: number(&usage.leased),
            reserved: number(&usage.reserved),
            quarantined: number(&usage.quarantined),
            free: number(&usage.free),
        }
    }

    /// How much of the capacity a part is, from 0 to 1.
    pub(crate) fn share(&self, part: u128) -> f64 {
        match self.capacity {
            0 => 0.0,
            capacity => (part as f64 / capacity as f64).clamp(0.0, 1.0),
        }
    }
}

/// ACTIVE or CORDONED; EXHAUSTED if a family has nothing free.
pub(crate) fn state(pool: &Pool) -> &'static str {
    let usages = [pool.ipv4_usage.as_ref(), pool.ipv6_usage.as_ref()];
    match pool.state() {
        pool::State::Cordoned => "CORDONED",
        _ if usages.into_iter().flatten().any(|usage| usage.free == "0") => "EXHAUSTED",
        _ => "ACTIVE",
    }
}

/// A count that people can read: all digits up to six, then in powers of two.
pub(crate) fn number(text: &str) -> String {
    match text.parse::<u128>() {
        Ok(count) if count < 1_000_000 => count.to_string(),
        Ok(count) if count < 1 << 40 => format!("{:.1}M", count as f64 / 1e6),
        Ok(count) => format!("2^{:.1}", (count as f64).log2()).replace(".0", ""),
        Err(_) => text.to_owned(),
    }
}

fn cidr(subnet: Option<&Subnet>) -> String {
    subnet.map(|at| at.cidr.clone()).unwrap_or_default()
}

fn used(usage: Option<&Usage>) -> String {
    usage.map(|at| number(&at.leased)).unwrap_or_default()
}

fn free(usage: Option<&Usage>) -> String {
    usage.map(|at| number(&at.free)).unwrap_or_default()
}

fn both(pool: &Pool, part: fn(&Usage) -> &String) -> String {
    let usages = [pool.ipv4_usage.as_ref(), pool.ipv6_usage.as_ref()];
    let each: Vec<_> = usages
        .into_iter()
        .flatten()
        .map(|usage| number(part(usage)))
        .collect();
    each.join(",")
}

fn strategy(pool: &Pool) -> &'static str {
    match pool.strategy() {
        Strategy::Unspecified => Strategy::NextFit.as_str_name(),
        strategy => strategy.as_str_name(),
    }
}

fn pairing(pool: &Pool) -> &'static str {
    match pool.pairing() {
        Pairing::Unspecified => Pairing::Independent.as_str_name(),
        pairing => pairing.as_str_name(),
    }
}

fn requested(pool: &Pool) -> &'static str {
    match pool.requested_addresses() {
        RequestedAddresses::Unspecified => RequestedAddresses::Allow.as_str_name(),
        requested => requested.as_str_name(),
    }
}

fn quota(pool: &Pool) -> String {
    match pool.namespace_quota {
        0 => String::new(),
        quota => quota.to_string(),
    }
}

fn span(duration: Option<&pbjson_types::Duration>) -> String {
    duration
        .filter(|at| at.seconds > 0)
        .map(|at| length(at.seconds))
        .unwrap_or_default()
}

fn ranges(pool: &Pool) -> String {
    let subnets = [pool.ipv4.as_ref(), pool.ipv6.as_ref()];
    let all: Vec<_> = subnets
        .into_iter()
        .flatten()
        .flat_map(|subnet| subnet.ranges.iter().map(String::as_str))
        .collect();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Format;
    use crate::out::tests::captured;

    fn usage(leased: &str, free: &str) -> Option<Usage> {
        Some(Usage {
            capacity: "254".to_owned(),
            leased: leased.to_owned(),
            reserved: "0".to_owned(),
            quarantined: "0".to_owned(),
            free: free.to_owned(),
        })
    }

    #[test]
    fn a_pool_is_one_row() {
        let pool = Pool {
            name: "blue".to_owned(),
            ipv4: Some(Subnet {
                cidr: "10.20.0.0/24".to_owned(),
                ..Subnet::default()
            }),
            ipv4_usage: usage("254", "0"),
            ipv6: Some(Subnet {
                cidr: "fd00:20::/64".to_owned(),
                ..Subnet::default()
            }),
            ipv6_usage: usage("254", "18446744073709551360"),
            ..Pool::default()
        };
        let (mut out, captured) = captured(Format::Table, false);
        out.one(COLUMNS, &pool).expect("written");
        assert_eq!(
            captured.text(),
            [
                "NAME   STATE       IPV4           LEASED   FREE   IPV6           LEASED   FREE   AGE\n",
                "blue   EXHAUSTED   10.20.0.0/24   254      0      fd00:20::/64   254      2^64   -\n",
            ]
            .concat()
        );
    }

    #[test]
    fn numbers_stay_short() {
        for (text, shown) in [
            ("0", "0"),
            ("999999", "999999"),
            ("16777216", "16.8M"),
            ("79228162514264337593543950336", "2^96"),
            (
                "340282366920938463463374607431768211456",
                "340282366920938463463374607431768211456",
            ),
        ] {
            assert_eq!(number(text), shown);
        }
    }
}
