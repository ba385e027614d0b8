//! Every change of what is remembered goes through a few primitives, each of which returns how it is undone.

use std::sync::Arc;

use super::{LeaseRecord, PoolId, PoolUse, ReservationRecord, State};
use crate::allocator::reservations::identity_key;
use crate::family::Family;
use crate::key_index::KeyIndex;
use crate::lease::LeaseId;
use crate::log::Origin;

/// How one change is undone.
#[derive(Debug)]
pub(in crate::allocator) enum Undo {
    Inserted(LeaseId),
    Removed(LeaseId, LeaseRecord),
    Cursor(PoolId, Family, u128),
    Pool(PoolId, Option<Box<PoolUse>>),
    Reservation(Arc<str>, Option<ReservationRecord>),
    Origin(Origin),
}

/// Whether a record is added or removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Add,
    Remove,
}

impl PoolUse {
    /// Makes an address free or not, and the pair that it belongs to.
    fn set_free(&mut self, family: Family, number: u128, free: bool) {
        let Some(addresses) = self.family_mut(family) else {
            return;
        };
        let offset = number.wrapping_sub(addresses.base());
        if free && addresses.subnet.leasable.contains(number) {
            addresses.free.add(number);
        } else if !free {
            addresses.free.remove(number);
        }
        if self.pool.is_aligned() {
            if self.is_free_at(offset) {
                self.pairs.add(offset);
            } else {
                self.pairs.remove(offset);
            }
        }
    }

    /// Whether both families are free at an offset.
    fn is_free_at(&self, offset: u128) -> bool {
        Family::ALL.iter().all(|&family| {
            self.family(family).is_some_and(|addresses| {
                let number = addresses.base().checked_add(offset);
                number.is_some_and(|number| addresses.free.contains(number))
            })
        })
    }
}

impl State {
    pub(in crate::allocator) fn insert(&mut self, id: LeaseId, record: LeaseRecord) -> Undo {
        self.index(id, &record, Direction::Add);
        if let Some(pool) = self.pools.get_mut(&record.pool) {
            for family in Family::ALL {
                if let Some(number) = record.number(family) {
                    if let Some(addresses) = pool.family_mut(family) {
                        addresses.held.insert(number, id);
                        addresses.quarantined += u128::from(record.is_quarantined);
                    }
                    pool.set_free(family, number, false);
                }
            }
            if record.is_quarantined {
                pool.quarantined.insert((record.until, id));
            }
        }
        self.leases.insert(id, record);
        Undo::Inserted(id)
    }

    pub(in crate::allocator) fn remove(&mut self, id: LeaseId) -> Option<Undo> {
        let record = self.leases.remove(&id)?;
        self.index(id, &record, Direction::Remove);
        if let Some(pool) = self.pools.get_mut(&record.pool) {
            for family in Family::ALL {
                if let Some(number) = record.number(family) {
                    let mut is_reserved = false;
                    if let Some(addresses) = pool.family_mut(family) {
                        addresses.held.remove(&number);
                        addresses.quarantined -= u128::from(record.is_quarantined);
                        is_reserved = addresses.reserved.contains_key(&number);
                    }
                    pool.set_free(family, number, !is_reserved);
                }
            }
            if record.is_quarantined {
                pool.quarantined.remove(&(record.until, id));
            }
        }
        Some(Undo::Removed(id, record))
    }

    fn index(&mut self, id: LeaseId, record: &LeaseRecord, direction: Direction) {
        let put = |index: &mut KeyIndex, key: u32| match direction {
            Direction::Add => index.insert(key, id),
            Direction::Remove => index.remove(key, id),
        };
        put(&mut self.by_attachment, record.keys.attachment);
        put(&mut self.by_request, record.keys.request);
        put(&mut self.by_pod, record.keys.pod);
        put(&mut self.by_mac, record.keys.mac);
        if !record.is_quarantined {
            let of = (record.pool, record.keys.namespace);
            let count = self.by_namespace.entry(of).or_default();
            *count = match direction {
                Direction::Add => *count + 1,
                Direction::Remove => count.saturating_sub(1),
            };
            if *count == 0 {
                self.by_namespace.remove(&of);
            }
        }
        if record.until != i64::MAX {
            match direction {
                Direction::Add => self.deadlines.insert((record.until, id)),
                Direction::Remove => self.deadlines.remove(&(record.until, id)),
            };
        }
    }

    pub(in crate::allocator) fn set_cursor(
        &mut self,
        pool: PoolId,
        family: Family,
        cursor: u128,
    ) -> Option<Undo> {
        let addresses = self.pools.get_mut(&pool)?.family_mut(family)?;
        let before = std::mem::replace(&mut addresses.cursor, cursor);
        Some(Undo::Cursor(pool, family, before))
    }

    pub(in crate::allocator) fn set_pool(&mut self, id: PoolId, pool: Option<PoolUse>) -> Undo {
        let before = match pool {
            Some(pool) => {
                self.pool_ids.insert(pool.pool.name.clone(), id);
                self.pools.insert(id, pool)
            }
            None => {
                let before = self.pools.remove(&id);
                if let Some(before) = &before {
                    self.pool_ids.remove(&before.pool.name);
                }
                before
            }
        };
        Undo::Pool(id, before.map(Box::new))
    }

    /// Puts a reservation in, or takes it out, and makes its addresses free or not.
    pub(in crate::allocator) fn set_reservation(
        &mut self,
        name: &Arc<str>,
        record: Option<ReservationRecord>,
    ) -> Undo {
        let before = self.reservations.remove(name);
        if let Some(before) = &before {
            if let Some(key) = identity_key(&before.reservation.identity) {
                self.identities.remove(&(key, name.clone()));
            }
            self.reserve(before, name, Direction::Remove);
        }
        if let Some(record) = record {
            if let Some(key) = identity_key(&record.reservation.identity) {
                self.identities.insert((key, name.clone()));
            }
            self.reserve(&record, name, Direction::Add);
            self.reservations.insert(name.clone(), record);
        }
        Undo::Reservation(name.clone(), before)
    }

    fn reserve(&mut self, record: &ReservationRecord, name: &Arc<str>, direction: Direction) {
        let Some(pool) = self.pools.get_mut(&record.pool) else {
            return;
        };
        for family in Family::ALL {
            let Some(number) = record.number(family) else {
                continue;
            };
            let mut is_held = false;
            if let Some(addresses) = pool.family_mut(family) {
                is_held = addresses.held.contains_key(&number);
                match direction {
                    Direction::Add => addresses.reserved.insert(number, name.clone()),
                    Direction::Remove => addresses.reserved.remove(&number),
                };
            }
            let is_removed = direction == Direction::Remove;
            pool.set_free(family, number, is_removed && !is_held);
        }
    }

    pub(in crate::allocator) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Inserted(id) => {
                self.remove(id);
            }
            Undo::Removed(id, record) => {
                self.insert(id, record);
            }
            Undo::Cursor(pool, family, cursor) => {
                self.set_cursor(pool, family, cursor);
            }
            Undo::Pool(id, pool) => {
                self.set_pool(id, pool.map(|pool| *pool));
            }
            Undo::Reservation(name, record) => {
                self.set_reservation(&name, record);
            }
            Undo::Origin(before) => self.origin = before,
        }
    }
}
