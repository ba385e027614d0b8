//! The log seam: where decisions become durable, and what is read of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::event::Event;
use crate::lease::{Lease, LeaseId};
use crate::pool::Pool;
use crate::reservation::Reservation;

/// Changes that become durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Changes of pools, reservations and leases, in order of revision, following on the head without a gap. The last event
    /// about each of them states what the store holds of it afterwards.
    pub events: Vec<Event>,
    /// Events up to this revision are no longer kept.
    pub forget_events_to: Option<u64>,
    /// Which store it is, if that changes.
    pub origin: Option<OriginChange>,
}

impl Group {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.origin.is_none()
    }
}

/// Which store it is, and whose reports it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Names the store: random, made with it, and made anew when it is restored.
    pub id: String,
    /// Nodes whose reports are waited for before a new lease is made; empty: nothing is waited for.
    pub awaited: BTreeSet<String>,
    /// Nodes that have reported since it was restored, as long as others are awaited.
    pub heard: BTreeSet<String>,
    /// How long is waited, in milliseconds since 1970.
    pub until: i64,
    /// A new lease's number is the revision that makes it and this: above those that imports brought.
    pub lease_offset: u64,
    /// The key of the proofs of [`StoreMark`], hexadecimal; empty: older servers had none.
    pub secret: String,
}

/// A store as somebody saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreMark {
    /// [`Origin::id`].
    pub id: String,
    /// The store's revision then.
    pub revision: u64,
    /// Shows that the store said so, hexadecimal.
    pub proof: String,
}

/// A change of [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginChange {
    /// As it was; none: the store had none.
    pub before: Option<Origin>,
    /// As it becomes.
    pub after: Origin,
}

/// A place in a log: how many groups lie before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// What became of an append.
#[derive(Clone, Debug, PartialEq)]
pub enum Append {
    /// The group is durable: it survives kill -9 and a power cut. The log ends at this position.
    Appended(Position),
    /// Nothing was appended: other writers have appended these groups behind the position of the caller. The log ended at
    /// this position when they were read.
    Behind(Vec<Group>, Position),
    /// The same, and those groups are not kept any more: what is remembered is to be loaded anew.
    Compacted,
}

/// How far a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where the log ends.
    pub position: Position,
    /// Of the last event that was ever committed; 0: none.
    pub revision: u64,
    /// Of the oldest event that is kept; `revision + 1` if none is.
    pub oldest_revision: u64,
}

/// Where decisions become durable, one group after the other. The methods block; they are called off the async threads.
pub trait Log: Send + Sync + 'static {
    /// Appends a group if the log ends at `at`. An empty group is not appended: the answer says whether the log ends there.
    ///
    /// # Errors
    /// Any error leaves it open whether the group will be found after the store is opened anew; the caller stops
    /// acknowledging and calls [`Log::recover`].
    fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError>;

    /// Lets other writers be first, some milliseconds, if this one was first last time and others append, too. Returns what the writer at
    /// `at` has missed, as far as this log has noticed; [`Append::Appended`]: nothing. A log with one writer does not wait.
    fn await_turn(&self, at: Position) -> Append {
        Append::Appended(at)
    }

    /// Tries whether writing works again after an append failed, and settles what became of that one: nothing of it is or becomes
    /// visible, or, in a log with several writers, it is one of the groups that the next append returns as missed. Success: `append`
    /// may be called again.
    ///
    /// # Errors
    /// Why it does not.
    fn recover(&self) -> Result<(), StoreError>;

    /// Has `wake` called soon after another writer has appended. A log with one writer never calls it.
    fn on_append_of_others(&self, _wake: Box<dyn Fn() + Send + Sync>) {}
}

/// Keeps everything. The methods block. Reading goes on beside an append; what is read is durable, and a reader that begins
/// after an append has returned finds its group.
pub trait Store: Log {
    /// What it is, for logs and `GetServer`: `sled`, `memory`, `etcd`.
    fn name(&self) -> &'static str;

    /// Whether other processes append to it. What is read is then as new as the last call of [`Log::append`] found the log.
    fn is_shared(&self) -> bool {
        false
    }

    /// How far it is.
    ///
    /// # Errors
    /// As every read: the store cannot be read, or is damaged.
    fn extent(&self) -> Result<Extent, StoreError>;

    /// Which store it is; none before the first one was committed.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn origin(&self) -> Result<Option<Origin>, StoreError>;

    /// All pools, in order of name.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn pools(&self) -> Result<Vec<Pool>, StoreError>;

    /// All reservations, in order of name.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn reservations(&self) -> Result<Vec<Reservation>, StoreError>;

    /// One lease.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError>;

    /// Up to `limit` leases with a number above `after`, in order.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError>;

    /// Up to `limit` events with a revision above `after`, in order.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Up to `limit` events with a revision below `before`, newest first.
    ///
    /// # Errors
    /// As [`Store::extent`].
    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError>;
}

/// A store that does not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{store} is in use by another process; stop that one first (`fuser` names it)")]
    Locked {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
    },
    /// There is no room.
    #[error("there is no room for {store}; free some, the server goes on by itself")]
    Full {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
    },
    /// It may not be written.
    #[error("{store} cannot be written: the file system is read-only or the rights are missing")]
    ReadOnly {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
    },
    /// Its content is not what was written.
    #[error("{store} is damaged ({what}); `ipamctl export --offline` saves what can be read")]
    Corrupt {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
        /// What was found where.
        what: String,
    },
    /// Somebody has begun to copy another store into it.
    #[error("{store} is a copy that is not finished; run `ipamctl store copy` again, or delete it")]
    Unfinished {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
    },
    /// It was written by a newer version.
    #[error(
        "{store} has schema {found}, this version reads up to {known}; use a newer ipam-server"
    )]
    NewerSchema {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
        /// The schema there.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The servers that keep it do not answer, or fail.
    #[error("{store} does not answer ({problem}); check its members and the way to them")]
    Unreachable {
        /// Where the store is: its address.
        store: Arc<str>,
        /// What was seen.
        problem: String,
    },
    /// A file that it takes to ask those servers cannot be used.
    #[error("{store} cannot be asked: {problem}; correct the file, it is read again by itself")]
    Credentials {
        /// Where the store is: its address.
        store: Arc<str>,
        /// Which file, and what is wrong with it.
        problem: String,
    },
    /// The servers that keep it do not let this server do what it needs.
    #[error(
        "{store} refuses this server ({problem}); check --etcd-user, the password and the user's rights below the prefix"
    )]
    Denied {
        /// Where the store is: its address.
        store: Arc<str>,
        /// What they say.
        problem: String,
    },
    /// The servers that keep it take nothing more before somebody has made room.
    #[error("{store} is full (NOSPACE); compact, defragment and disarm the alarm with etcdctl")]
    Quota {
        /// Where the store is: its address.
        store: Arc<str>,
    },
    /// Other servers appended first, each time.
    #[error("{store}: other servers appended first {times} times in a row; try again")]
    Contended {
        /// Where the store is: its folder, its address.
        store: Arc<str>,
        /// How often the group was decided.
        times: u32,
    },
    /// Anything else that reading or writing a file gives.
    #[error("reading or writing {store}")]
    Io {
        /// The file, folder or address.
        store: Arc<str>,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
}
