//! What of a store is durable. A batch is visible in a store before it is on stable storage; here it is put back in
//! what is read until its commit has succeeded, so that nobody is told what could still be lost.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use proto::ipam::v1::subject::Subject as Content;
use proto::ipam::v1::{Event, Lease, Pool, Reservation, Subject};

use super::{Batch, Extent, LeaseId, Origin, Store, StoreError};

/// A store that shows of itself what is durable. After a commit that failed it shows what was before it, until
/// [`Store::recover`] succeeds.
///
/// What is read is looked up first and put back then: if the commit succeeds in between, what was read is durable
/// by then.
pub struct Durable {
    inner: Arc<dyn Store>,
    under_way: RwLock<Option<Before>>,
}

/// What a batch changes, as it was before.
struct Before {
    /// The first revision of the batch.
    revision: u64,
    pools: BTreeMap<String, Option<Pool>>,
    reservations: BTreeMap<String, Option<Reservation>>,
    leases: BTreeMap<LeaseId, Option<Lease>>,
}

impl Durable {
    /// Shows what is durable of a store.
    pub fn new(inner: Arc<dyn Store>) -> Durable {
        Durable {
            inner,
            under_way: RwLock::default(),
        }
    }

    fn under_way(&self) -> RwLockReadGuard<'_, Option<Before>> {
        self.under_way
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set_under_way(&self, before: Option<Before>) {
        *self
            .under_way
            .write()
            .unwrap_or_else(PoisonError::into_inner) = before;
    }
}

impl Before {
    /// That of a batch; nothing if it changes nothing.
    fn of(batch: &Batch) -> Option<Before> {
        let mut found = Before {
            revision: batch.events.first()?.revision,
            pools: BTreeMap::new(),
            reservations: BTreeMap::new(),
            leases: BTreeMap::new(),
        };
        for event in &batch.events {
            found.add(event);
        }
        Some(found)
    }

    /// What an event says of the time before the batch: the first one about a thing does.
    fn add(&mut self, event: &Event) {
        fn content(subject: &Option<Subject>) -> Option<&Content> {
            subject.as_ref()?.subject.as_ref()
        }
        let before = content(&event.before);
        match before.or_else(|| content(&event.after)) {
            Some(Content::Lease(lease)) => {
                if let Ok(id) = lease.id.parse() {
                    let was = || before.is_some().then(|| lease.clone());
                    self.leases.entry(id).or_insert_with(was);
                }
            }
            Some(Content::Pool(pool)) => {
                let was = || before.is_some().then(|| pool.clone());
                self.pools.entry(pool.name.clone()).or_insert_with(was);
            }
            Some(Content::Reservation(kept)) => {
                let was = || before.is_some().then(|| kept.clone());
                let name = kept.name.clone();
                self.reservations.entry(name).or_insert_with(was);
            }
            None => {}
        }
    }
}

/// `read` with what was before, in order of key; `range` is what was looked at.
fn put_back<K: Ord + Clone, V: Clone>(
    read: Vec<V>,
    key: impl Fn(&V) -> Option<K>,
    before: &BTreeMap<K, Option<V>>,
    range: impl RangeBounds<K>,
) -> Vec<V> {
    let mut changed = before.range(range).peekable();
    if changed.peek().is_none() {
        return read;
    }
    let mut all: BTreeMap<K, V> = read
        .into_iter()
        .filter_map(|value| Some((key(&value)?, value)))
        .collect();
    for (key, was) in changed {
        match was {
            Some(was) => all.insert(key.clone(), was.clone()),
            None => all.remove(key),
        };
    }
    all.into_values().collect()
}

impl Store for Durable {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn extent(&self) -> Result<Extent, StoreError> {
        let mut extent = self.inner.extent()?;
        if let Some(before) = self.under_way().as_ref() {
            extent.revision = extent.revision.min(before.revision - 1);
        }
        Ok(extent)
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        self.inner.origin()
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        let pools = self.inner.pools()?;
        Ok(match self.under_way().as_ref() {
            Some(before) => put_back(pools, |pool| Some(pool.name.clone()), &before.pools, ..),
            None => pools,
        })
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        let kept = self.inner.reservations()?;
        let name = |kept: &Reservation| Some(kept.name.clone());
        Ok(match self.under_way().as_ref() {
            Some(before) => put_back(kept, name, &before.reservations, ..),
            None => kept,
        })
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        let lease = self.inner.lease(id)?;
        let under_way = self.under_way();
        let was = under_way.as_ref().and_then(|before| before.leases.get(&id));
        Ok(match was {
            Some(was) => was.clone(),
            None => lease,
        })
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let mut leases = Vec::new();
        let mut from = after;
        // What is put back can make a page shorter: only the end of all leases may.
        while leases.len() < limit {
            let page = self.inner.leases(from, limit)?;
            let last = page.last().filter(|_| page.len() == limit);
            let end = last.and_then(|lease| lease.id.parse().ok());
            let until = end.map_or(Bound::Unbounded, Bound::Included);
            leases.extend(match self.under_way().as_ref() {
                Some(before) => put_back(
                    page,
                    |lease| lease.id.parse().ok(),
                    &before.leases,
                    (Bound::Excluded(from), until),
                ),
                None => page,
            });
            match end {
                Some(end) => from = end,
                None => break,
            }
        }
        leases.truncate(limit);
        Ok(leases)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut events = self.inner.events(after, limit)?;
        if let Some(before) = self.under_way().as_ref() {
            events.retain(|event| event.revision < before.revision);
        }
        Ok(events)
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut before = before;
        loop {
            let events = self.inner.events_back(before, limit)?;
            let first = self.under_way().as_ref().map(|batch| batch.revision);
            match (first, events.first()) {
                (Some(first), Some(newest)) if newest.revision >= first => before = first,
                _ => return Ok(events),
            }
        }
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.set_under_way(Before::of(batch));
        self.inner.commit(batch)?;
        self.set_under_way(None);
        Ok(())
    }

