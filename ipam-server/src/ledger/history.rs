//! The history, read beside the ledger's thread. It has no index but its order: what is asked of a time is found by
//! halves, what is asked of an address is read through, which the bound on the history keeps to some microseconds an
//! event.

use std::collections::BTreeMap;

use ipam_core::event::{Event, EventType};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Store, StoreError};
use ipam_core::request::Question;
use jiff::Timestamp;

use super::{Caller, Ledger};
use crate::error::Error;

/// Events that are read at once.
const PAGE: usize = 1000;
/// Changes among which the end of a lease is searched.
const RECENT: usize = 10 * PAGE;

impl Ledger {
    /// Up to `limit` events with a revision above `after`, in order and without a gap.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the history begins later; [`Error::Refused`] if the store cannot be read.
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        let ledger = self.clone();
        self.read(move |store| {
            let events = store.events(after, limit)?;
            // What is forgotten meanwhile must not go unnoticed, also where a group that forgets is under way.
            let expected = after.saturating_add(1);
            let found = events.iter().map(|event| event.revision);
            let behind_gap = found
                .zip(expected..)
                .find(|(found, expected)| found != expected);
            let oldest = behind_gap
                .map_or(0, |(found, _)| found)
                .max(*ledger.oldest.borrow());
            if expected < oldest {
                return Err(Error::Compacted {
                    wanted: format!("revision {expected}"),
                    oldest,
                });
            }
            Ok(events)
        })
        .await
    }

    /// The oldest revision that the history keeps.
    pub fn oldest_revision(&self) -> u64 {
        *self.oldest.borrow()
    }

    /// Up to `limit` events with a revision below `before`, newest first.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store cannot be read.
    pub async fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, Error> {
        self.read(move |store| Ok(store.events_back(before, limit)?))
            .await
    }

    /// The last revision before a time (milliseconds since 1970), or the one before the history's first.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store cannot be read.
    pub async fn revision_before(&self, time: i64) -> Result<u64, Error> {
        self.read(move |store| Ok(revision_before(store, time)?))
            .await
    }

    /// Whether a lease that is gone ended by itself, as far as the history knows: its last [`RECENT`] changes.
    pub(super) async fn has_expired(&self, caller: &Caller, id: LeaseId) -> Result<bool, Error> {
        let node = caller.node.clone();
        self.read(move |store| {
            let mut before = u64::MAX;
            for _ in 0..RECENT / PAGE {
                let page = store.events_back(before, PAGE)?;
                for event in &page {
                    // A lease's number is the revision that made it.
                    if event.revision <= id.0 {
                        return Ok(false);
                    }
                    if event.kind == EventType::Expired
                        && let Some(lease) = event.lease_before().filter(|lease| lease.id == id)
                    {
                        return Ok(lease.is_of_node(node.as_deref()));
                    }
                    before = event.revision;
                }
                if page.len() < PAGE {
                    break;
                }
            }
            Ok(false)
        })
        .await
    }

    /// Who held at a time: who holds now, and then the history backwards to that time. The first change behind the
    /// time shows what was before it. What changed since `now` was read is undone with the rest.
    pub(super) async fn held_at(
        &self,
        now: Vec<Lease>,
        question: Question,
        time: Timestamp,
    ) -> Result<Vec<Lease>, Error> {
        let at = time.as_millisecond();
        self.read(move |store| {
            let now = now.into_iter().map(|lease| (lease.id, lease));
            let mut held: BTreeMap<LeaseId, Lease> = now.collect();
            let mut before = u64::MAX;
            loop {
                let page = store.events_back(before, PAGE)?;
                let is_full = page.len() == PAGE;
                for event in page {
                    if event.time.as_millisecond() <= at {
                        return Ok(held.into_values().collect());
                    }
                    before = event.revision;
                    undo(&event, &question, &mut held);
                }
                if !is_full {
                    break;
                }
            }
            match before {
                // Nothing has ever changed, or all that ever did was undone.
                u64::MAX | 1 => Ok(held.into_values().collect()),
                oldest => Err(Error::Compacted {
                    wanted: format!("time {time}"),
                    oldest,
                }),
            }
        })
        .await
    }
}

/// Puts the lease of an event back as it was, if it is one that is asked for.
fn undo(event: &Event, question: &Question, held: &mut BTreeMap<LeaseId, Lease>) {
    let Some(id) = event.lease_id() else {
        return;
    };
    let before = event.lease_before();
    match before.filter(|lease| question.matches(lease)) {
        Some(lease) => held.insert(id, Lease::clone(lease)),
        None => held.remove(&id),
    };
}

/// Times rise with revisions: the ledger's clock never goes back.
fn revision_before(store: &dyn Store, time: i64) -> Result<u64, StoreError> {
    let extent = store.extent()?;
    let (mut low, mut high) = (extent.oldest_revision.saturating_sub(1), extent.revision);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let found = store.events(middle - 1, 1)?.into_iter().next();
        match found.filter(|event| event.time.as_millisecond() < time) {
            Some(event) => low = event.revision,
            None => high = middle - 1,
        }
    }
    Ok(low)
}
