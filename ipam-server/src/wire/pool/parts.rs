//! The enumerations and lists of a pool's message, both ways. Of an enumeration's value that is not known: none.

use std::net::IpAddr;

use ipam_core::family::Family;
use ipam_core::pool::{Dns, Families, Pairing, PoolState, RequestedAddresses, Strategy};
use proto::ipam::v1 as ipam;

use crate::wire::problems::Problems;
use crate::wire::{Malformed, lease};

/// Namespaces that one pool may name.
const NAMESPACES: usize = 1000;
pub(super) fn encode_pairing(pairing: Pairing) -> ipam::Pairing {
    match pairing {
        Pairing::Independent => ipam::Pairing::Independent,
        Pairing::Aligned => ipam::Pairing::Aligned,
    }
}

pub(super) fn pairing(message: i32) -> Option<Pairing> {
    match ipam::Pairing::try_from(message).ok()? {
        ipam::Pairing::Unspecified | ipam::Pairing::Independent => Some(Pairing::Independent),
        ipam::Pairing::Aligned => Some(Pairing::Aligned),
    }
}

pub(super) fn encode_strategy(strategy: Strategy) -> ipam::Strategy {
    match strategy {
        Strategy::NextFit => ipam::Strategy::NextFit,
        Strategy::Lowest => ipam::Strategy::Lowest,
        Strategy::Random => ipam::Strategy::Random,
    }
}

pub(super) fn strategy(message: i32) -> Option<Strategy> {
    match ipam::Strategy::try_from(message).ok()? {
        ipam::Strategy::Unspecified | ipam::Strategy::NextFit => Some(Strategy::NextFit),
        ipam::Strategy::Lowest => Some(Strategy::Lowest),
        ipam::Strategy::Random => Some(Strategy::Random),
    }
}

pub(super) fn state(message: i32) -> Option<PoolState> {
    match ipam::pool::State::try_from(message).ok()? {
        ipam::pool::State::Unspecified | ipam::pool::State::Active => Some(PoolState::Active),
        ipam::pool::State::Cordoned => Some(PoolState::Cordoned),
    }
}

pub(super) fn encode_state(state: PoolState) -> ipam::pool::State {
    match state {
        PoolState::Active => ipam::pool::State::Active,
        PoolState::Cordoned => ipam::pool::State::Cordoned,
    }
}

pub(super) fn encode_requested(
    requested: Option<RequestedAddresses>,
) -> ipam::pool::RequestedAddresses {
    use ipam::pool::RequestedAddresses as Message;
    match requested {
        None => Message::Unspecified,
        Some(RequestedAddresses::Allow) => Message::Allow,
        Some(RequestedAddresses::Reserved) => Message::Reserved,
        Some(RequestedAddresses::Deny) => Message::Deny,
    }
}

/// Name resolution as messages have it.
pub fn encode_dns(dns: Dns) -> ipam::Dns {
    ipam::Dns {
        nameservers: dns.nameservers.iter().map(IpAddr::to_string).collect(),
        domain: dns.domain,
        search: dns.search,
        options: dns.options,
    }
}

/// The families that a lease must get, if the pool has them.
pub(super) fn families(
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

pub(super) fn requested_addresses(message: i32) -> Option<Option<RequestedAddresses>> {
    use ipam::pool::RequestedAddresses as Message;
    Some(match Message::try_from(message).ok()? {
        Message::Unspecified => None,
        Message::Allow => Some(RequestedAddresses::Allow),
        Message::Reserved => Some(RequestedAddresses::Reserved),
        Message::Deny => Some(RequestedAddresses::Deny),
    })
}

pub(super) fn decode_dns(dns: ipam::Dns, problems: &mut Problems) -> Result<Dns, Malformed> {
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
pub(super) fn namespaces(mut namespaces: Vec<String>, problems: &mut Problems) -> Vec<String> {
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
