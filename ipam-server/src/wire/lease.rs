//! Leases and owners.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipam_core::family::Family;
use ipam_core::lease::{Lease, LeaseState, Owner, Requested};
use ipam_core::pool::Families;
use proto::ipam::v1::{self as ipam, FamiliesRequired};

use super::{Malformed, shared, time};

/// A lease as messages have it.
pub fn encode(lease: Lease) -> ipam::Lease {
    let requested = Arc::unwrap_or_clone(lease.requested);
    ipam::Lease {
        id: lease.id.to_string(),
        pool: lease.pool.as_ref().to_owned(),
        vrf: lease.vrf.as_ref().to_owned(),
        ipv4: text(lease.ipv4),
        ipv6: text(lease.ipv6),
        owner: lease
            .owner
            .map(|owner| encode_owner(Arc::unwrap_or_clone(owner))),
        mac: lease.mac.as_ref().to_owned(),
        state: encode_state(lease.state).into(),
        generation: lease.generation,
        create_time: lease.create_time.map(time::encode),
        renew_time: lease.renew_time.map(time::encode),
        expire_time: lease.expire_time.map(time::encode),
        quarantine_until_time: lease.quarantine_until.map(time::encode),
        labels: Arc::unwrap_or_clone(lease.labels),
        request_id: requested.id,
        requested_ips: requested.ips.iter().map(IpAddr::to_string).collect(),
        requested_pools: requested.pools,
        requested_families: encode_families(requested.families).into(),
    }
}

/// The lease of a stored message.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn decode(lease: ipam::Lease) -> Result<Lease, Malformed> {
    Decoder::default().decode(lease)
}

/// Decodes many leases: those that follow on one another share texts, since most are of the same pool.
#[derive(Debug, Default)]
pub struct Decoder {
    pool: Arc<str>,
    vrf: Arc<str>,
    labels: Arc<BTreeMap<String, String>>,
}

impl Decoder {
    /// The next lease.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(&mut self, lease: ipam::Lease) -> Result<Lease, Malformed> {
        let unknown = |()| Malformed::field("the id of a lease", &lease.id);
        let families = FamiliesRequired::try_from(lease.requested_families);
        let families = families
            .map_err(|_| Malformed::field("requested_families", lease.requested_families))?;
        Ok(Lease {
            id: lease.id.parse().map_err(unknown)?,
            state: decode_state(lease.state)?,
            ipv4: network("ipv4", &lease.ipv4)?,
            ipv6: network("ipv6", &lease.ipv6)?,
            create_time: time::stored("create_time", lease.create_time.as_ref())?,
            renew_time: time::stored("renew_time", lease.renew_time.as_ref())?,
            expire_time: time::stored("expire_time", lease.expire_time.as_ref())?,
            quarantine_until: time::stored(
                "quarantine_until_time",
                lease.quarantine_until_time.as_ref(),
            )?,
            requested: Arc::new(Requested {
                ips: decode_ips(&lease.requested_ips)?,
                id: lease.request_id,
                pools: lease.requested_pools,
                families: decode_families(families),
            }),
            pool: same(&mut self.pool, lease.pool),
            vrf: same(&mut self.vrf, lease.vrf),
            owner: lease.owner.map(|owner| Arc::new(decode_owner(owner))),
            mac: shared(lease.mac),
            generation: lease.generation,
            labels: self.labels(lease.labels),
        })
    }

    fn labels(&mut self, labels: BTreeMap<String, String>) -> Arc<BTreeMap<String, String>> {
        if *self.labels != labels {
            self.labels = Arc::new(labels);
        }
        self.labels.clone()
    }
}

/// A text that is shared with the lease before, if it is the same.
fn same(last: &mut Arc<str>, text: String) -> Arc<str> {
    if **last != *text {
        *last = shared(text);
    }
    last.clone()
}

/// An owner as messages have it.
pub fn encode_owner(owner: Owner) -> ipam::Owner {
    ipam::Owner {
        kind: owner.kind,
        cluster: owner.cluster,
        namespace: owner.namespace,
        pod: owner.pod,
        pod_uid: owner.pod_uid,
        container_id: owner.container_id,
        ifname: owner.ifname,
        network: owner.network,
        node: owner.node,
        claim: owner.claim,
    }
}

/// The owner of a message.
pub fn decode_owner(owner: ipam::Owner) -> Owner {
    Owner {
        kind: owner.kind,
        cluster: owner.cluster,
        namespace: owner.namespace,
        pod: owner.pod,
        pod_uid: owner.pod_uid,
        container_id: owner.container_id,
        ifname: owner.ifname,
        network: owner.network,
        node: owner.node,
        claim: owner.claim,
    }
}

/// What a message says of families.
pub fn encode_families(families: Option<Families>) -> FamiliesRequired {
    match families {
        None => FamiliesRequired::Unspecified,
        Some(Families::Both) => FamiliesRequired::Both,
        Some(Families::One(Family::V4)) => FamiliesRequired::V4,
        Some(Families::One(Family::V6)) => FamiliesRequired::V6,
        Some(Families::Any) => FamiliesRequired::Any,
    }
}

/// The families of a message; none: it names none.
pub fn decode_families(families: FamiliesRequired) -> Option<Families> {
    match families {
        FamiliesRequired::Unspecified => None,
        FamiliesRequired::Both => Some(Families::Both),
        FamiliesRequired::V4 => Some(Families::One(Family::V4)),
        FamiliesRequired::V6 => Some(Families::One(Family::V6)),
        FamiliesRequired::Any => Some(Families::Any),
    }
}

/// The state of a message's lease.
pub fn encode_state(state: LeaseState) -> ipam::lease::State {
    match state {
        LeaseState::Active => ipam::lease::State::Active,
        LeaseState::Quarantined => ipam::lease::State::Quarantined,
    }
}

fn decode_state(state: i32) -> Result<LeaseState, Malformed> {
    match ipam::lease::State::try_from(state) {
        Ok(ipam::lease::State::Active) => Ok(LeaseState::Active),
        Ok(ipam::lease::State::Quarantined) => Ok(LeaseState::Quarantined),
        _ => Err(Malformed::field("state", state)),
    }
}

fn text(network: Option<impl ToString>) -> String {
    network
        .map(|network| network.to_string())
        .unwrap_or_default()
}

fn network<N: FromStr>(field: &str, text: &str) -> Result<Option<N>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let network = text.parse().map_err(|_| Malformed::field(field, text));
    network.map(Some)
}

fn decode_ips(ips: &[String]) -> Result<Vec<IpAddr>, Malformed> {
    let decode = |ip: &String| {
        let address = ip
            .split_once('/')
            .map_or(ip.as_str(), |(address, _)| address);
        address
            .parse()
            .map_err(|_| Malformed::field("requested_ips", ip))
    };
    ips.iter().map(decode).collect()
}
