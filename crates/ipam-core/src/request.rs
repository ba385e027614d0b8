//! Requests as the allocator needs them: decoded and checked.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::family::Family;
use crate::lease::{Lease, Owner, Requested};
use crate::pool::Families;

/// What an Allocate asks for. A lease that is made of it shares its texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// Who asks.
    pub owner: Arc<Owner>,
    /// Pools, addresses and families that it names, and its id.
    pub requested: Arc<Requested>,
    /// Lower case with colons, or empty.
    pub mac: Arc<str>,
    /// How long; none: as the pool says.
    pub ttl: Option<Duration>,
    /// Labels of the lease.
    pub labels: Arc<BTreeMap<String, String>>,
}

impl Wish {
    /// The address of a family that the lease must have.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        let mut ips = self.requested.ips.iter().copied();
        ips.find(|&ip| Family::of(ip) == family)
    }

    /// Whether it names addresses.
    pub fn names_addresses(&self) -> bool {
        !self.requested.ips.is_empty()
    }

    /// Which families, if it says.
    pub fn families(&self) -> Option<Families> {
        self.requested.families
    }

    /// What of an existing lease is not as this request asks; empty: nothing.
    pub fn differences(&self, lease: &Lease) -> String {
        let (present, wanted) = (&lease.requested, &self.requested);
        let differs = [
            ("pools", present.pools != wanted.pools),
            ("ips", present.ips != wanted.ips),
            ("families_required", present.families != wanted.families),
            ("mac", !self.mac.is_empty() && lease.mac != self.mac),
        ];
        let names: Vec<_> = differs
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| *name)
            .collect();
        names.join(", ")
    }
}

/// Whether `owner` is an attachment: all three names, or none.
///
/// # Errors
/// [`Error::InvalidAttachment`] if some are missing. A network by itself is no attachment.
pub fn is_attachment(owner: &Owner) -> Result<bool, Error> {
    if owner.container_id.is_empty() && owner.ifname.is_empty() {
        return Ok(false);
    }
    let missing: Vec<_> = [
        ("network", &owner.network),
        ("container_id", &owner.container_id),
        ("ifname", &owner.ifname),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_empty())
    .map(|(name, _)| name)
    .collect();
    if missing.is_empty() {
        Ok(true)
    } else {
        Err(Error::InvalidAttachment {
            missing: missing.join(", "),
        })
    }
}

/// Attachments by container and interface.
#[derive(Clone, Debug, Default)]
pub struct Attachments(HashMap<String, Vec<String>>);

impl Attachments {
    /// Whether an owner is one of them.
    pub fn contains(&self, owner: &Owner) -> bool {
        let ifnames = self.0.get(&owner.container_id);
        ifnames.is_some_and(|ifnames| ifnames.contains(&owner.ifname))
    }
}

impl FromIterator<(String, String)> for Attachments {
    /// Of containers with an interface each.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(all: I) -> Attachments {
        let mut attachments = Attachments::default();
        for (container_id, ifname) in all {
            attachments.0.entry(container_id).or_default().push(ifname);
        }
        attachments
    }
}

/// All attachments of a network on a node: what has a lease besides is gone.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The network; empty: every one.
    pub network: String,
    /// The node; empty: every one.
    pub node: String,
    /// The attachments that exist.
    pub attachments: Attachments,
}

impl Inventory {
    /// Whether a lease is an active attachment of the network on the node that does not exist any more.
    pub fn misses(&self, lease: &Lease) -> bool {
        self.concerns(lease) && !self.attachments.contains(lease.owner())
    }

    /// Whether a lease is an active attachment of the network on the node.
    pub fn concerns(&self, lease: &Lease) -> bool {
        let owner = lease.owner();
        lease.is_active()
            && !owner.container_id.is_empty()
            && (self.network.is_empty() || owner.network == self.network)
            && (self.node.is_empty() || owner.is_on(&self.node))
    }
}

/// What a Lookup asks.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The address.
    pub address: Option<IpAddr>,
    /// The VRF of the address; empty: all.
    pub vrf: String,
    /// Fields that the owner has.
    pub owner: Owner,
    /// Lower case with colons, or empty.
    pub mac: String,
}

impl Question {
    /// Whether a lease is an answer.
    pub fn matches(&self, lease: &Lease) -> bool {
        let present = lease.owner().fields();
        let owner = self.owner.fields().into_iter().zip(present);
        let owner = owner
            .into_iter()
            .all(|((_, wanted), (_, present))| wanted.is_empty() || wanted == present);
        let address = self
            .address
            .is_none_or(|address| lease.address(Family::of(address)) == Some(address));
        owner
            && address
            && (self.vrf.is_empty() || *lease.vrf == *self.vrf)
            && (self.mac.is_empty() || *lease.mac == *self.mac)
    }
}
