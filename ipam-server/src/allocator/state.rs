//! What the allocator remembers of pools and leases: enough to decide, the rest is in the store. Every change
//! goes through a few primitives, each of which tells how it is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proto::ipam::v1 as ipam;

use crate::error::Family;
use crate::free_set::FreeSet;
use crate::lease::{Keys, namespace_key};
use crate::pool::Pool;
use crate::pool::Subnet;
use crate::store::{LeaseId, Origin, Position};

/// A pool's number within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

/// What is remembered of one lease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// Its IPv6 address, or `::`, which is never leased.
    pub ipv6: Ipv6Addr,
    /// What it is found by.
    pub keys: Keys,
    /// When it ends (active) or is gone (quarantined), in milliseconds since 1970; `i64::MAX`: never.
    pub until: i64,
    /// See `ipam.v1.Lease.generation`; saturating.
    pub generation: u32,
    /// Its IPv4 address, or `0.0.0.0`, which is never leased.
    pub ipv4: Ipv4Addr,
    /// Its pool.
    pub pool: PoolId,
    /// Whether it has ended and its addresses rest.
    pub quarantined: bool,
}

impl Held {
    /// Its address of a family.
    pub fn number(&self, family: Family) -> Option<u128> {
        let number = match family {
            Family::V4 => u128::from(self.ipv4.to_bits()),
            Family::V6 => self.ipv6.to_bits(),
        };
        Some(number).filter(|&number| number != 0)
    }
}

/// One family of a pool and how its addresses are used.
#[derive(Clone, Debug)]
pub struct Half {
    /// The addresses.
    pub subnet: Subnet,
    /// What can be given now.
    pub free: FreeSet,
    /// Who holds what.
    pub held: BTreeMap<u128, LeaseId>,
    /// What is kept, by the reservation's name.
    pub reserved: BTreeMap<u128, Arc<str>>,
    /// How many of `held` are in quarantine.
    pub quarantined: u128,
    /// Where the next look begins.
    pub cursor: u128,
}

/// A pool and how its addresses are used.
#[derive(Clone, Debug)]
pub struct PoolState {
    /// As it is configured.
    pub pool: Arc<Pool>,
    /// The IPv4 half.
    pub ipv4: Option<Half>,
    /// The IPv6 half.
    pub ipv6: Option<Half>,
    /// Offsets that are free in both halves; kept for aligned pools only.
    pub pairs: FreeSet,
    /// Leases in quarantine, the first to end first.
    pub resting: BTreeSet<(i64, LeaseId)>,
}

impl PoolState {
    /// One of its halves.
    pub fn half(&self, family: Family) -> Option<&Half> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }

    /// One of its halves, to change.
    pub fn half_mut(&mut self, family: Family) -> Option<&mut Half> {
        match family {
            Family::V4 => self.ipv4.as_mut(),
            Family::V6 => self.ipv6.as_mut(),
        }
    }

    /// Makes an address free or not, and the pair that it belongs to.
    pub fn set_free(&mut self, family: Family, number: u128, free: bool) {
        let Some(half) = self.half_mut(family) else {
            return;
        };
        let offset = number.wrapping_sub(*half.subnet.all.start());
        if free && half.subnet.leasable.contains(number) {
            half.free.give(number);
        } else if !free {
            half.free.take(number);
        }
        if self.pool.aligned {
            if self.is_free_at(offset) {
                self.pairs.give(offset);
            } else {
                self.pairs.take(offset);
            }
        }
    }

    /// Whether both halves are free at an offset.
    fn is_free_at(&self, offset: u128) -> bool {
        [Family::V4, Family::V6].iter().all(|&family| {
            self.half(family).is_some_and(|half| {
                let number = half.subnet.all.start().checked_add(offset);
                number.is_some_and(|number| half.free.contains(number))
            })
        })
    }
}

