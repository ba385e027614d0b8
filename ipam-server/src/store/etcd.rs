//! The store in etcd, for any number of servers at once and without an election: the log is a list of groups, and a group
//! is appended by one transaction on the condition that the head of the log is still where this server saw it. The keys are
//! in `keys`.
//!
//! Only the head and the groups count. The keys of leases, pools and reservations are written behind the log (`write`), so
//! that an append has few operations and few bytes, whatever limits a member has; they are for people, and for a server that
//! starts: it loads them (`load`), and then the groups behind them. A server remembers all but the history (`mirror`): reading
//! costs no call, and what it remembers is moved on only by the calls of [`Log`], which the ledger makes.

mod address;
mod append;
mod client;
mod endpoint;
mod failure;
mod follow;
mod head;
mod history;
mod keys;
mod load;
mod mirror;
mod pace;
mod record;
mod unfinished;
mod value;
mod watch;
mod write;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use dial::files::Files;
use ipam_core::event::Event;
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::{Append, Extent, Group, Log, Origin, Position, Store, StoreError};
use crate::wire::{Malformed, lease};
pub use address::{EtcdAddress, EtcdAddressError};
use client::Client;
pub use client::User;
use failure::Failure;
use keys::Keys;
use mirror::Mirror;
use pace::Pace;
pub(super) use unfinished::{Found, look};

/// Bytes of the longest value, and of the values of a transaction together: a third of what a member takes by default.
const VALUE_BYTES: usize = 512 << 10;
/// The least that is tried before a member counts as one that takes nothing.
const LEAST_VALUE_BYTES: usize = 1 << 10;
/// Operations of a transaction: a member takes 128 by default.
const OPERATIONS: usize = 120;

/// How etcd is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct EtcdSettings {
    /// Its members, and the prefix of the keys.
    pub address: EtcdAddress,
    /// The files of TLS; none: plain TCP.
    pub tls: Option<Files>,
    /// Who this server is for etcd; none: etcd has no users, or the certificate says it.
    pub user: Option<User>,
}

/// Keeps everything in etcd. It has threads of its own, which end with it.
pub struct EtcdStore {
    shared: Arc<Shared>,
    /// One thread; taken when the store is dropped.
    runtime: Option<Runtime>,
}

/// What the calls and the tasks of a store share.
#[derive(Debug)]
struct Shared {
    /// The address, for errors.
    name: Arc<str>,
    client: Client,
    keys: Keys,
    mirror: RwLock<Mirror>,
    /// Held by whoever moves the mirror.
    writer: Mutex<()>,
    /// The mirror was loaded anew, and what the ledger remembers does not go with it.
    is_reloaded: AtomicBool,
    /// The longest value that members take, as far as they have refused longer ones.
    value_bytes: AtomicUsize,
    /// The operations of a transaction, alike.
    operations: AtomicUsize,
    /// Groups whose events end before this revision are deleted.
    trimmed: AtomicU64,
    /// Whose turn it is.
    pace: Mutex<Pace>,
    /// This server has appended.
    appended: Notify,
    wake: OnceLock<Wake>,
}

/// Called when another server has appended.
struct Wake(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl EtcdStore {
    /// Loads what is below the prefix.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Denied`], [`StoreError::NewerSchema`], [`StoreError::Corrupt`];
    /// [`StoreError::Unfinished`] for a copy that was not finished.
    pub fn open(settings: &EtcdSettings) -> Result<EtcdStore, StoreError> {
        let (runtime, shared) = connect(settings)?;
        let mark = runtime.block_on(shared.copy_mark())?;
        match mark {
            Some(_) => Err(StoreError::Unfinished {
                store: shared.name.clone(),
            }),
            None => EtcdStore::start(runtime, shared),
        }
    }

    /// The same for who copies.
    ///
    /// # Errors
    /// As [`EtcdStore::open`].
    pub(super) fn open_unfinished(settings: &EtcdSettings) -> Result<EtcdStore, StoreError> {
        let (runtime, shared) = connect(settings)?;
        EtcdStore::start(runtime, shared)
    }

    fn start(runtime: Runtime, shared: Arc<Shared>) -> Result<EtcdStore, StoreError> {
        let loaded = runtime.block_on(shared.load())?;
        *shared.mirror_mut() = loaded;
        runtime.spawn(shared.clone().keep_writing());
        runtime.spawn(shared.clone().keep_watching());
        Ok(EtcdStore {
            shared,
            runtime: Some(runtime),
        })
    }

    fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => Err(self.shared.error(Failure::closed())),
        }
    }
}

