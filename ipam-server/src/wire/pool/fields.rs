//! Each field of a pool: its value in a message and in the domain, what is wrong with it, and, in one table, who changes it
//! and how it is taken from another message. UpdatePool, `ipamctl pool edit` and the flags of `ipamctl` read the table; a test
//! holds it against the contract.

use ipam_core::family::Family;
use ipam_core::pool::Pool;
use proto::ipam::v1 as ipam;

use super::super::problems::Problems;
use super::super::{Malformed, lease, shared, time};
use super::{parts, subnet};

/// The VRF of a pool that names none.
const DEFAULT_VRF: &str = "default";

/// Who changes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UpdatePool.
    Mutable,
    /// Nobody: it is as the pool was created.
    Immutable,
    /// The server; what UpdatePool says of it counts for nothing. `state` is changed by CordonPool and UncordonPool.
    Output,
}

/// A field of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As an update mask names it, such as `ipv4.ranges`.
    pub path: &'static str,
    /// Who changes it.
    pub kind: Kind,
    pub(super) take: fn(&mut ipam::Pool, &ipam::Pool),
    pub(super) keeps: fn(&ipam::Pool, &ipam::Pool) -> bool,
}

macro_rules! field {
    ($kind:ident $family:ident.$name:ident) => {
        Field {
            path: concat!(stringify!($family), ".", stringify!($name)),
            kind: Kind::$kind,
            take: |to, from| {
                if let (Some(to), Some(from)) = (&mut to.$family, &from.$family) {
                    to.$name.clone_from(&from.$name);
                }
            },
            keeps: |present, wanted| {
                let of = |pool: &ipam::Pool| pool.$family.as_ref().map(|subnet| subnet.$name.clone());
                of(present) == of(wanted)
            },
        }
    };
    ($kind:ident $name:ident) => {
        Field {
            path: stringify!($name),
            kind: Kind::$kind,
            take: |to, from| to.$name.clone_from(&from.$name),
            keeps: |present, wanted| present.$name == wanted.$name,
        }
    };
    // Unset, the field stays as it is.
    (Immutable or unset $name:ident) => {
        Field {
            keeps: |present, wanted| {
                wanted.$name == ipam::Pool::default().$name || present.$name == wanted.$name
            },
            ..field!(Immutable $name)
        }
    };
}

/// Every field, once.
pub const FIELDS: [Field; 29] = [
    field!(Immutable name),
    field!(Immutable or unset vrf),
    field!(Immutable ipv4.cidr),
    field!(Mutable ipv4.ranges),
    field!(Mutable ipv4.excludes),
    field!(Mutable ipv4.gateway),
    field!(Mutable ipv4.routes),
    field!(Immutable ipv6.cidr),
    field!(Mutable ipv6.ranges),
    field!(Mutable ipv6.excludes),
    field!(Mutable ipv6.gateway),
    field!(Mutable ipv6.routes),
    field!(Mutable dns),
    field!(Immutable or unset pairing),
    field!(Mutable families_required),
    field!(Mutable strategy),
    field!(Mutable quarantine),
    field!(Mutable default_ttl),
    field!(Mutable max_ttl),
    field!(Output state),
    field!(Mutable labels),
    field!(Output etag),
    field!(Output create_time),
    field!(Output update_time),
    field!(Output ipv4_usage),
    field!(Output ipv6_usage),
    field!(Mutable allowed_namespaces),
    field!(Mutable requested_addresses),
    field!(Mutable namespace_quota),
];

/// The paths of the fields of a kind, in the order of the contract.
pub fn paths(kind: Kind) -> impl Iterator<Item = &'static str> {
    let fields = FIELDS.iter().filter(move |field| field.kind == kind);
    fields.map(|field| field.path)
}

/// A pool as messages have it, without counts.
pub fn encode(pool: Pool) -> ipam::Pool {
    ipam::Pool {
        name: pool.name.as_ref().to_owned(),
        vrf: pool.vrf.as_ref().to_owned(),
        ipv4: pool.ipv4.as_ref().map(subnet::encode),
        ipv6: pool.ipv6.as_ref().map(subnet::encode),
        dns: pool.dns.map(parts::encode_dns),
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

/// Reads a message, and adds what is wrong with it to `problems`; malformed is what has no value in the domain.
pub(super) fn read(message: ipam::Pool, problems: &mut Problems) -> Result<Pool, Malformed> {
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
    Ok(Pool {
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
    })
}

#[cfg(test)]
mod tests;
