//! A lease: an IPv4/IPv6 pair, or one address, and who holds it. What a lease shares with the leases that follow on it (owner,
//! labels, what its request named) is behind an [`Arc`]: a change of a lease copies no text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnetwork::{Ipv4Network, Ipv6Network};
use jiff::Timestamp;

use crate::dense_map::Key;
use crate::family::Family;
use crate::pool::Families;

/// Names a lease for ever. Written `l<decimal>`. It is the revision of the change that made the lease, and an offset of the
/// store: see [`Origin::lease_offset`](crate::log::Origin::lease_offset).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl Key for LeaseId {
    fn number(self) -> u128 {
        u128::from(self.0)
    }

    fn of(number: u128) -> LeaseId {
        // It was the number of a lease.
        LeaseId(number as u64)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l{}", self.0)
    }
}

impl FromStr for LeaseId {
    type Err = ();

    fn from_str(text: &str) -> Result<LeaseId, ()> {
        let digits = text.strip_prefix('l').ok_or(())?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain).map(LeaseId).ok_or(())
    }
}

/// Whether a lease holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseState {
    /// Its owner holds its addresses.
    #[default]
    Active,
    /// It has ended; nobody gets its addresses before [`Lease::quarantine_until`].
    Quarantined,
}

/// A pair of addresses, or one address, and who holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The pool's name.
    pub pool: Arc<str>,
    /// The pool's VRF.
    pub vrf: Arc<str>,
    /// The IPv4 address, with the subnet's prefix length.
    pub ipv4: Option<Ipv4Network>,
    /// The IPv6 address, with the subnet's prefix length.
    pub ipv6: Option<Ipv6Network>,
    /// Who holds it; some imported leases have none.
    pub owner: Option<Arc<Owner>>,
    /// Of the interface: lower case with colons, or empty.
    pub mac: Arc<str>,
    /// Whether it holds.
    pub state: LeaseState,
    /// Rises by one with every change, from 1.
    pub generation: u64,
    /// When it was made.
    pub create_time: Option<Timestamp>,
    /// When it was last renewed.
    pub renew_time: Option<Timestamp>,
    /// When it ends by itself; none: never.
    pub expire_time: Option<Timestamp>,
    /// When its addresses can be leased again; of a lease in quarantine.
    pub quarantine_until: Option<Timestamp>,
    /// Free to use.
    pub labels: Arc<BTreeMap<String, String>>,
    /// What its request named.
    pub requested: Arc<Requested>,
}

/// What the request for a lease named: a repeated request is compared with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Id of the request, or empty.
    pub id: String,
    /// The addresses that the lease must have.
    pub ips: Vec<IpAddr>,
    /// Names of pools, in the order to try.
    pub pools: Vec<String>,
    /// Which families; none: those of the pool.
    pub families: Option<Families>,
}

impl Lease {
    /// Whether its owner holds its addresses.
    pub fn is_active(&self) -> bool {
        self.state == LeaseState::Active
    }

    /// Its address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.ipv4.map(|at| at.ip().into()),
            Family::V6 => self.ipv6.map(|at| at.ip().into()),
        }
    }

    /// Its owner; one without names if it has none.
    pub fn owner(&self) -> &Owner {
        static NONE: Owner = Owner::NONE;
        self.owner.as_deref().unwrap_or(&NONE)
    }

    /// Whether it is of a node; without a node, every lease is.
    pub fn is_of_node(&self, node: Option<&str>) -> bool {
        node.is_none_or(|node| !node.is_empty() && self.owner().is_on(node))
    }
}

/// Who holds a lease. An attachment of a pod has `network`, `container_id` and `ifname`; any other owner has at least one
/// field. Empty: not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// What it is: `pod`, `vm`, `service`, …
    pub kind: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// Name of the CNI network configuration.
    pub network: String,
    /// Name of the node.
    pub node: String,
    /// A stable identity beyond a pod: an IPAM claim, a virtual machine, an ordinal.
    pub claim: String,
}

impl Owner {
    /// One without names.
    pub const NONE: Owner = Owner {
        kind: String::new(),
        cluster: String::new(),
        namespace: String::new(),
        pod: String::new(),
        pod_uid: String::new(),
        container_id: String::new(),
        ifname: String::new(),
        network: String::new(),
        node: String::new(),
        claim: String::new(),
    };

    /// The fields by name.
    pub fn fields(&self) -> [(&'static str, &str); 10] {
        [
            ("kind", &self.kind),
            ("cluster", &self.cluster),
            ("namespace", &self.namespace),
            ("pod", &self.pod),
            ("pod_uid", &self.pod_uid),
            ("container_id", &self.container_id),
            ("ifname", &self.ifname),
            ("network", &self.network),
            ("node", &self.node),
            ("claim", &self.claim),
        ]
    }

    /// Whether it is on a node; names of nodes are compared without case.
    pub fn is_on(&self, node: &str) -> bool {
        self.node.eq_ignore_ascii_case(node)
    }

    /// Whether two owners are the same attachment.
    pub fn is_same_attachment(&self, other: &Owner) -> bool {
        self.network == other.network
            && self.container_id == other.container_id
            && self.ifname == other.ifname
    }

    /// Whether two owners are the same pod or claim.
    pub fn is_same_identity(&self, other: &Owner) -> bool {
        let same_claim = !self.claim.is_empty() && self.claim == other.claim;
        let same_pod = !self.pod.is_empty() && self.pod == other.pod;
        self.cluster == other.cluster
            && self.namespace == other.namespace
            && (same_claim || same_pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for (text, expected) in [
            ("l0", Some(0)),
            ("l17", Some(17)),
            ("l18446744073709551615", Some(u64::MAX)),
            ("l18446744073709551616", None),
            ("17", None),
            ("l", None),
            ("l+1", None),
            ("L1", None),
        ] {
            let id: Option<LeaseId> = text.parse().ok();
            assert_eq!(id, expected.map(LeaseId), "{text}");
            if let Some(id) = id {
                assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn a_lease_is_of_its_node_whatever_the_case_and_of_no_node_without_a_name() {
        let on = |node: &str| Lease {
            owner: Some(Arc::new(Owner {
                node: node.into(),
                ..Owner::NONE
            })),
            ..Lease::default()
        };
        for (lease, node, expected) in [
            (on("n1"), None, true),
            (on("n1"), Some("N1"), true),
            (on("n1"), Some("n2"), false),
            (on(""), Some(""), false),
            (Lease::default(), Some("n1"), false),
            (Lease::default(), None, true),
        ] {
            assert_eq!(lease.is_of_node(node), expected, "{lease:?} {node:?}");
        }
    }
}
