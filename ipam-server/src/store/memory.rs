//! A store that lasts as long as its process, for tests and for trying things out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipam_core::event::{Change, Event, Sides};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;

use super::{Append, Extent, Group, Log, Origin, Position, Store, StoreError};

/// Groups that are kept for writers that are behind.
const GROUPS: usize = 256;

/// Keeps everything in memory. Clones are other writers and readers of the same log.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    /// The last groups, up to [`GROUPS`], and how many lie before them.
    log: VecDeque<Group>,
    trimmed: u64,
    pools: BTreeMap<Arc<str>, Arc<Pool>>,
    reservations: BTreeMap<Arc<str>, Arc<Reservation>>,
    leases: BTreeMap<LeaseId, Arc<Lease>>,
    events: BTreeMap<u64, Event>,
    revision: u64,
    origin: Option<Origin>,
}

impl MemoryStore {
    /// As if the store had lost a lease.
    #[cfg(test)]
    pub(crate) fn lose_lease(&self, id: LeaseId) {
        self.content().leases.remove(&id);
    }

    /// As if the store had this history.
    #[cfg(test)]
    pub(crate) fn set_history(&self, events: impl IntoIterator<Item = Event>) {
        let events = events.into_iter().map(|event| (event.revision, event));
        self.content().events = events.collect();
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn position(&self) -> Position {
        Position(self.trimmed + self.log.len() as u64)
    }

    fn apply(&mut self, group: &Group) {
        for event in &group.events {
            self.revision = event.revision;
            self.events.insert(event.revision, event.clone());
            match &event.change {
                Change::Lease(sides) => put(&mut self.leases, sides, |lease| lease.id),
                Change::Pool(sides) => put(&mut self.pools, sides, |pool| pool.name.clone()),
                Change::Reservation(sides) => {
                    put(&mut self.reservations, sides, |kept| kept.name.clone());
                }
            }
        }
        if let Some(change) = &group.origin {
            self.origin = Some(change.after.clone());
        }
        if let Some(to) = group.forget_events_to {
            self.events = self.events.split_off(&to.saturating_add(1));
        }
    }
}

/// Changes what a map holds of one thing.
fn put<K: Ord, T>(map: &mut BTreeMap<K, Arc<T>>, sides: &Sides<T>, key: impl Fn(&T) -> K) {
    match (&sides.before, &sides.after) {
        (_, Some(after)) => {
            map.insert(key(after), after.clone());
        }
        (Some(before), None) => {
            map.remove(&key(before));
        }
        (None, None) => {}
    }
}

/// All that a map holds.
fn all<K, T: Clone>(map: &BTreeMap<K, Arc<T>>) -> Vec<T> {
    map.values().map(|one| T::clone(one)).collect()
}

impl Log for MemoryStore {
    fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError> {
        let mut content = self.content();
        let end = content.position();
        if at != end {
            let known = at.0.checked_sub(content.trimmed);
            let known = known.and_then(|known| usize::try_from(known).ok());
            let known = known.filter(|&known| known <= content.log.len());
            let Some(known) = known else {
                return Ok(Append::Compacted);
            };
            let missed = content.log.iter().skip(known).cloned().collect();
            return Ok(Append::Behind(missed, end));
        }
        if group.is_empty() {
            return Ok(Append::Appended(end));
        }
        content.apply(group);
        content.log.push_back(group.clone());
        if content.log.len() > GROUPS {
            content.log.pop_front();
            content.trimmed += 1;
        }
        Ok(Append::Appended(content.position()))
    }

    fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn extent(&self) -> Result<Extent, StoreError> {
        let content = self.content();
        let oldest = content.events.first_key_value().map(|(&first, _)| first);
        Ok(Extent {
            position: content.position(),
            revision: content.revision,
            oldest_revision: oldest.unwrap_or(content.revision + 1),
        })
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        Ok(self.content().origin.clone())
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        Ok(all(&self.content().pools))
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        Ok(all(&self.content().reservations))
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        let content = self.content();
        Ok(content.leases.get(&id).map(|lease| Lease::clone(lease)))
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let from = LeaseId(after.0.saturating_add(1));
        let content = self.content();
        let leases = content.leases.range(from..).take(limit);
        Ok(leases.map(|(_, lease)| Lease::clone(lease)).collect())
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let content = self.content();
        let events = content.events.range(after.saturating_add(1)..);
        Ok(events.take(limit).map(|(_, event)| event.clone()).collect())
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let content = self.content();
        let events = content.events.range(..before).rev();
        Ok(events.take(limit).map(|(_, event)| event.clone()).collect())
    }
}
