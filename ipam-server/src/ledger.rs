//! The one thread that decides. It takes all that waits as a group, lets the allocator decide one after the
//! other, makes the group durable in one write, and answers then: no answer says what could be lost.
//!
//! [`Ledger`] is the handle; `commands` are what it decides; `worker` is the thread; `reads` and `history` are what goes past it
//! to the store; `check` goes through everything in small steps.

mod caller;
mod check;
mod command;
mod commands;
mod history;
mod reads;
mod report;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ipam_core::allocator::restore::{new_id, new_secret};
use ipam_core::allocator::{State, load};
use ipam_core::event::EventType;
use ipam_core::log::{Append, Group, Origin, OriginChange, Store, StoreError};
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

pub use caller::{Caller, Mode};
pub use reads::ServerStatus;

use crate::clock::Clock;
use crate::error::Error;
use worker::{Message, Worker};

/// How much a ledger takes and keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes that the history keeps at least.
    pub history_events: u64,
    /// Commands that are decided together at most.
    pub group: usize,
    /// Commands that may wait; more wait before they are queued.
    pub queue: usize,
    /// How long a restored store waits for the reports of nodes.
    pub restore_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            history_events: 200_000,
            group: 1024,
            queue: 8192,
            restore_wait: Duration::from_secs(60),
        }
    }
}

/// Sees what a ledger does, for metrics. Called on the ledger's thread: it must be quick.
pub trait Observer: Send + Sync + 'static {
    /// A group is durable: what changed, and how long the write took.
    fn committed(&self, changes: &[EventType], took: Duration);
    /// A group was decided for nothing: another server appended first.
    fn overtaken(&self) {}
    /// Whether the store can be written, when that changes.
    fn writable(&self, writable: bool);
}

/// Whether the store can be written, and why not.
pub type Health = Result<(), StoreError>;

/// A handle to the ledger. Clones are the same ledger.
#[derive(Clone)]
pub struct Ledger {
    queue: Sender<Message>,
    waiting: Arc<Semaphore>,
    store: Arc<dyn Store>,
    revision: watch::Receiver<u64>,
    oldest: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
    origin: watch::Receiver<Origin>,
    ended: Arc<Mutex<reads::Ended>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Ledger {
    /// Loads what the store holds and starts the thread.
    ///
    /// # Errors
    /// Those of the store; [`Error::System`].
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Ledger, Error> {
        let mut state = load(store.as_ref())?;
        if let Ok(latest) = Timestamp::from_millisecond(state.latest) {
            clock.has_been(latest);
        }
        state.restore_wait = i64::try_from(limits.restore_wait.as_millis()).unwrap_or(i64::MAX);
        let state = with_origin(state, store.as_ref())?;
        let (queue, jobs) = std::sync::mpsc::channel();
        let woken = queue.clone();
        store.on_append_of_others(Box::new(move || {
            // A thread that has ended takes in nothing more.
            let _ = woken.send(Message::Wake);
        }));
        let (revision_sender, revision) = watch::channel(state.revision);
        let (oldest_sender, oldest) = watch::channel(state.oldest_revision);
        let (health_sender, health) = watch::channel(Ok(()));
        let (origin_sender, origin) = watch::channel(state.origin.clone());
        let worker = Worker {
            state,
            store: store.clone(),
            clock,
            limits,
            observer,
            revision: revision_sender,
            oldest: oldest_sender,
            health: health_sender,
            origin: origin_sender,
            retry_at: None,
            is_stale: false,
        };
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || worker.run(&jobs))
            .map_err(|source| Error::System {
                what: "starting the ledger's thread",
                source: Arc::new(source),
            })?;
        Ok(Ledger {
            queue,
            waiting: Arc::new(Semaphore::new(limits.queue)),
            store,
            revision,
            oldest,
            health,
            origin,
            ended: Arc::default(),
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Takes no new commands, finishes those that wait, and ends the thread.
    pub async fn stop(&self) {
        self.waiting.close();
        // A thread that has ended already has nothing left to do.
        let _ = self.queue.send(Message::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!("the ledger's thread panicked");
        }
    }

    /// The last durable revision.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Whether the store can be written.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Which store it is, and whose reports it waits for.
    pub fn origin(&self) -> watch::Receiver<Origin> {
        self.origin.clone()
    }
}

/// Names a store that has no name yet, or no key.
fn with_origin(mut state: State, store: &dyn Store) -> Result<State, Error> {
    if !state.origin.id.is_empty() && !state.origin.secret.is_empty() {
        return Ok(state);
    }
    let before = (!state.origin.id.is_empty()).then(|| state.origin.clone());
    if before.is_none() {
        state.origin.id = new_id();
    }
    state.origin.secret = new_secret().map_err(|error| Error::System {
        what: "reading the system's random numbers",
        source: Arc::new(error),
    })?;
    let after = state.origin.clone();
    let group = Group {
        origin: Some(OriginChange { before, after }),
        ..Group::default()
    };
    match store.append(state.position, &group)? {
        Append::Appended(position) => state.position = position,
        // Another server named the store meanwhile.
        Append::Behind(groups, position) => state.apply_groups(&groups, position)?,
        Append::Compacted => state = load(store)?,
    }
    Ok(state)
}
