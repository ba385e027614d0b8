//! Pools.

mod decode;
pub mod fields;
mod subnet;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipam_core::pool::{Dns, Pairing, Pool, PoolState, RequestedAddresses, Strategy};
use proto::ipam::v1 as ipam;

pub(crate) use decode::{check_labels, check_usable};
pub use decode::{check_new, decode, decode_stored};

use super::{lease, time};

/// A pool as messages have it, without counts.
pub fn encode(pool: Pool) -> ipam::Pool {
    ipam::Pool {
        name: pool.name.as_ref().to_owned(),
        vrf: pool.vrf.as_ref().to_owned(),
        ipv4: pool.ipv4.as_ref().map(subnet::encode),
        ipv6: pool.ipv6.as_ref().map(subnet::encode),
        dns: pool.dns.map(encode_dns),
        pairing: match pool.pairing {
            Pairing::Independent => ipam::Pairing::Independent,
            Pairing::Aligned => ipam::Pairing::Aligned,
        }
        .into(),
        families_required: lease::encode_families(pool.families_required).into(),
        strategy: match pool.strategy {
            Strategy::NextFit => ipam::Strategy::NextFit,
            Strategy::Lowest => ipam::Strategy::Lowest,
            Strategy::Random => ipam::Strategy::Random,
        }
        .into(),
        quarantine: pool.quarantine.map(time::encode_duration),
        default_ttl: pool.default_ttl.map(time::encode_duration),
        max_ttl: pool.max_ttl.map(time::encode_duration),
        state: encode_state(pool.state).into(),
        labels: pool.labels,
        etag: pool.etag,
        create_time: pool.create_time.map(time::encode),
        update_time: pool.update_time.map(time::encode),
        ipv4_usage: None,
        ipv6_usage: None,
        allowed_namespaces: pool.allowed_namespaces,
        requested_addresses: encode_requested(pool.requested_addresses).into(),
        namespace_quota: pool.namespace_quota,
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

pub use subnet::encode_routes;

fn encode_state(state: PoolState) -> ipam::pool::State {
    match state {
        PoolState::Active => ipam::pool::State::Active,
        PoolState::Cordoned => ipam::pool::State::Cordoned,
    }
}

fn encode_requested(requested: Option<RequestedAddresses>) -> ipam::pool::RequestedAddresses {
    use ipam::pool::RequestedAddresses as Message;
    match requested {
        None => Message::Unspecified,
        Some(RequestedAddresses::Allow) => Message::Allow,
        Some(RequestedAddresses::Reserved) => Message::Reserved,
        Some(RequestedAddresses::Deny) => Message::Deny,
    }
}
