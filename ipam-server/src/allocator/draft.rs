//! A group of decisions that is not durable yet: what to write, and how to undo what it changed in memory.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use proto::ipam::v1::{self as ipam, EventType, subject};

use super::gone::GONE;
use super::state::{Held, PoolId, PoolState, State, Undo};
use crate::error::{Error, Family};
use crate::lease::{Keys, is_of_node, millis, timestamp};
use crate::store::{Group, LeaseId, Origin, OriginChange, Position, Store};

/// Who is behind the changes that nobody asked for.
pub const SERVER: &str = "ipam-server";

/// Decisions on their way to the store.
pub struct Draft<'a> {
    pub(super) state: &'a mut State,
    pub(super) store: &'a dyn Store,
    pub(super) group: Group,
    pub(super) now: Timestamp,
    pub(super) actor: String,
    /// The node whose leases the caller reaches; none: all.
    pub(super) node: Option<Arc<str>>,
    /// Which of the group's events is the last one about a lease, and which one was the last before each.
    last: HashMap<LeaseId, usize>,
    earlier: Vec<(LeaseId, Option<usize>)>,
    undo: Vec<Undo>,
    start: u64,
}

/// A place in a draft to go back to.
pub(super) struct Mark {
    undo: usize,
    leases: usize,
    events: usize,
    revision: u64,
    origin: Option<OriginChange>,
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
            actor: SERVER.to_owned(),
            node: None,
            last: HashMap::new(),
            earlier: Vec::new(),
            undo: Vec::new(),
        }
    }

    /// Whose decision the next one is; with a node, it reaches leases of that node only.
    pub fn set_caller(&mut self, actor: &str, node: Option<Arc<str>>) {
        actor.clone_into(&mut self.actor);
        self.node = node;
    }

    /// Whether the caller reaches a lease.
    pub(super) fn reaches(&self, lease: &ipam::Lease) -> bool {
        is_of_node(lease, self.node.as_deref())
    }

    /// Whether the caller reaches a lease that it names by its attachment: also one without a node, from before nodes were
    /// proved or of an import. Only the node of a sandbox knows the sandbox's id.
    pub(super) fn reaches_attachment(&self, lease: &ipam::Lease) -> bool {
        let owner = lease.owner.as_ref();
        self.reaches(lease) || owner.is_some_and(|owner| owner.node.is_empty())
    }

    /// Makes one decision; if it fails, or is only to be checked, it leaves nothing behind.
    ///
    /// # Errors
    /// Those of `decide`.
    pub fn attempt<T>(
        &mut self,
        keep: bool,
        decide: impl FnOnce(&mut Draft<'a>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mark = self.mark();
        let result = decide(self);
        if result.is_err() || !keep {
            self.go_back(&mark);
        }
        result
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
        self.group.events.iter().map(ipam::Event::r#type).collect()
    }

    /// Forgets the whole group: memory is as it was before it.
    pub fn abandon(mut self) {
        let start = self.start;
        while let Some(undo) = self.undo.pop() {
            self.state.undo(undo);
        }
        self.state.revision = start;
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            leases: self.earlier.len(),
            events: self.group.events.len(),
            revision: self.state.revision,
            origin: self.group.origin.clone(),
        }
    }

    pub(super) fn go_back(&mut self, mark: &Mark) {
        while self.undo.len() > mark.undo {
            if let Some(undo) = self.undo.pop() {
                self.state.undo(undo);
            }
        }
        while self.earlier.len() > mark.leases {
            if let Some((id, earlier)) = self.earlier.pop() {
                match earlier {
                    Some(at) => self.last.insert(id, at),
                    None => self.last.remove(&id),
                };
            }
        }
        self.group.events.truncate(mark.events);
        self.state.revision = mark.revision;
        self.group.origin.clone_from(&mark.origin);
    }

    /// A lease as it is with this group's changes.
    pub(super) fn lease(&self, id: LeaseId) -> Result<Option<ipam::Lease>, Error> {
        if !self.state.leases.contains_key(&id) {
            return Ok(None);
        }
        let changed = self.last.get(&id).and_then(|&at| self.group.events.get(at));
        match changed {
            Some(event) => Ok(lease_of(event.after.as_ref()).cloned()),
            None => Ok(self.store.lease(id)?),
        }
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

    /// The number of a lease that an import brings: its own, unless another lease has it, so that its owner's release
    /// by number hits it and no other. Later leases get higher ones.
    pub(super) fn imported_lease(&mut self, id: &str) -> LeaseId {
        // Far from what arithmetic with revisions reaches.
        const HIGHEST: u64 = 1 << 62;
        let own: Option<LeaseId> = id.parse().ok();
        let own = own.filter(|id| (1..HIGHEST).contains(&id.0));
        let Some(own) = own.filter(|id| !self.state.leases.contains_key(id)) else {
            return self.next_lease();
        };
        if own > self.next_lease() {
            let lease_offset = own.0 - self.next_revision();
            self.set_origin(Origin {
                lease_offset,
                ..self.state.origin.clone()
            });
        }
        own
    }

    /// Makes a change: adds it to the history, and to what is remembered.
    fn change(
        &mut self,
        what: EventType,
        before: Option<subject::Subject>,
        after: Option<subject::Subject>,
    ) -> Result<(), Error> {
        let wrap = |subject| ipam::Subject {
            subject: Some(subject),
        };
        let event = ipam::Event {
            revision: self.next_revision(),
            time: Some(timestamp(self.now)),
            r#type: what.into(),
            actor: self.actor.clone(),
            before: before.map(wrap),
            after: after.map(wrap),
        };
        self.state.apply_event(&event, &mut self.undo)?;
        self.group.events.push(event);
        Ok(())
    }

    /// Changes a lease: makes it, alters it, or removes it.
    pub(super) fn put_lease(
        &mut self,
        what: EventType,
        id: LeaseId,
        before: Option<ipam::Lease>,
        after: Option<ipam::Lease>,
    ) -> Result<(), Error> {
        let place = self.group.events.len();
        self.change(
            what,
            before.map(subject::Subject::Lease),
            after.map(subject::Subject::Lease),
        )?;
        let earlier = self.last.insert(id, place);
        self.earlier.push((id, earlier));
        Ok(())
    }

    pub(super) fn put_pool(
        &mut self,
        what: EventType,
        before: Option<ipam::Pool>,
        after: Option<ipam::Pool>,
    ) -> Result<(), Error> {
        let subject = |side: Option<ipam::Pool>| side.map(subject::Subject::Pool);
        self.change(what, subject(before), subject(after))
    }

    pub(super) fn put_reservation(
        &mut self,
        what: EventType,
        before: Option<ipam::Reservation>,
        after: Option<ipam::Reservation>,
    ) -> Result<(), Error> {
        let subject = |side: Option<ipam::Reservation>| side.map(subject::Subject::Reservation);
        self.change(what, subject(before), subject(after))
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
}

/// What memory keeps of a lease.
pub(super) fn held(state: &State, lease: &ipam::Lease) -> Result<Held, Error> {
    let quarantined = lease.state() == ipam::lease::State::Quarantined;
    // A pool of the same name in another VRF is another pool than the one that the lease rests for.
    let is_own = |pool: &PoolId| {
        let own = |state: &PoolState| state.pool.message.vrf == lease.vrf;
        !quarantined || state.pools.get(pool).is_some_and(own)
    };
    let named = state.pool_ids.get(lease.pool.as_str()).copied();
    let pool = match named.filter(is_own) {
        Some(pool) => pool,
        None if quarantined => GONE,
        None => {
            let pool = lease.pool.clone();
            return Err(Error::PoolNotFound { pool });
        }
    };
    let until = if quarantined {
        millis(lease.quarantine_until_time.as_ref())
    } else {
        lease
            .expire_time
            .as_ref()
            .map_or(i64::MAX, |time| millis(Some(time)))
    };
    fn address<A: FromStr>(text: &str, none: A) -> A {
        let plain = text.split_once('/').map_or(text, |(address, _)| address);
        plain.parse().unwrap_or(none)
    }
    Ok(Held {
        ipv6: address(&lease.ipv6, Ipv6Addr::UNSPECIFIED),
        keys: Keys::of(lease),
        until,
        generation: u32::try_from(lease.generation).unwrap_or(u32::MAX),
        ipv4: address(&lease.ipv4, Ipv4Addr::UNSPECIFIED),
        pool,
        quarantined,
    })
}

/// The lease that an event is about, before or after it.
pub fn lease_of(subject: Option<&ipam::Subject>) -> Option<&ipam::Lease> {
    match subject?.subject.as_ref()? {
        subject::Subject::Lease(lease) => Some(lease),
        _ => None,
    }
}
