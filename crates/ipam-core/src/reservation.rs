//! A reservation: addresses that only an owner of a certain identity gets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::family::Family;
use crate::lease::Owner;

/// An address or a pair that only a matching owner gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reservation {
    /// Unique.
    pub name: Arc<str>,
    /// The pool's name.
    pub pool: Arc<str>,
    /// The IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Whose it is.
    pub identity: Identity,
    /// Free to use.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub create_time: Option<Timestamp>,
}

/// What stays the same when a container is made anew. Empty: not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster: String,
    /// Namespace of the owner.
    pub namespace: String,
    /// Name of the pod, as StatefulSets keep it.
    pub pod: String,
    /// An IPAM claim or virtual machine.
    pub claim: String,
    /// Of the interface: lower case with colons.
    pub mac: String,
    /// Name of the CNI network configuration.
    pub network: String,
    /// CNI_IFNAME.
    pub ifname: String,
}

impl Reservation {
    /// Its address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.ipv4.map(IpAddr::V4),
            Family::V6 => self.ipv6.map(IpAddr::V6),
        }
    }

    /// Whether two are the same, whenever they were made.
    pub fn is_same_as(&self, other: &Reservation) -> bool {
        self.name == other.name
            && self.pool == other.pool
            && (self.ipv4, self.ipv6) == (other.ipv4, other.ipv6)
            && self.identity == other.identity
            && self.labels == other.labels
    }
}

impl Identity {
    /// Whether all that it names holds of an owner with a MAC.
    pub fn matches(&self, owner: &Owner, mac: &str) -> bool {
        // A claim or a MAC of one namespace is nothing in another one.
        if self.namespace != owner.namespace {
            return false;
        }
        [
            (&self.cluster, owner.cluster.as_str()),
            (&self.pod, &owner.pod),
            (&self.claim, &owner.claim),
            (&self.mac, mac),
            (&self.network, &owner.network),
            (&self.ifname, &owner.ifname),
        ]
        .iter()
        .all(|(wanted, present)| wanted.is_empty() || wanted.as_str() == *present)
    }
}
