//! The one way in which a change reaches what is remembered: the event that states it, of this server's own group and of
//! a group that another server appended alike.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::deleted::DELETED;
use super::pools::{refilled, unused};
use super::state::{LeaseRecord, PoolId, PoolUse, ReservationRecord, State, Undo};
use crate::error::Error;
use crate::event::{Change, Event, Sides};
use crate::keys::Keys;
use crate::lease::{Lease, LeaseId};
use crate::log::{Group, Position, StoreError};
use crate::pool::Pool;
use crate::reservation::Reservation;

impl State {
    /// Applies groups that other servers appended; `position` is behind the last one.
    ///
    /// # Errors
    /// [`Error::Store`] if a group does not fit what is remembered, which has changed by a part of them then: it is to be
    /// loaded anew.
    pub fn apply_groups(&mut self, groups: &[Group], position: Position) -> Result<(), Error> {
        for group in groups {
            self.apply_group(group)?;
        }
        self.position = position;
        Ok(())
    }

    fn apply_group(&mut self, group: &Group) -> Result<(), Error> {
        for event in &group.events {
            if event.revision != self.revision + 1 {
                let what = format!("revision {} behind {}", event.revision, self.revision);
                return Err(misfit(what));
            }
            self.apply_event(event, &mut Vec::new())?;
            self.latest = self.latest.max(event.time.as_millisecond());
        }
        if let Some(to) = group.forget_events_to {
            self.oldest_revision = to + 1;
        }
        if let Some(change) = &group.origin {
            self.origin = change.after.clone();
        }
        Ok(())
    }

    /// Changes what is remembered as an event says; how that is undone is added to `undo`. After an error nothing is
    /// changed.
    ///
    /// # Errors
    /// [`Error::Store`] if the event does not fit; [`Error::PoolInUse`] if a pool would lose an address that is held.
    pub(super) fn apply_event(&mut self, event: &Event, undo: &mut Vec<Undo>) -> Result<(), Error> {
        let begin = undo.len();
        let applied = match &event.change {
            Change::Lease(Sides {
                after: Some(lease), ..
            }) => self.put_lease(lease, undo),
            Change::Lease(Sides {
                before: Some(lease),
                ..
            }) => {
                undo.extend(self.remove(lease.id));
                Ok(())
            }
            Change::Pool(Sides {
                before,
                after: Some(pool),
            }) => self.put_pool(before.is_some(), pool, undo),
            Change::Pool(Sides {
                before: Some(pool), ..
            }) => self.delete_pool(&pool.name, undo),
            Change::Reservation(Sides {
                after: Some(reservation),
                ..
            }) => self.put_reservation(reservation, undo),
            Change::Reservation(Sides {
                before: Some(reservation),
                ..
            }) => {
                undo.push(self.set_reservation(&reservation.name, None));
                Ok(())
            }
            Change::Lease(_) | Change::Pool(_) | Change::Reservation(_) => Ok(()),
        };
        if applied.is_err() {
            for undo in undo.drain(begin..).rev() {
                self.undo(undo);
            }
            return applied;
        }
        self.revision = event.revision;
        Ok(())
    }

    fn put_lease(&mut self, lease: &Lease, undo: &mut Vec<Undo>) -> Result<(), Error> {
        undo.extend(self.remove(lease.id));
        let record = self.record_of(lease)?;
        undo.push(self.insert(lease.id, record));
        Ok(())
    }

    fn put_pool(
        &mut self,
        is_known: bool,
        pool: &Arc<Pool>,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Error> {
        let pool = pool.clone();
        let known = self.pool(&pool.name).filter(|_| is_known);
        let (id, after) = match known {
            Some((id, before)) if before.pool.has_configuration_of(&pool) => (
                id,
                PoolUse {
                    pool,
                    ..before.clone()
                },
            ),
            Some((id, before)) => (id, refilled(pool, before)?),
            None if self.pool_ids.contains_key(&pool.name) => {
                return Err(misfit(format!("a second pool {:?}", pool.name)));
            }
            None => {
                let id = PoolId(self.next_pool);
                self.next_pool += 1;
                (id, unused(pool))
            }
        };
        undo.push(self.set_pool(id, Some(after)));
        Ok(())
    }

    /// Leases in quarantine stay so, in [`DELETED`].
    fn delete_pool(&mut self, name: &str, undo: &mut Vec<Undo>) -> Result<(), Error> {
        let (id, pool) = self
            .pool(name)
            .ok_or_else(|| misfit(format!("the deletion of pool {name:?}")))?;
        let quarantined: Vec<LeaseId> = pool.quarantined.iter().map(|(_, id)| *id).collect();
        let mut outlive = Vec::new();
        for lease in quarantined {
            outlive.extend(self.leases.get(&lease).map(|record| (lease, *record)));
            undo.extend(self.remove(lease));
        }
        undo.push(self.set_pool(id, None));
        for (lease, record) in outlive {
            let record = LeaseRecord {
                pool: DELETED,
                ..record
            };
            undo.push(self.insert(lease, record));
        }
        Ok(())
    }

    fn put_reservation(
        &mut self,
        reservation: &Arc<Reservation>,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Error> {
        let pool = self.pool_ids.get(&reservation.pool).copied();
        let pool = pool.ok_or_else(|| misfit(format!("reservation {:?}", reservation.name)))?;
        let record = ReservationRecord {
            pool,
            reservation: reservation.clone(),
        };
        undo.push(self.set_reservation(&reservation.name, Some(record)));
        Ok(())
    }

    /// What is remembered of a lease.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`] if its pool does not exist and it is not in quarantine.
    pub(super) fn record_of(&self, lease: &Lease) -> Result<LeaseRecord, Error> {
        let is_quarantined = !lease.is_active();
        // A pool of the same name in another VRF is another pool than the lease's.
        let is_own = |pool: &PoolId| {
            let own = |pool: &PoolUse| pool.pool.vrf == lease.vrf;
            !is_quarantined || self.pools.get(pool).is_some_and(own)
        };
        let named = self.pool_ids.get(&lease.pool).copied();
        let pool = match named.filter(is_own) {
            Some(pool) => pool,
            None if is_quarantined => DELETED,
            None => {
                let pool = lease.pool.as_ref().to_owned();
                return Err(Error::PoolNotFound { pool });
            }
        };
        let until = match is_quarantined {
            true => lease.quarantine_until.map_or(0, |at| at.as_millisecond()),
            false => lease.expire_time.map_or(i64::MAX, |at| at.as_millisecond()),
        };
        Ok(LeaseRecord {
            ipv6: lease.ipv6.map_or(Ipv6Addr::UNSPECIFIED, |at| at.ip()),
            keys: Keys::of(lease),
            until,
            generation: u32::try_from(lease.generation).unwrap_or(u32::MAX),
            ipv4: lease.ipv4.map_or(Ipv4Addr::UNSPECIFIED, |at| at.ip()),
            pool,
            is_quarantined,
        })
    }
}

/// The error for what cannot be, if each group follows on the one before.
fn misfit(what: String) -> Error {
    Error::Store(StoreError::Corrupt {
        store: "the store".into(),
        what: format!("{what} does not fit what was before it"),
    })
}
