//! What the allocator remembers of pools and leases: enough to decide, the rest is in the store.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub(super) use change::Undo;

use crate::dense_map::DenseMap;
use crate::family::Family;
use crate::free_set::FreeSet;
use crate::key_index::KeyIndex;
use crate::keys::{Keys, namespace_key};
use crate::lease::LeaseId;
use crate::log::{Origin, Position};
use crate::pool::{Pool, Subnet};
use crate::reservation::Reservation;

/// A pool's number within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

/// What is remembered of one lease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeaseRecord {
    /// Its IPv6 address, or `::`, which is never leased.
    pub ipv6: Ipv6Addr,
    /// What it is found by.
    pub keys: Keys,
    /// When it ends (active) or is gone (quarantined), in milliseconds since 1970; `i64::MAX`: never.
    pub until: i64,
    /// See [`Lease::generation`](crate::lease::Lease::generation); saturating.
    pub generation: u32,
    /// Its IPv4 address, or `0.0.0.0`, which is never leased.
    pub ipv4: Ipv4Addr,
    /// Its pool.
    pub pool: PoolId,
    /// Whether it has ended and is in quarantine.
    pub is_quarantined: bool,
}

impl LeaseRecord {
    /// The number of its address of a family.
    pub fn number(&self, family: Family) -> Option<u128> {
        let number = match family {
            Family::V4 => u128::from(self.ipv4.to_bits()),
            Family::V6 => self.ipv6.to_bits(),
        };
        Some(number).filter(|&number| number != 0)
    }
}

/// How the addresses of one family of a pool are used.
#[derive(Clone, Debug)]
pub struct FamilyUse {
    /// The addresses.
    pub subnet: Subnet,
    /// What can be leased now.
    pub free: FreeSet,
    /// Who holds what.
    pub held: DenseMap<u128, LeaseId>,
    /// What is reserved, by the reservation's name.
    pub reserved: BTreeMap<u128, Arc<str>>,
    /// How many of `held` are in quarantine.
    pub quarantined: u128,
    /// Where the next search begins.
    pub cursor: u128,
}

impl FamilyUse {
    /// The first address of the network.
    pub(super) fn base(&self) -> u128 {
        *self.subnet.all.start()
    }
}

/// A pool and how its addresses are used.
#[derive(Clone, Debug)]
pub struct PoolUse {
    /// As it is configured.
    pub pool: Arc<Pool>,
    /// Its IPv4 addresses.
    pub ipv4: Option<FamilyUse>,
    /// Its IPv6 addresses.
    pub ipv6: Option<FamilyUse>,
    /// Offsets that are free in both families; kept for aligned pools only.
    pub pairs: FreeSet,
    /// Leases in quarantine, the first to end first.
    pub quarantined: BTreeSet<(i64, LeaseId)>,
}

impl PoolUse {
    /// Its addresses of a family.
    pub fn family(&self, family: Family) -> Option<&FamilyUse> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }

    /// Its addresses of a family, to change.
    pub(super) fn family_mut(&mut self, family: Family) -> Option<&mut FamilyUse> {
        match family {
            Family::V4 => self.ipv4.as_mut(),
            Family::V6 => self.ipv6.as_mut(),
        }
    }
}

/// A reservation with its addresses as numbers.
#[derive(Clone, Debug)]
pub struct ReservationRecord {
    /// As it is stored.
    pub reservation: Arc<Reservation>,
    /// Its pool.
    pub pool: PoolId,
}

impl ReservationRecord {
    /// The number of its address of a family.
    pub fn number(&self, family: Family) -> Option<u128> {
        self.reservation.address(family).map(crate::family::number)
    }
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub struct State {
    /// Pools by number.
    pub pools: BTreeMap<PoolId, PoolUse>,
    /// Numbers of pools by name.
    pub pool_ids: BTreeMap<Arc<str>, PoolId>,
    /// The next pool's number.
    pub next_pool: u32,
    /// Reservations by name.
    pub reservations: BTreeMap<Arc<str>, ReservationRecord>,
    /// Names of reservations by what they are for (see `reservations::identity_key`).
    pub identities: BTreeSet<(u64, Arc<str>)>,
    /// Leases by number.
    pub leases: DenseMap<LeaseId, LeaseRecord>,
    /// Leases by [`Keys::attachment`].
    pub by_attachment: KeyIndex,
    /// Leases by [`Keys::request`].
    pub by_request: KeyIndex,
    /// Leases by [`Keys::pod`].
    pub by_pod: KeyIndex,
    /// Leases by [`Keys::mac`].
    pub by_mac: KeyIndex,
    /// Active leases of each pool by [`Keys::namespace`].
    pub by_namespace: BTreeMap<(PoolId, u64), u32>,
    /// Leases that end or are gone at a time.
    pub deadlines: BTreeSet<(i64, LeaseId)>,
    /// Behind the last group.
    pub position: Position,
    /// Of the last change.
    pub revision: u64,
    /// The oldest that the history keeps.
    pub oldest_revision: u64,
    /// The latest time that was seen, in milliseconds since 1970: it never goes back.
    pub latest: i64,
    /// Attachments that an orphan reclaim missed once: generation then, and when. Not durable: a restart only
    /// makes the next reclaim the first observation again.
    pub suspects: BTreeMap<LeaseId, (u32, i64)>,
    /// Which store it is, and whose reports it waits for.
    pub origin: Origin,
    /// Nodes that the leases named when they were loaded.
    pub nodes: BTreeSet<String>,
    /// How long a restored store waits for the reports of nodes, in milliseconds.
    pub restore_wait: i64,
}

impl State {
    /// A pool by name.
    pub fn pool(&self, name: &str) -> Option<(PoolId, &PoolUse)> {
        let id = *self.pool_ids.get(name)?;
        Some((id, self.pools.get(&id)?))
    }

    /// How many active leases a namespace has of a pool.
    pub(super) fn leases_of(&self, pool: PoolId, namespace: &str) -> u32 {
        let key = namespace_key(namespace);
        self.by_namespace.get(&(pool, key)).copied().unwrap_or(0)
    }

    /// The earliest end of a lease, in milliseconds since 1970.
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The record of a lease in quarantine.
    pub(super) fn quarantined(&self, id: LeaseId) -> Option<&LeaseRecord> {
        self.leases.get(&id).filter(|record| record.is_quarantined)
    }
}