/// A client of etcd with its thread. Nothing is read yet.
fn connect(settings: &EtcdSettings) -> Result<(Runtime, Arc<Shared>), StoreError> {
    let EtcdSettings { address, tls, user } = settings;
    let name: Arc<str> = address.to_string().into();
    let unreachable = |problem: String| StoreError::Unreachable {
        store: name.clone(),
        problem,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("etcd")
        .enable_all()
        .build()
        .map_err(|error| unreachable(error.to_string()))?;
    let client = {
        // The channels start tasks.
        let _entered = runtime.enter();
        Client::new(&address.members, tls.clone(), user.clone()).map_err(unreachable)?
    };
    let shared = Shared {
        client,
        keys: Keys::new(&address.prefix),
        name,
        mirror: RwLock::new(Mirror::new()),
        writer: Mutex::default(),
        is_reloaded: AtomicBool::new(false),
        value_bytes: AtomicUsize::new(VALUE_BYTES),
        operations: AtomicUsize::new(OPERATIONS),
        trimmed: AtomicU64::new(0),
        pace: Mutex::default(),
        appended: Notify::new(),
        wake: OnceLock::new(),
    };
    Ok((runtime, Arc::new(shared)))
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Whoever drops the last handle may be an async thread, which must not wait.
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn mirror(&self) -> RwLockReadGuard<'_, Mirror> {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn mirror_mut(&self) -> RwLockWriteGuard<'_, Mirror> {
        self.mirror.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, failure: Failure) -> StoreError {
        failure.into_store_error(&self.name)
    }

    fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            store: self.name.clone(),
            what: what.into(),
        }
    }

    /// Takes note that a member refuses values of this length. Whether shorter ones are worth a trial.
    fn shorten_values(&self, refused: usize) -> bool {
        let shorter = refused / 2;
        tracing::debug!(shorter, "etcd refuses a value for its length");
        self.value_bytes.fetch_min(shorter, Ordering::Relaxed);
        shorter >= LEAST_VALUE_BYTES
    }
}

impl Log for EtcdStore {
    fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError> {
        let _writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.block_on(self.shared.append(at, group))
    }

    fn await_turn(&self, at: Position) -> Append {
        let _writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.shared.await_turn(at)),
            None => Append::Appended(at),
        }
    }

    fn recover(&self) -> Result<(), StoreError> {
        let _writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.block_on(self.shared.settle())
    }

    fn on_append_of_others(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // A store has one ledger.
        let _ = self.shared.wake.set(Wake(wake));
    }
}

impl Store for EtcdStore {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn extent(&self) -> Result<Extent, StoreError> {
        Ok(self.shared.mirror().extent())
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        Ok(self.shared.mirror().origin.clone())
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        let mirror = self.shared.mirror();
        Ok(mirror
            .pools
            .values()
            .map(|pool| Pool::clone(pool))
            .collect())
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        let mirror = self.shared.mirror();
        let all = mirror.reservations.values();
        Ok(all.map(|kept| Reservation::clone(kept)).collect())
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        let found = self.shared.mirror().lease(id);
        let found = found
            .transpose()
            .map_err(|what| self.shared.corrupt(what))?;
        let lease = found.map(lease::decode).transpose();
        lease.map_err(|Malformed { what }| self.shared.corrupt(what))
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let found = self.shared.mirror().leases(after, limit);
        let found = found.map_err(|what| self.shared.corrupt(what))?;
        let mut decoder = lease::Decoder::default();
        let leases = found.into_iter().map(|lease| decoder.decode(lease));
        let leases: Result<Vec<_>, _> = leases.collect();
        leases.map_err(|Malformed { what }| self.shared.corrupt(what))
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.block_on(self.shared.events(after, limit))
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.block_on(self.shared.events_back(before, limit))
    }
}
