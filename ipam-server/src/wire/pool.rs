//! Pools: what a message has in each field, and what is wrong with it.

pub mod fields;
mod parts;
mod subnet;
#[cfg(test)]
mod tests;

use ipam_core::error::Error;
use ipam_core::family::Family;
use ipam_core::pool::Pool;
use proto::ipam::v1 as ipam;

pub use parts::encode_dns;
pub use subnet::encode_routes;

use super::problems::Problems;
use super::{Malformed, lease, shared, time};

/// The VRF of a pool that names none.
const DEFAULT_VRF: &str = "default";

/// A pool as messages have it, without counts.
pub fn encode(pool: Pool) -> ipam::Pool {
    ipam::Pool {
        name: pool.name.as_ref().to_owned(),
        vrf: pool.vrf.as_ref().to_owned(),
        ipv4: pool.ipv4.as_ref().map(subnet::encode),
        ipv6: pool.ipv6.as_ref().map(subnet::encode),
        dns: pool.dns.map(encode_dns),
        pairing: parts::encode_pairing(pool.pairing).into(),
        families_required: lease::encode_families(pool.families_required).into(),
        strategy: parts::encode_strategy(pool.strategy).into(),
        quarantine: pool.quarantine.map(time::encode_duration),
        default_ttl: pool.default_ttl.map(time::encode_duration),
        max_ttl: pool.max_ttl.map(time::encode_duration),
        state: parts::encode_state(pool.state).into(),
        labels: pool.labels,
        etag: pool.etag,
        create_time: pool.create_time.map(time::encode),
        update_time: pool.update_time.map(time::encode),
        ipv4_usage: None,
        ipv6_usage: None,
        allowed_namespaces: pool.allowed_namespaces,
        requested_addresses: parts::encode_requested(pool.requested_addresses).into(),
        namespace_quota: pool.namespace_quota,
    }
}

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
    let mut decoded = |family, subnet: Option<ipam::Subnet>| {
        subnet
            .map(|subnet| subnet::decode(family, subnet, problems))
            .transpose()
    };
    let ipv4 = decoded(Family::V4, message.ipv4);
    let ipv6 = decoded(Family::V6, message.ipv6);
    if has == (false, false) {
        problems.add("pool.ipv4", "a pool needs ipv4 or ipv6, with a cidr");
    }
    let families_required = parts::families(message.families_required, has, problems);
    let strategy = parts::strategy(message.strategy);
    problems.known("pool.strategy", strategy.is_some());
    let pairing = parts::pairing(message.pairing);
    problems.known("pool.pairing", pairing.is_some());
    let state = parts::state(message.state);
    problems.known("pool.state", state.is_some());
    let quarantine = problems.duration("pool.quarantine", message.quarantine.as_ref());
    let default_ttl = problems.duration("pool.default_ttl", message.default_ttl.as_ref());
    let max_ttl = problems.duration("pool.max_ttl", message.max_ttl.as_ref());
    let requested_addresses = parts::requested_addresses(message.requested_addresses);
    problems.known("pool.requested_addresses", requested_addresses.is_some());
    problems.labels("pool.labels", &message.labels);
    let dns = message.dns.map(|dns| parts::decode_dns(dns, problems));
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
        allowed_namespaces: parts::namespaces(message.allowed_namespaces, problems),
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