/// A reservation with its addresses as numbers.
#[derive(Clone, Debug)]
pub struct Kept {
    /// As it is stored.
    pub message: Arc<ipam::Reservation>,
    /// Its pool.
    pub pool: PoolId,
    /// Its IPv4 address.
    pub ipv4: Option<u128>,
    /// Its IPv6 address.
    pub ipv6: Option<u128>,
}

impl Kept {
    /// Its address of a family.
    pub fn number(&self, family: Family) -> Option<u128> {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub struct State {
    /// Pools by number.
    pub pools: BTreeMap<PoolId, PoolState>,
    /// Numbers of pools by name.
    pub pool_ids: BTreeMap<Arc<str>, PoolId>,
    /// The next pool's number.
    pub next_pool: u32,
    /// Reservations by name.
    pub reservations: BTreeMap<Arc<str>, Kept>,
    /// Names of reservations by what they are for (see `reservations::identity_keys`).
    pub identities: BTreeSet<(u64, Arc<str>)>,
    /// Leases by number.
    pub leases: BTreeMap<LeaseId, Held>,
    /// Leases by [`Keys::attachment`].
    pub by_attachment: BTreeSet<(u32, LeaseId)>,
    /// Leases by [`Keys::request`].
    pub by_request: BTreeSet<(u32, LeaseId)>,
    /// Leases by [`Keys::pod`].
    pub by_pod: BTreeSet<(u32, LeaseId)>,
    /// Leases by [`Keys::mac`].
    pub by_mac: BTreeSet<(u32, LeaseId)>,
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

/// How one change is undone.
#[derive(Debug)]
pub(super) enum Undo {
    Inserted(LeaseId),
    Removed(LeaseId, Held),
    Cursor(PoolId, Family, u128),
    Pool(PoolId, Option<Box<PoolState>>),
    Reservation(Arc<str>, Option<Kept>),
    Origin(Origin),
}

impl State {
    /// A pool by name.
    pub fn pool(&self, name: &str) -> Option<(PoolId, &PoolState)> {
        let id = *self.pool_ids.get(name)?;
        Some((id, self.pools.get(&id)?))
    }

    /// How many active leases a namespace has of a pool.
    pub(super) fn leases_of(&self, pool: PoolId, namespace: &str) -> u32 {
        let key = namespace_key(namespace);
        self.by_namespace.get(&(pool, key)).copied().unwrap_or(0)
    }

    /// When the ledger must look again: the earliest end of a lease, in milliseconds since 1970.
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Leases whose key is `key`.
    pub fn with_key(
        set: &BTreeSet<(u32, LeaseId)>,
        key: u32,
    ) -> impl Iterator<Item = LeaseId> + '_ {
        let wanted = (key != 0).then_some(key);
        wanted.into_iter().flat_map(move |key| {
            set.range((key, LeaseId(0))..=(key, LeaseId(u64::MAX)))
                .map(|(_, id)| *id)
        })
    }

    pub(super) fn insert(&mut self, id: LeaseId, held: Held) -> Undo {
        self.index(id, &held, true);
        if let Some(pool) = self.pools.get_mut(&held.pool) {
            for family in [Family::V4, Family::V6] {
                if let Some(number) = held.number(family) {
                    if let Some(half) = pool.half_mut(family) {
                        half.held.insert(number, id);
                        half.quarantined += u128::from(held.quarantined);
                    }
                    pool.set_free(family, number, false);
                }
            }
            if held.quarantined {
                pool.resting.insert((held.until, id));
            }
        }
        self.leases.insert(id, held);
        Undo::Inserted(id)
    }

    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Undo> {
        let held = self.leases.remove(&id)?;
        self.index(id, &held, false);
        if let Some(pool) = self.pools.get_mut(&held.pool) {
            for family in [Family::V4, Family::V6] {
                if let Some(number) = held.number(family) {
                    let mut reserved = false;
                    if let Some(half) = pool.half_mut(family) {
                        half.held.remove(&number);
                        half.quarantined -= u128::from(held.quarantined);
                        reserved = half.reserved.contains_key(&number);
                    }
                    pool.set_free(family, number, !reserved);
                }
            }
            if held.quarantined {
                pool.resting.remove(&(held.until, id));
            }
        }
        Some(Undo::Removed(id, held))
    }

    fn index(&mut self, id: LeaseId, held: &Held, add: bool) {
        let put = |set: &mut BTreeSet<(u32, LeaseId)>, key: u32| {
            if key != 0 {
                if add {
                    set.insert((key, id));
                } else {
                    set.remove(&(key, id));
                }
            }
        };
        put(&mut self.by_attachment, held.keys.attachment);
        put(&mut self.by_request, held.keys.request);
        put(&mut self.by_pod, held.keys.pod);
        put(&mut self.by_mac, held.keys.mac);
        if !held.quarantined {
            let of = (held.pool, held.keys.namespace);
            let count = self.by_namespace.entry(of).or_default();
            *count = if add {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                self.by_namespace.remove(&of);
            }
        }
        if held.until != i64::MAX {
            if add {
                self.deadlines.insert((held.until, id));
            } else {
                self.deadlines.remove(&(held.until, id));
            }
        }
    }

    pub(super) fn set_cursor(
        &mut self,
        pool: PoolId,
        family: Family,
        cursor: u128,
    ) -> Option<Undo> {
        let half = self.pools.get_mut(&pool)?.half_mut(family)?;
        let before = std::mem::replace(&mut half.cursor, cursor);
        Some(Undo::Cursor(pool, family, before))
    }

    pub(super) fn set_pool(&mut self, id: PoolId, pool: Option<PoolState>) -> Undo {
        let before = match pool {
            Some(pool) => {
                self.pool_ids.insert(pool.pool.name().into(), id);
                self.pools.insert(id, pool)
            }
            None => {
                let before = self.pools.remove(&id);
                if let Some(before) = &before {
                    self.pool_ids.remove(before.pool.name());
                }
                before
            }
        };
        Undo::Pool(id, before.map(Box::new))
    }

    /// Puts a reservation in, or takes it out, and makes its addresses free or not.
    pub(super) fn set_reservation(&mut self, name: &Arc<str>, kept: Option<Kept>) -> Undo {
        let before = self.reservations.remove(name);
        if let Some(before) = &before {
            for key in super::reservations::identity_keys(&before.message) {
                self.identities.remove(&(key, name.clone()));
            }
            self.reserve(before, name, false);
        }
        if let Some(kept) = kept {
            for key in super::reservations::identity_keys(&kept.message) {
                self.identities.insert((key, name.clone()));
            }
            self.reserve(&kept, name, true);
            self.reservations.insert(name.clone(), kept);
        }
        Undo::Reservation(name.clone(), before)
    }

    fn reserve(&mut self, kept: &Kept, name: &Arc<str>, add: bool) {
        let Some(pool) = self.pools.get_mut(&kept.pool) else {
            return;
        };
        for family in [Family::V4, Family::V6] {
            let Some(number) = kept.number(family) else {
                continue;
            };
            let mut held = false;
            if let Some(half) = pool.half_mut(family) {
                held = half.held.contains_key(&number);
                if add {
                    half.reserved.insert(number, name.clone());
                } else {
                    half.reserved.remove(&number);
                }
            }
            pool.set_free(family, number, !add && !held);
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Inserted(id) => {
                self.remove(id);
            }
            Undo::Removed(id, held) => {
                self.insert(id, held);
            }
            Undo::Cursor(pool, family, cursor) => {
                self.set_cursor(pool, family, cursor);
            }
            Undo::Pool(id, pool) => {
                self.set_pool(id, pool.map(|pool| *pool));
            }
            Undo::Reservation(name, kept) => {
                self.set_reservation(&name, kept);
            }
            Undo::Origin(before) => self.origin = before,
        }
    }
}
