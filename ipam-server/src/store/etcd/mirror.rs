//! What the store holds, as a server remembers it: everything but the history. It is moved on by groups, in their order, so
//! that reading a lease costs no call. A lease is kept encoded, which takes a fraction of its room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ipam_core::event::{Change, Event, Sides};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Extent, Group, Origin, Position};
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;
use prost::Message as _;
use proto::ipam::v1 as ipam;

use super::head::Head;
use super::keys::Thing;
use super::record::{Left, Record};
use crate::wire::lease;

/// Groups that are kept for a ledger that is behind, and for readers of what is new.
const GROUPS: usize = 256;
/// Events that they have at most; one group is kept however many it has.
const EVENTS: usize = 16 << 10;

/// Everything but the history.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// The head of the log as it was when the mirror was last at it, and as it is stored; none: the log is new.
    pub(super) head: Option<(Head, Bytes)>,
    /// How many groups are in it.
    pub(super) position: u64,
    pub(super) revision: u64,
    pub(super) oldest_revision: u64,
    /// The id of the last group.
    pub(super) group: String,
    pub(super) origin: Option<Origin>,
    pub(super) pools: BTreeMap<Arc<str>, Arc<Pool>>,
    pub(super) reservations: BTreeMap<Arc<str>, Arc<Reservation>>,
    leases: BTreeMap<LeaseId, Box<[u8]>>,
    /// What changed since the keys of things were written, and by which group.
    pub(super) unwritten: BTreeMap<Thing, u64>,
    recent: VecDeque<Arc<Group>>,
    recent_events: usize,
}

impl Mirror {
    /// Empty, as a new log is.
    pub(super) fn new() -> Mirror {
        Mirror {
            oldest_revision: 1,
            ..Mirror::default()
        }
    }

    pub(super) fn extent(&self) -> Extent {
        Extent {
            position: Position(self.position),
            revision: self.revision,
            oldest_revision: self.oldest_revision,
        }
    }

    /// Whether a group is the next one.
    pub(super) fn is_next(&self, record: &Record) -> bool {
        record.previous == self.group && record.position == self.position + 1
    }

    /// Moves on by the next group, whose events leave what `left` has.
    pub(super) fn apply(&mut self, record: &Record, group: Arc<Group>, left: Left) {
        self.position = record.position;
        self.revision = record.revision;
        self.group = record.id.clone();
        for (event, lease) in group.events.iter().zip(left) {
            self.apply_change(event, lease);
        }
        if let Some(change) = &group.origin {
            self.origin = Some(change.after.clone());
            self.unwritten.insert(Thing::Origin, self.position);
        }
        if let Some(to) = group.forget_events_to {
            self.oldest_revision = self.oldest_revision.max(to.saturating_add(1));
        }
        self.keep(group);
    }

    fn apply_change(&mut self, event: &Event, left: Option<Box<[u8]>>) {
        let thing = match &event.change {
            Change::Lease(sides) => match sides.newest() {
                Some(lease) => {
                    match left {
                        Some(encoded) => self.leases.insert(lease.id, encoded),
                        None => self.leases.remove(&lease.id),
                    };
                    Thing::Lease(lease.id)
                }
                None => return,
            },
            Change::Pool(sides) => match sides.newest() {
                Some(pool) => {
                    put(&mut self.pools, &pool.name, sides);
                    Thing::Pool(pool.name.clone())
                }
                None => return,
            },
            Change::Reservation(sides) => match sides.newest() {
                Some(reservation) => {
                    put(&mut self.reservations, &reservation.name, sides);
                    Thing::Reservation(reservation.name.clone())
                }
                None => return,
            },
        };
        self.unwritten.insert(thing, self.position);
    }

    fn keep(&mut self, group: Arc<Group>) {
        self.recent_events += group.events.len();
        self.recent.push_back(group);
        while self.recent.len() > GROUPS || (self.recent_events > EVENTS && self.recent.len() > 1) {
            let Some(oldest) = self.recent.pop_front() else {
                return;
            };
            self.recent_events -= oldest.events.len();
        }
    }

    /// The keys of things are written up to a group.
    pub(super) fn written(&mut self, position: u64) {
        self.unwritten.retain(|_, changed| *changed > position);
    }

    /// The groups behind a position; none if they are not all kept.
    pub(super) fn groups_behind(&self, at: u64) -> Option<Vec<Group>> {
        let missed = usize::try_from(self.position.checked_sub(at)?).ok()?;
        let kept = self.recent.len().checked_sub(missed)?;
        let missed = self.recent.iter().skip(kept);
        Some(missed.map(|group| Group::clone(group)).collect())
    }

    /// Up to `limit` events behind a revision, if the kept groups have all of them.
    pub(super) fn events_behind(&self, after: u64, limit: usize) -> Option<Vec<Event>> {
        let events = || self.recent.iter().flat_map(|group| &group.events);
        let first = events()
            .next()
            .map_or(self.revision + 1, |event| event.revision);
        if after.saturating_add(1) < first {
            return None;
        }
        let events = events().filter(|event| event.revision > after);
        Some(events.take(limit).cloned().collect())
    }

    /// Puts a lease.
    pub(super) fn put_lease(&mut self, lease: &Lease) {
        let message = lease::encode(lease.clone());
        self.leases.insert(lease.id, message.encode_to_vec().into());
    }

    /// A lease as messages have it.
    ///
    /// # Errors
    /// What is wrong with its bytes.
    pub(super) fn lease(&self, id: LeaseId) -> Option<Result<ipam::Lease, String>> {
        let bytes = self.leases.get(&id)?;
        Some(ipam::Lease::decode(&bytes[..]).map_err(|error| error.to_string()))
    }

    /// Up to `limit` leases behind a number, as messages have them.
    ///
    /// # Errors
    /// As [`Mirror::lease`].
    pub(super) fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<ipam::Lease>, String> {
        let from = LeaseId(after.0.saturating_add(1));
        // There is no number behind the last one.
        let leases = self.leases.range(from..).filter(|(id, _)| **id > after);
        let encoded = leases.take(limit).map(|(_, bytes)| &bytes[..]);
        let decoded: Result<Vec<_>, _> = encoded.map(ipam::Lease::decode).collect();
        decoded.map_err(|error| error.to_string())
    }
}

/// Changes what a map holds of one thing.
fn put<T>(map: &mut BTreeMap<Arc<str>, Arc<T>>, name: &Arc<str>, sides: &Sides<T>) {
    match &sides.after {
        Some(after) => map.insert(name.clone(), after.clone()),
        None => map.remove(name),
    };
}
