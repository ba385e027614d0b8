//! A store that lasts as long as its process, for tests and for trying things out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::ipam::v1::{Event, Lease, Pool, Reservation};

use super::{Batch, Extent, LeaseId, Origin, Store, StoreError};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    pools: BTreeMap<String, Pool>,
    reservations: BTreeMap<String, Reservation>,
    leases: BTreeMap<LeaseId, Lease>,
    events: BTreeMap<u64, Event>,
    revision: u64,
    origin: Option<Origin>,
}

impl MemoryStore {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, changes: &[(K, Option<V>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
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
            revision: content.revision,
            oldest_revision: oldest.unwrap_or(content.revision + 1),
        })
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        Ok(self.content().origin.clone())
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        Ok(self.content().pools.values().cloned().collect())
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        Ok(self.content().reservations.values().cloned().collect())
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        Ok(self.content().leases.get(&id).cloned())
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let from = LeaseId(after.0.saturating_add(1));
        let content = self.content();
        Ok(content
            .leases
            .range(from..)
            .take(limit)
            .map(|(_, lease)| lease.clone())
            .collect())
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

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut content = self.content();
        put(&mut content.pools, &batch.pools);
        put(&mut content.reservations, &batch.reservations);
        put(&mut content.leases, &batch.leases);
        for event in &batch.events {
            content.revision = event.revision;
            content.events.insert(event.revision, event.clone());
        }
        if let Some(change) = &batch.origin {
            content.origin = Some(change.after.clone());
        }
        if let Some(to) = batch.forget_events_to {
            content.events = content.events.split_off(&to.saturating_add(1));
        }
        Ok(())
    }

    fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
