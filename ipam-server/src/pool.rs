//! A pool as the allocator needs it: decoded from its message, with everything checked (reference: the
//! arithmetic of addresses in `subnet`).

pub mod fields;
mod sensible;
mod subnet;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use pbjson_types as wkt;
use proto::ipam::v1 as ipam;

pub use subnet::{Subnet, common, number};

use crate::error::{Error, Family, FieldProblem};
use crate::text;

/// Namespaces that one pool may name.
const NAMESPACES: usize = 1000;

/// Which families a lease gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// One only.
    One(Family),
    /// What is free.
    Any,
}

/// Which free address is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Behind the last one given, wrapping.
    NextFit,
    /// The lowest.
    Lowest,
    /// From a place drawn at random.
    Random,
}

/// A pool with everything checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// As it is stored: addresses in canonical form, defaults filled in, no counts.
    pub message: ipam::Pool,
    /// The IPv4 half.
    pub ipv4: Option<Subnet>,
    /// The IPv6 half.
    pub ipv6: Option<Subnet>,
    /// Whether both addresses of a pair are at the same offset.
    pub aligned: bool,
    /// What a lease gets if the request does not say.
    pub families: Families,
    /// Which address is next.
    pub strategy: Strategy,
    /// How long an address rests.
    pub quarantine: Duration,
    /// How long a lease lasts if the request does not say; `None`: until released.
    pub default_ttl: Option<Duration>,
    /// The longest that a lease may last; `None`: no limit.
    pub max_ttl: Option<Duration>,
}

