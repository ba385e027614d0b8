//! Pools from messages, with everything checked.

use ipam_core::error::Error;
use ipam_core::family::Family;
use ipam_core::pool::{Dns, Families, Pairing, Pool, PoolState, RequestedAddresses, Strategy};
use proto::ipam::v1 as ipam;

use super::subnet;

use crate::wire::problems::Problems;
use crate::wire::{Malformed, lease, shared, time};

/// Namespaces that one pool may name.
const NAMESPACES: usize = 1000;
/// The VRF of a pool that names none.
const DEFAULT_VRF: &str = "default";

/// The pool of a request: addresses in canonical form, defaults filled in.
///
/// # Errors
/// [`Error::InvalidFields`] with everything that is wrong, in terms of `pool.…`.
pub fn decode(message: ipam::Pool) -> Result<Pool, Error> {
    let mut problems = Problems::default();
    let pool = read(message, &mut problems);
    problems.into_result()?;
    pool.map_err(|malformed| Error::field("pool", malformed.what))
}

/// The pool of a stored message. What only a new pool must not have is taken as it is.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn decode_stored(message: ipam::Pool) -> Result<Pool, Malformed> {
    let mut problems = Problems::default();
    read(message, &mut problems).map_err(|malformed| match problems.into_result() {
        Ok(()) => malformed,
        Err(error) => Malformed {
            what: error.to_string(),
        },
    })
}

/// Refuses what only a new or changed pool must not have: networks that no pod can use, and labels with characters that steer a
/// terminal.
///
/// # Errors
/// [`Error::InvalidFields`] names `pool.labels`, `pool.ipv4.cidr`, `pool.ipv4.gateway`, and those of IPv6.
pub fn check_new(pool: &Pool) -> Result<(), Error> {
    check_usable(pool)?;
    check_labels(pool)
}

/// Refuses networks that no pod can use.
pub(crate) fn check_usable(pool: &Pool) -> Result<(), Error> {
    let problems = pool.unusable();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::InvalidFields(problems)),
    }
}

/// Refuses labels with characters that steer a terminal.
pub(crate) fn check_labels(pool: &Pool) -> Result<(), Error> {
    let mut problems = Problems::default();
    problems.plain_labels("pool.labels", &pool.labels);
    problems.into_result()
}

/// Reads a message, and adds what is wrong with it to `problems`; malformed is what has no value in the domain.
fn read(message: ipam::Pool, problems: &mut Problems) -> Result<Pool, Malformed> {
    problems.name("pool.name", &message.name);
    let vrf = match message.vrf.is_empty() {
        true => DEFAULT_VRF.into(),
        false => shared(message.vrf),
    };
    problems.name("pool.vrf", &vrf);
    let has = (message.ipv4.is_some(), message.ipv6.is_some());
    let mut half = |family, subnet: Option<ipam::Subnet>| {
        subnet
            .map(|subnet| subnet::decode(family, subnet, problems))
            .transpose()
    };
    let ipv4 = half(Family::V4, message.ipv4);
    let ipv6 = half(Family::V6, message.ipv6);
    if has == (false, false) {
        problems.add("pool.ipv4", "a pool needs ipv4 or ipv6, with a cidr");
    }
    let families_required = families(message.families_required, has, problems);
    let strategy = match ipam::Strategy::try_from(message.strategy) {
        Ok(ipam::Strategy::Unspecified | ipam::Strategy::NextFit) => Some(Strategy::NextFit),
        Ok(ipam::Strategy::Lowest) => Some(Strategy::Lowest),
        Ok(ipam::Strategy::Random) => Some(Strategy::Random),
        Err(_) => None,
    };
    problems.known("pool.strategy", strategy.is_some());
    let pairing = match ipam::Pairing::try_from(message.pairing) {
        Ok(ipam::Pairing::Unspecified | ipam::Pairing::Independent) => Some(Pairing::Independent),
        Ok(ipam::Pairing::Aligned) => Some(Pairing::Aligned),
        Err(_) => None,
    };
    problems.known("pool.pairing", pairing.is_some());
    let state = match ipam::pool::State::try_from(message.state) {
        Ok(ipam::pool::State::Unspecified | ipam::pool::State::Active) => Some(PoolState::Active),
        Ok(ipam::pool::State::Cordoned) => Some(PoolState::Cordoned),
        Err(_) => None,
    };
    problems.known("pool.state", state.is_some());
    let quarantine = problems.duration("pool.quarantine", message.quarantine.as_ref());
    let default_ttl = problems.duration("pool.default_ttl", message.default_ttl.as_ref());
    let max_ttl = problems.duration("pool.max_ttl", message.max_ttl.as_ref());
    let requested_addresses = requested_addresses(message.requested_addresses);
    problems.known("pool.requested_addresses", requested_addresses.is_some());
    problems.labels("pool.labels", &message.labels);
    let dns = message.dns.map(|dns| decode_dns(dns, problems));
    let missing = |field: &str| Malformed {
        what: format!("{field} has a value of a newer version"),
    };
    let pool = Pool {
        name: shared(message.name),
        vrf,
        ipv4: ipv4?,
        ipv6: ipv6?,
        dns: dns.transpose()?,
        pairing: pairing.ok_or_else(|| missing("pool.pairing"))?,
        families_required: families_required.ok_or_else(|| missing("pool.families_required"))?,
        strategy: strategy.ok_or_else(|| missing("pool.strategy"))?,
        quarantine,
        default_ttl,
        max_ttl,
        state: state.ok_or_else(|| missing("pool.state"))?,
        labels: message.labels,
        etag: message.etag,
        create_time: time::stored("pool.create_time", message.create_time.as_ref())?,
        update_time: time::stored("pool.update_time", message.update_time.as_ref())?,
        allowed_namespaces: namespaces(message.allowed_namespaces, problems),
        requested_addresses: requested_addresses
            .ok_or_else(|| missing("pool.requested_addresses"))?,
        namespace_quota: message.namespace_quota,
    };
    check_whole(&pool, problems);
    Ok(pool)
}

