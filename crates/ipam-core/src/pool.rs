//! A pool: its addresses, and the rules for their leases.

mod subnet;
mod usable;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use subnet::{Route, Subnet, common};

use crate::family::Family;

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

/// How the two addresses of a pair are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// Each family by itself.
    #[default]
    Independent,
    /// Both at the same offset from the first address of their CIDR.
    Aligned,
}

/// Which free address is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Behind the last one leased, from the start again at the end.
    #[default]
    NextFit,
    /// The lowest.
    Lowest,
    /// The first one from an address drawn at random.
    Random,
}

/// Whether a pool leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolState {
    /// It does.
    #[default]
    Active,
    /// It makes no new lease.
    Cordoned,
}

/// Whether a request may name the address that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedAddresses {
    /// It may.
    Allow,
    /// It may name the addresses of its own reservation only.
    Reserved,
    /// It may not.
    Deny,
}

/// Name resolution as CNI hands it to a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses of servers.
    pub nameservers: Vec<IpAddr>,
    /// The local domain.
    pub domain: String,
    /// Domains to search.
    pub search: Vec<String>,
    /// Options of resolv.conf.
    pub options: Vec<String>,
}

/// Addresses with one VRF, one or two families, and rules for their leases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Unique. Immutable.
    pub name: Arc<str>,
    /// Where an address is unique. Immutable.
    pub vrf: Arc<str>,
    /// The IPv4 addresses.
    pub ipv4: Option<Subnet>,
    /// The IPv6 addresses.
    pub ipv6: Option<Subnet>,
    /// What every pod with a lease gets.
    pub dns: Option<Dns>,
    /// How a pair is chosen. Immutable.
    pub pairing: Pairing,
    /// What a lease gets if its request names no families; none: every family of the pool.
    pub families_required: Option<Families>,
    /// Which free address is next.
    pub strategy: Strategy,
    /// How long nobody gets an address after its lease has ended; none: 0.
    pub quarantine: Option<Duration>,
    /// How long a lease lasts if its request names no time; none or 0: until released.
    pub default_ttl: Option<Duration>,
    /// The longest that a lease may last; none or 0: no limit.
    pub max_ttl: Option<Duration>,
    /// Whether it leases.
    pub state: PoolState,
    /// Free to use.
    pub labels: BTreeMap<String, String>,
    /// Changes with every change of the configuration.
    pub etag: String,
    /// When it was made.
    pub create_time: Option<Timestamp>,
    /// When its configuration changed last.
    pub update_time: Option<Timestamp>,
    /// Namespaces whose owners get leases, in order; empty: all.
    pub allowed_namespaces: Vec<String>,
    /// Whether a request may name its address; none: it may.
    pub requested_addresses: Option<RequestedAddresses>,
    /// The most active leases of one namespace; 0: no limit.
    pub namespace_quota: u32,
}

impl Pool {
    /// Whether owners of a namespace get leases.
    pub fn is_open_to(&self, namespace: &str) -> bool {
        let allowed = &self.allowed_namespaces;
        allowed.is_empty() || allowed.iter().any(|name| name == namespace)
    }

    /// Whether it makes no new lease.
    pub fn is_cordoned(&self) -> bool {
        self.state == PoolState::Cordoned
    }

    /// Whether both addresses of a pair are at the same offset.
    pub fn is_aligned(&self) -> bool {
        self.pairing == Pairing::Aligned
    }

    /// Its addresses of a family.
    pub fn subnet(&self, family: Family) -> Option<&Subnet> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }

    /// What a lease gets if its request names no families.
    pub fn families(&self) -> Families {
        self.families_required
            .unwrap_or(match (&self.ipv4, &self.ipv6) {
                (Some(_), None) => Families::One(Family::V4),
                (None, Some(_)) => Families::One(Family::V6),
                _ => Families::Both,
            })
    }

    /// How long nobody gets an address after its lease has ended.
    pub fn quarantine(&self) -> Duration {
        self.quarantine.unwrap_or_default()
    }

    /// How long a lease lasts if its request names no time; none: until released.
    pub fn default_ttl(&self) -> Option<Duration> {
        self.default_ttl.filter(|ttl| !ttl.is_zero())
    }

    /// The longest that a lease may last; none: no limit.
    pub fn max_ttl(&self) -> Option<Duration> {
        self.max_ttl.filter(|ttl| !ttl.is_zero())
    }

    /// Whether two have the same configuration, whatever the server says of them: state, etag and times.
    pub fn has_configuration_of(&self, other: &Pool) -> bool {
        let of_server = |pool: &Pool| Pool {
            state: PoolState::default(),
            etag: String::new(),
            create_time: None,
            update_time: None,
            ..pool.clone()
        };
        of_server(self) == of_server(other)
    }
}
