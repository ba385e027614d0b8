//! The one way in which a change reaches what is remembered: the event that states it, of this server's own group and of
//! a group that another server appended alike.

use std::sync::Arc;

use proto::ipam::v1::subject::Subject;
use proto::ipam::v1::{self as ipam};

use super::draft::held;
use super::gone::GONE;
use super::pools::{empty, refilled, same_configuration};
use super::state::{Held, Kept, PoolId, PoolState, State, Undo};
use crate::error::Error;
use crate::lease::millis;
use crate::pool::{Pool, number};
use crate::store::{Group, LeaseId, Position, StoreError, subject};

impl State {
    /// Takes in groups that other servers appended; `position` is behind the last one.
    ///
    /// # Errors
    /// [`Error::Store`] if a group does not fit what is remembered, which has changed by a part of them then: it is to be
    /// loaded anew.
    pub fn take_in(&mut self, groups: &[Group], position: Position) -> Result<(), Error> {
        for group in groups {
            self.take_in_one(group)?;
        }
        self.position = position;
        Ok(())
    }

    fn take_in_one(&mut self, group: &Group) -> Result<(), Error> {
        for event in &group.events {
            if event.revision != self.revision + 1 {
                let what = format!("revision {} behind {}", event.revision, self.revision);
                return Err(misfit(what));
            }
            self.apply_event(event, &mut Vec::new())?;
            self.latest = self.latest.max(millis(event.time.as_ref()));
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
    pub(super) fn apply_event(
        &mut self,
        event: &ipam::Event,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Error> {
        let begin = undo.len();
        let applied = match (subject(&event.before), subject(&event.after)) {
            (_, Some(Subject::Lease(lease))) => self.put_lease(lease, undo),
            (Some(Subject::Lease(lease)), None) => {
                undo.extend(self.remove(lease_id(lease)?));
                Ok(())
            }
            (before, Some(Subject::Pool(pool))) => self.put_pool(before.is_some(), pool, undo),
            (Some(Subject::Pool(pool)), None) => self.delete_pool(&pool.name, undo),
            (_, Some(Subject::Reservation(kept))) => self.put_reservation(kept, undo),
            (Some(Subject::Reservation(kept)), None) => {
                let name: Arc<str> = kept.name.as_str().into();
                undo.push(self.set_reservation(&name, None));
                Ok(())
            }
            (None, None) => Ok(()),
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
}

impl State {
    fn put_lease(&mut self, lease: &ipam::Lease, undo: &mut Vec<Undo>) -> Result<(), Error> {
        let id = lease_id(lease)?;
        undo.extend(self.remove(id));
        let held = held(self, lease)?;
        undo.push(self.insert(id, held));
        Ok(())
    }

    fn put_pool(
        &mut self,
        is_known: bool,
        message: &ipam::Pool,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Error> {
        let pool = Pool::decode(message.clone())?;
        let known = self.pool(&message.name).filter(|_| is_known);
        let (id, after) = match known {
            Some((id, before)) if same_configuration(&before.pool.message, message) => {
                let pool = Arc::new(pool);
                (
                    id,
                    PoolState {
                        pool,
                        ..before.clone()
                    },
                )
            }
            Some((id, before)) => (id, refilled(pool, before)?),
            None if self.pool_ids.contains_key(message.name.as_str()) => {
                return Err(misfit(format!("a second pool {:?}", message.name)));
            }
            None => {
                let id = PoolId(self.next_pool);
                self.next_pool += 1;
                (id, empty(pool))
            }
        };
        undo.push(self.set_pool(id, Some(after)));
        Ok(())
    }

    /// What is in quarantine rests on, in [`GONE`].
    fn delete_pool(&mut self, name: &str, undo: &mut Vec<Undo>) -> Result<(), Error> {
        let (id, state) = self
            .pool(name)
            .ok_or_else(|| misfit(format!("the deletion of pool {name:?}")))?;
        let resting: Vec<LeaseId> = state.resting.iter().map(|(_, id)| *id).collect();
        let mut outlive = Vec::new();
        for lease in resting {
            outlive.extend(self.leases.get(&lease).map(|held| (lease, *held)));
            undo.extend(self.remove(lease));
        }
        undo.push(self.set_pool(id, None));
        for (lease, held) in outlive {
            undo.push(self.insert(lease, Held { pool: GONE, ..held }));
        }
        Ok(())
    }

    fn put_reservation(
        &mut self,
        message: &ipam::Reservation,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Error> {
        let number = |text: &str| text.parse().ok().map(number);
        let pool = self.pool_ids.get(message.pool.as_str()).copied();
        let kept = Kept {
            pool: pool.ok_or_else(|| misfit(format!("reservation {:?}", message.name)))?,
            ipv4: number(&message.ipv4),
            ipv6: number(&message.ipv6),
            message: Arc::new(message.clone()),
        };
        let name: Arc<str> = message.name.as_str().into();
        undo.push(self.set_reservation(&name, Some(kept)));
        Ok(())
    }
}

fn lease_id(lease: &ipam::Lease) -> Result<LeaseId, Error> {
    let unknown = |()| misfit(format!("a lease with the id {:?}", lease.id));
    lease.id.parse().map_err(unknown)
}

/// The error for what cannot be, if each group follows on the one before.
fn misfit(what: String) -> Error {
    Error::Store(StoreError::Corrupt {
        store: "the store".into(),
        what: format!("{what} does not fit what was before it"),
    })
}