    fn recover(&self) -> Result<(), StoreError> {
        self.inner.recover()?;
        self.set_under_way(None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Mutex, mpsc};

    use proto::ipam::v1::{EventType, lease::State};

    use super::*;
    use crate::store::memory::MemoryStore;

    /// A memory store whose commits are visible at once and end when they are told how.
    struct Slow {
        inner: MemoryStore,
        visible: Mutex<Sender<()>>,
        ends: Mutex<Receiver<Result<(), StoreError>>>,
    }

    impl Store for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }
        fn extent(&self) -> Result<Extent, StoreError> {
            self.inner.extent()
        }
        fn origin(&self) -> Result<Option<Origin>, StoreError> {
            self.inner.origin()
        }
        fn pools(&self) -> Result<Vec<Pool>, StoreError> {
            self.inner.pools()
        }
        fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
            self.inner.reservations()
        }
        fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
            self.inner.lease(id)
        }
        fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
            self.inner.leases(after, limit)
        }
        fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
            self.inner.events(after, limit)
        }
        fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
            self.inner.events_back(before, limit)
        }
        fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
            self.inner.commit(batch)?;
            self.visible.lock().unwrap().send(()).unwrap();
            self.ends.lock().unwrap().recv().unwrap()
        }
        fn recover(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn lease(id: u64, state: State) -> Lease {
        Lease {
            id: LeaseId(id).to_string(),
            state: state.into(),
            ..Lease::default()
        }
    }

    /// Changes of leases, the first one with `revision`.
    fn batch(revision: u64, changes: &[(Option<Lease>, Option<Lease>)]) -> Batch {
        let wrap = |lease: &Lease| Subject {
            subject: Some(Content::Lease(lease.clone())),
        };
        let mut batch = Batch::default();
        for ((before, after), revision) in changes.iter().zip(revision..) {
            let id = before.as_ref().or(after.as_ref()).unwrap().id.parse();
            batch.leases.push((id.unwrap(), after.clone()));
            batch.events.push(Event {
                revision,
                r#type: EventType::Updated.into(),
                before: before.as_ref().map(wrap),
                after: after.as_ref().map(wrap),
                ..Event::default()
            });
        }
        batch
    }

    /// What a reader sees: leases in pages of two, the last event, and one lease by its number.
    fn seen(store: &Durable) -> (Vec<Lease>, u64, Option<Lease>) {
        let mut leases = Vec::new();
        let mut after = LeaseId(0);
        loop {
            let page = store.leases(after, 2).unwrap();
            let whole = page.len() == 2;
            after = page.last().map_or(after, |lease| lease.id.parse().unwrap());
            leases.extend(page);
            if !whole {
                break;
            }
        }
        let last = store.events_back(u64::MAX, 1).unwrap();
        let forwards = store.events(0, 100).unwrap();
        assert_eq!(forwards.last(), last.first());
        let last = last.first().map_or(0, |event| event.revision);
        assert_eq!(store.extent().unwrap().revision, last);
        (leases, last, store.lease(LeaseId(2)).unwrap())
    }

    #[test]
    fn what_is_not_durable_yet_is_seen_by_nobody() {
        let (visible, is_visible) = mpsc::channel();
        let (end, ends) = channel();
        let store = Durable::new(Arc::new(Slow {
            inner: MemoryStore::default(),
            visible: Mutex::new(visible),
            ends: Mutex::new(ends),
        }));
        let active = |id| lease(id, State::Active);
        end.send(Ok(())).unwrap();
        let made: Vec<_> = (1..=4).map(|id| (None, Some(active(id)))).collect();
        store.commit(&batch(1, &made)).unwrap();
        is_visible.recv().unwrap();
        let before = seen(&store);
        assert_eq!((before.0.len(), before.1), (4, 4));
        // One is renewed twice, one rests, one is gone, two are made.
        let rests = lease(2, State::Quarantined);
        let changes = [
            (Some(active(2)), Some(rests.clone())),
            (Some(rests.clone()), Some(rests.clone())),
            (Some(active(3)), None),
            (None, Some(active(7))),
            (None, Some(active(8))),
        ];
        for outcome in [
            Err(StoreError::Full {
                path: "/test".into(),
            }),
            Ok(()),
        ] {
            std::thread::scope(|scope| {
                let committing = scope.spawn(|| store.commit(&batch(5, &changes)));
                is_visible.recv().unwrap();
                assert_eq!(seen(&store), before, "during the commit");
                end.send(outcome.clone()).unwrap();
                let committed = committing.join().unwrap();
                assert_eq!(committed.is_ok(), outcome.is_ok());
            });
            if outcome.is_err() {
                assert_eq!(seen(&store), before, "after the commit failed");
            }
        }
        let (leases, last, two) = seen(&store);
        let ids: Vec<_> = leases.iter().map(|lease| lease.id.as_str()).collect();
        assert_eq!((ids, last), (vec!["l1", "l2", "l4", "l7", "l8"], 9));
        assert_eq!(two, Some(rests));
    }
}
