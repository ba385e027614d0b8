//! A group of decisions that is not durable yet: what to write, and how to undo what it changed in memory.

mod attempt;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::state::{PoolId, PoolUse, State, Undo};
use crate::error::Error;
use crate::event::{Change, Event, EventType};
use crate::family::Family;
use crate::lease::{Lease, LeaseId};
use crate::log::{Group, Origin, OriginChange, Position, Store};
use crate::pool::Pool;
use crate::reservation::Reservation;

/// Who is behind the changes that nobody asked for.
pub const SERVER: &str = "ipam-server";

/// Decisions on their way to the store.
pub struct Draft<'a> {
    pub(super) state: &'a mut State,
    pub(super) store: &'a dyn Store,
    group: Group,
    pub(super) now: Timestamp,
    actor: Arc<str>,
    /// The node whose leases the caller reaches; none: all.
    pub(super) node: Option<Arc<str>>,
    /// Which of the group's events is the last one about a lease, and which one was the last before each.
    last: HashMap<LeaseId, usize>,
    earlier: Vec<(LeaseId, Option<usize>)>,
    undo: Vec<Undo>,
    start: u64,
}

impl<'a> Draft<'a> {
    /// An empty group at a time. Time never goes back: if the clock did, it stands still here.
    pub fn new(state: &'a mut State, store: &'a dyn Store, clock: Timestamp) -> Draft<'a> {
        let latest = Timestamp::from_millisecond(state.latest).unwrap_or(Timestamp::UNIX_EPOCH);
        let now = clock.max(latest);
        state.latest = now.as_millisecond();
        Draft {
            start: state.revision,
            state,
            store,
            group: Group::default(),
            now,
            actor: SERVER.into(),
            node: None,
            last: HashMap::new(),
            earlier: Vec::new(),
            undo: Vec::new(),
        }
    }

    /// Whose decision the next one is; with a node, it reaches leases of that node only.
    pub fn set_caller(&mut self, actor: &Arc<str>, node: Option<Arc<str>>) {
        self.actor = actor.clone();
        self.node = node;
    }

    /// The next decisions are the server's own.
    pub(super) fn set_server(&mut self) {
        self.actor = SERVER.into();
        self.node = None;
    }

    /// Whether the caller reaches a lease.
    pub(super) fn reaches(&self, lease: &Lease) -> bool {
        lease.is_of_node(self.node.as_deref())
    }

    /// Whether the caller reaches a lease that it names by its attachment: also one without a node, from before nodes were
    /// proved or of an import. Only the node of a sandbox knows the sandbox's id.
    pub(super) fn reaches_attachment(&self, lease: &Lease) -> bool {
        let has_no_node = lease
            .owner
            .as_ref()
            .is_some_and(|owner| owner.node.is_empty());
        self.reaches(lease) || has_no_node
    }

    /// A lease as it is with this group's changes.
    pub(super) fn lease(&self, id: LeaseId) -> Result<Option<Arc<Lease>>, Error> {
        if !self.state.leases.contains_key(&id) {
            return Ok(None);
        }
        let changed = self.last.get(&id).and_then(|&at| self.group.events.get(at));
        match changed {
            Some(event) => Ok(event.lease().and_then(|sides| sides.after.clone())),
            None => Ok(self.store.lease(id)?.map(Arc::new)),
        }
    }

    /// A lease by the number that a caller names.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`].
    pub(super) fn existing_lease(&self, id: LeaseId) -> Result<Arc<Lease>, Error> {
        self.lease(id)?.ok_or_else(|| not_found(id))
    }

    /// A pool by number.
    pub(super) fn pool(&self, id: PoolId) -> Result<&PoolUse, Error> {
        self.state.pools.get(&id).ok_or_else(|| Error::Broken {
            what: format!("there is no pool with number {}", id.0),
        })
    }

    /// A pool by name.
    pub(super) fn pool_named(&self, name: &str) -> Result<(PoolId, &PoolUse), Error> {
        self.state.pool(name).ok_or_else(|| Error::PoolNotFound {
            pool: name.to_owned(),
        })
    }

    /// The number of the next change.
    pub(super) fn next_revision(&self) -> u64 {
        self.state.revision + 1
    }

    /// The number of a lease that the next change makes.
    pub(super) fn next_lease(&self) -> LeaseId {
        let offset = self.state.origin.lease_offset;
        LeaseId(self.next_revision().saturating_add(offset))
    }

    /// Makes a change: adds it to the history, and to what is remembered.
    fn change(&mut self, kind: EventType, change: Change) -> Result<(), Error> {
        let event = Event {
            revision: self.next_revision(),
            time: self.now,
            kind,
            actor: self.actor.clone(),
            change,
        };
        self.state.apply_event(&event, &mut self.undo)?;
        self.group.events.push(event);
        Ok(())
    }

    /// Changes a lease: makes it, alters it, or removes it.
    pub(super) fn put_lease(
        &mut self,
        kind: EventType,
        id: LeaseId,
        before: Option<Arc<Lease>>,
        after: Option<Arc<Lease>>,
    ) -> Result<(), Error> {
        let place = self.group.events.len();
        self.change(kind, Change::lease(before, after))?;
        let earlier = self.last.insert(id, place);
        self.earlier.push((id, earlier));
        Ok(())
    }

    /// Changes a pool: makes it, alters it, or removes it.
    pub(super) fn put_pool(
        &mut self,
        kind: EventType,
        before: Option<Arc<Pool>>,
        after: Option<Arc<Pool>>,
    ) -> Result<(), Error> {
        self.change(kind, Change::pool(before, after))
    }

    /// Changes a reservation: makes it, or removes it.
    pub(super) fn put_reservation(
        &mut self,
        kind: EventType,
        before: Option<Arc<Reservation>>,
        after: Option<Arc<Reservation>>,
    ) -> Result<(), Error> {
        self.change(kind, Change::reservation(before, after))
    }

    /// Changes which store it is, or whose reports it waits for.
    pub(super) fn set_origin(&mut self, after: Origin) {
        let before = std::mem::replace(&mut self.state.origin, after.clone());
        let first = match self.group.origin.take() {
            Some(earlier) => earlier.before,
            None => Some(before.clone()),
        };
        self.group.origin = Some(OriginChange {
            before: first,
            after,
        });
        self.undo.push(Undo::Origin(before));
    }

    pub(super) fn set_cursor(&mut self, pool: PoolId, family: Family, cursor: u128) {
        let undo = self.state.set_cursor(pool, family, cursor);
        self.undo.extend(undo);
    }

    /// Where the group is appended.
    pub fn position(&self) -> Position {
        self.state.position
    }

    /// What is to be appended.
    pub fn group(&mut self, history_events: u64) -> &Group {
        if self.group.is_empty() {
            return &self.group;
        }
        // In steps, since each one is work for the store.
        const STEP: u64 = 1024;
        let kept_from = (self.state.revision + 1).saturating_sub(history_events.max(1));
        if kept_from > self.state.oldest_revision + STEP {
            self.group.forget_events_to = Some(kept_from - 1);
        }
        &self.group
    }

    /// Takes the group for appended, up to `position`; returns the types of its changes.
    pub fn done(self, position: Position) -> Vec<EventType> {
        self.state.position = position;
        if let Some(to) = self.group.forget_events_to {
            self.state.oldest_revision = to + 1;
        }
        self.group.events.iter().map(|event| event.kind).collect()
    }
}

/// The error for a lease that does not exist.
pub(super) fn not_found(id: LeaseId) -> Error {
    Error::LeaseNotFound { id: id.to_string() }
}