impl Pool {
    /// Checks a pool's message.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with everything that is wrong, in terms of `pool.…`.
    pub fn decode(mut message: ipam::Pool) -> Result<Pool, Error> {
        let mut problems = Problems::default();
        problems.name("pool.name", &message.name);
        if message.vrf.is_empty() {
            "default".clone_into(&mut message.vrf);
        }
        problems.name("pool.vrf", &message.vrf);
        let mut half = |family, subnet: &mut Option<ipam::Subnet>| {
            subnet
                .as_mut()
                .and_then(|subnet| Subnet::decode(family, subnet, &mut problems))
        };
        let ipv4 = half(Family::V4, &mut message.ipv4);
        let ipv6 = half(Family::V6, &mut message.ipv6);
        let both = message.ipv4.is_some() && message.ipv6.is_some();
        if message.ipv4.is_none() && message.ipv6.is_none() {
            problems.add("pool.ipv4", "a pool needs ipv4 or ipv6, with a cidr");
        }
        let aligned = message.pairing() == ipam::Pairing::Aligned;
        if aligned && !both {
            problems.add("pool.pairing", "ALIGNED pairs need both ipv4 and ipv6");
        }
        if let (true, Some(four), Some(six)) = (aligned, &ipv4, &ipv6)
            && !problems.names("pool.ipv")
            && four.aligned_with(six).count() == 0
        {
            problems.add(
                "pool.pairing",
                "ALIGNED pairs need addresses at the same offset, and the ranges of ipv4 and ipv6 have none in common",
            );
        }
        let families = pool_families(&message, &mut problems);
        let strategy = match message.strategy() {
            ipam::Strategy::Unspecified | ipam::Strategy::NextFit => Strategy::NextFit,
            ipam::Strategy::Lowest => Strategy::Lowest,
            ipam::Strategy::Random => Strategy::Random,
        };
        problems.known(
            "pool.strategy",
            ipam::Strategy::try_from(message.strategy).is_ok(),
        );
        problems.known(
            "pool.pairing",
            ipam::Pairing::try_from(message.pairing).is_ok(),
        );
        problems.known(
            "pool.state",
            ipam::pool::State::try_from(message.state).is_ok(),
        );
        let quarantine = problems.duration("pool.quarantine", message.quarantine.as_ref());
        let default_ttl = problems.duration("pool.default_ttl", message.default_ttl.as_ref());
        let max_ttl = problems.duration("pool.max_ttl", message.max_ttl.as_ref());
        if !max_ttl.is_zero() && default_ttl > max_ttl {
            problems.add("pool.default_ttl", "is longer than max_ttl");
        }
        problems.known(
            "pool.requested_addresses",
            ipam::pool::RequestedAddresses::try_from(message.requested_addresses).is_ok(),
        );
        check_namespaces(&mut message.allowed_namespaces, &mut problems);
        problems.labels("pool.labels", &message.labels);
        problems.dns(message.dns.as_ref());
        problems.into_result()?;
        if message.state() == ipam::pool::State::Unspecified {
            message.set_state(ipam::pool::State::Active);
        }
        if message.pairing() == ipam::Pairing::Unspecified {
            message.set_pairing(ipam::Pairing::Independent);
        }
        if message.strategy() == ipam::Strategy::Unspecified {
            message.set_strategy(ipam::Strategy::NextFit);
        }
        message.ipv4_usage = None;
        message.ipv6_usage = None;
        Ok(Pool {
            ipv4,
            ipv6,
            aligned,
            families,
            strategy,
            quarantine,
            default_ttl: Some(default_ttl).filter(|ttl| !ttl.is_zero()),
            max_ttl: Some(max_ttl).filter(|ttl| !ttl.is_zero()),
            message,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.message.name
    }

    /// Whether owners of a namespace get leases.
    pub fn is_open_to(&self, namespace: &str) -> bool {
        let allowed = &self.message.allowed_namespaces;
        allowed.is_empty() || allowed.iter().any(|name| name == namespace)
    }

    /// Whether it gives no new lease.
    pub fn is_cordoned(&self) -> bool {
        self.message.state() == ipam::pool::State::Cordoned
    }

    /// One of its halves.
    pub fn subnet(&self, family: Family) -> Option<&Subnet> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }
}

/// Namespaces in order, each once, as Kubernetes names them.
fn check_namespaces(namespaces: &mut Vec<String>, problems: &mut Problems) {
    namespaces.sort();
    namespaces.dedup();
    if namespaces.len() > NAMESPACES {
        problems.add(
            "pool.allowed_namespaces",
            format!("are more than {NAMESPACES}"),
        );
    }
    for (index, name) in namespaces.iter().enumerate() {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(is_part) {
            problems.add(
                format!("pool.allowed_namespaces[{index}]"),
                "must be 1 to 63 of a-z, 0-9 and -",
            );
        }
    }
}

fn pool_families(message: &ipam::Pool, problems: &mut Problems) -> Families {
    let (four, six) = (message.ipv4.is_some(), message.ipv6.is_some());
    problems.known(
        "pool.families_required",
        ipam::FamiliesRequired::try_from(message.families_required).is_ok(),
    );
    let families = decode_families(message.families_required());
    let missing = match families {
        Some(Families::Both) if !(four && six) => "BOTH needs ipv4 and ipv6",
        Some(Families::One(Family::V4)) if !four => "V4 needs ipv4",
        Some(Families::One(Family::V6)) if !six => "V6 needs ipv6",
        _ => "",
    };
    if !missing.is_empty() {
        problems.add("pool.families_required", missing);
    }
    families.unwrap_or(match (four, six) {
        (true, false) => Families::One(Family::V4),
        (false, true) => Families::One(Family::V6),
        _ => Families::Both,
    })
}

/// What a request or a pool says about families; `None`: nothing.
pub fn decode_families(families: ipam::FamiliesRequired) -> Option<Families> {
    match families {
        ipam::FamiliesRequired::Unspecified => None,
        ipam::FamiliesRequired::Both => Some(Families::Both),
        ipam::FamiliesRequired::V4 => Some(Families::One(Family::V4)),
        ipam::FamiliesRequired::V6 => Some(Families::One(Family::V6)),
        ipam::FamiliesRequired::Any => Some(Families::Any),
    }
}

/// All that is wrong with a message, gathered while it is read.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<FieldProblem>);

impl Problems {
    pub(crate) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(FieldProblem {
            field: field.into(),
            problem: problem.into(),
        });
    }