/// What fields demand of one another.
fn check_whole(pool: &Pool, problems: &mut Problems) {
    if pool.is_aligned() {
        match (&pool.ipv4, &pool.ipv6) {
            (Some(four), Some(six)) => {
                if !problems.names("pool.ipv") && four.aligned_with(six).count() == 0 {
                    problems.add(
                        "pool.pairing",
                        "ALIGNED pairs need addresses at the same offset, and the ranges of ipv4 and ipv6 have none in common",
                    );
                }
            }
            _ => problems.add("pool.pairing", "ALIGNED pairs need both ipv4 and ipv6"),
        }
    }
    if let (Some(max), Some(default)) = (pool.max_ttl(), pool.default_ttl())
        && default > max
    {
        problems.add("pool.default_ttl", "is longer than max_ttl");
    }
}

/// The families that a lease must get, if the pool has them.
fn families(
    message: i32,
    (four, six): (bool, bool),
    problems: &mut Problems,
) -> Option<Option<Families>> {
    let families = ipam::FamiliesRequired::try_from(message).ok();
    problems.known("pool.families_required", families.is_some());
    let families = families.map(lease::decode_families);
    let missing = match families.flatten() {
        Some(Families::Both) if !(four && six) => "BOTH needs ipv4 and ipv6",
        Some(Families::One(Family::V4)) if !four => "V4 needs ipv4",
        Some(Families::One(Family::V6)) if !six => "V6 needs ipv6",
        _ => return families,
    };
    problems.add("pool.families_required", missing);
    families
}

fn requested_addresses(message: i32) -> Option<Option<RequestedAddresses>> {
    use ipam::pool::RequestedAddresses as Message;
    Some(match Message::try_from(message).ok()? {
        Message::Unspecified => None,
        Message::Allow => Some(RequestedAddresses::Allow),
        Message::Reserved => Some(RequestedAddresses::Reserved),
        Message::Deny => Some(RequestedAddresses::Deny),
    })
}

fn decode_dns(dns: ipam::Dns, problems: &mut Problems) -> Result<Dns, Malformed> {
    let mut nameservers = Vec::new();
    let mut malformed = None;
    for (at, server) in dns.nameservers.iter().enumerate() {
        let field = format!("pool.dns.nameservers[{at}]");
        problems.address(&field, server, None);
        match server.parse() {
            Ok(server) => nameservers.push(server),
            Err(_) => malformed = Some(Malformed::field(&field, server)),
        }
    }
    match malformed {
        Some(malformed) => Err(malformed),
        None => Ok(Dns {
            nameservers,
            domain: dns.domain,
            search: dns.search,
            options: dns.options,
        }),
    }
}

/// Namespaces in order, each once, as Kubernetes names them.
fn namespaces(mut namespaces: Vec<String>, problems: &mut Problems) -> Vec<String> {
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
    namespaces
}