    /// Whether something is wrong in a field below `field`.
    pub(crate) fn names(&self, field: &str) -> bool {
        self.0
            .iter()
            .any(|problem| problem.field.starts_with(field))
    }

    pub(crate) fn known(&mut self, field: &str, known: bool) {
        if !known {
            self.add(
                field,
                "is a value that this server does not know; see ipam/v1/pool.proto",
            );
        }
    }

    pub(crate) fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidFields(self.0))
        }
    }

    /// Names of pools, VRFs and reservations.
    pub(crate) fn name(&mut self, field: &str, name: &str) {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let good = (1..=63).contains(&bytes.len())
            && bytes.first().is_some_and(|&byte| inner(byte))
            && bytes.last().is_some_and(|&byte| inner(byte))
            && bytes
                .iter()
                .all(|&byte| inner(byte) || byte == b'-' || byte == b'.');
        if !good {
            let problem = format!(
                "{name:?} must be 1 to 63 of a-z, 0-9, - and ., beginning and ending with a letter or digit"
            );
            self.add(field, problem);
        }
    }

    pub(crate) fn labels<'a>(
        &mut self,
        field: &str,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        let mut count = 0;
        for (key, value) in labels {
            count += 1;
            if key.is_empty() || key.len() > 63 || value.len() > 63 {
                self.add(
                    format!("{field}[{key:?}]"),
                    "keys are 1 to 63 bytes long, values up to 63",
                );
            }
        }
        if count > 64 {
            self.add(field, format!("are {count}, at most 64 are possible"));
        }
    }

    /// For new labels: those that are stored may be from before this was checked.
    pub(crate) fn plain_labels<'a>(
        &mut self,
        field: &str,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) {
        for (key, value) in labels {
            if !text::is_plain(key) || !text::is_plain(value) {
                self.add(
                    format!("{field}[{key:?}]"),
                    "has a character that steers a terminal",
                );
            }
        }
    }

    /// A duration that is not there is zero.
    pub(crate) fn duration(&mut self, field: &str, value: Option<&wkt::Duration>) -> Duration {
        const LONGEST: u64 = 10 * 365 * 86_400;
        let Some(value) = value else {
            return Duration::ZERO;
        };
        match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
            (Ok(seconds), Ok(nanos)) if seconds <= LONGEST && nanos < 1_000_000_000 => {
                Duration::new(seconds, nanos)
            }
            _ => {
                self.add(field, "must be between 0 and 10 years (315360000s)");
                Duration::ZERO
            }
        }
    }

    /// An address without prefix length, neither mapped nor of another family than `family`.
    pub(crate) fn address(
        &mut self,
        field: &str,
        text: &str,
        family: Option<Family>,
    ) -> Option<IpAddr> {
        match parse_address(text, family) {
            Ok(address) => Some(address),
            Err(problem) => {
                self.add(field, problem);
                None
            }
        }
    }

    fn dns(&mut self, dns: Option<&ipam::Dns>) {
        for (at, server) in dns
            .into_iter()
            .flat_map(|dns| dns.nameservers.iter().enumerate())
        {
            self.address(&format!("pool.dns.nameservers[{at}]"), server, None);
        }
    }
}

/// Reads an address; says what is wrong with it.
pub(crate) fn parse_address(text: &str, family: Option<Family>) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!("{text:?} is not an IP address (no leading zeros, no prefix length, no zone)")
    })?;
    if let IpAddr::V6(six) = address
        && let Some(four) = six.to_ipv4_mapped()
    {
        return Err(format!(
            "{text} is an IPv4-mapped IPv6 address; write {four}"
        ));
    }
    match family {
        Some(family) if family != family_of(address) => {
            Err(format!("{text} is not an {family} address"))
        }
        _ => Ok(address),
    }
}

/// The family of an address.
pub fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
