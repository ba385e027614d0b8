//! The store on one machine's disk: a journal that a commit is appended to and fsynced in, and sled as the index that
//! is read.
//!
//! One tree holds everything, so that a batch is atomic: `p<name>` pools, `r<name>` reservations, `l<number>`
//! leases, `e<revision>` events, `m<key>` what the store says of itself; numbers are 8 bytes, big endian. What is on
//! stable storage is the business of [`journal`]; sled's files may be lost or old at any time.

mod failure;
mod history;
mod index;
mod schema;
#[cfg(test)]
mod tests;
mod values;

use std::fs::{self, File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost::Message;
use proto::ipam::v1::{Event, Lease, Pool, Reservation};

use super::journal::{self, BaseWriter, Journal};
use super::{Batch, Extent, LeaseId, Origin, Store, StoreError};
pub(super) use failure::io;
pub(super) use index::{files, open_to_save};
use values::Kind;
use values::ORIGIN;
pub(super) use values::{is_content, key_of, shown, value_of};

/// How long the lock of a process that ends is waited for.
const UNLOCKED: Duration = Duration::from_millis(500);
/// How often it is tried.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Locked by the process that has the store open.
pub(super) const LOCK: &str = "ipam-server.lock";
/// Values of a base that are read at once.
const PAGE: usize = 500;

/// Keeps everything in a folder.
pub struct SledStore {
    tree: Arc<Tree>,
    cache_bytes: u64,
    writer: Arc<Mutex<Writer>>,
    base: Mutex<Option<JoinHandle<()>>>,
    /// Dropped last.
    _lock: File,
}

/// What is read.
struct Tree {
    path: PathBuf,
    open: RwLock<Option<sled::Db>>,
    /// The last commit of which the tree may hold something.
    applied: AtomicU64,
    /// The store is being closed.
    closing: AtomicBool,
}

/// What commits go through, one at a time.
struct Writer {
    journal: Journal,
    failed: Failed,
    /// How often the store was put right after a failed commit.
    recoveries: u64,
}

/// What a failed commit has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// None failed.
    Nothing,
    /// Its record may be in the journal.
    Journal,
    /// The tree may hold some of it, too.
    Tree,
}

impl SledStore {
    /// Opens a store, and makes it if there is none. `cache_bytes` is what sled may keep in memory.
    ///
    /// Everything is read and compared with the journal. If the index is not right, it is made anew; if something of the
    /// journal is missing, nothing is changed.
    ///
    /// # Errors
    /// Every variant of [`StoreError`].
    pub fn open(path: &Path, cache_bytes: u64) -> Result<SledStore, StoreError> {
        let io = |error| failure::io(path, error);
        fs::create_dir_all(path).map_err(io)?;
        let lock = lock(path)?;
        super::salvage::remove_copies(path).map_err(io)?;
        let (db, journal) = if journal::exists(path).map_err(io)? {
            reopen(path, cache_bytes)?
        } else {
            schema::begin(path, cache_bytes)?
        };
        let tree = Tree {
            path: path.to_owned(),
            open: RwLock::new(Some(db)),
            applied: AtomicU64::new(journal.sequence),
            closing: AtomicBool::new(false),
        };
        let writer = Writer {
            journal,
            failed: Failed::Nothing,
            recoveries: 0,
        };
        Ok(SledStore {
            tree: Arc::new(tree),
            cache_bytes,
            writer: Arc::new(Mutex::new(writer)),
            base: Mutex::default(),
            _lock: lock,
        })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the database; a panic of sled is a failure like any other.
    fn with<T>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.tree.with(work)
    }

    fn some<M: Message + Default>(
        &self,
        entries: impl Fn(&sled::Db) -> Box<dyn Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>>,
        limit: usize,
    ) -> Result<Vec<M>, StoreError> {
        let path = &self.tree.path;
        self.with(|db| {
            let mut values = Vec::new();
            for entry in entries(db) {
                // A page that is short is the last one: a value that is gone meanwhile does not count.
                if values.len() == limit {
                    break;
                }
                let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
                let whole = match values::whole(path, db, &key, stored)? {
                    Some(value) => Some(value),
                    // It was changed a moment ago.
                    None => values::get(path, db, &key)?,
                };
                if let Some(value) = whole {
                    values.push(decode(path, &key, &value)?);
                }
            }
            Ok(values)
        })
    }

    fn all<M: Message + Default>(&self, kind: Kind) -> Result<Vec<M>, StoreError> {
        self.some(|db| Box::new(db.scan_prefix([kind.prefix()])), usize::MAX)
    }

    fn append(&self, writer: &mut Writer, batch: &Batch) -> Result<(), StoreError> {
        let path = &self.tree.path;
        let before = writer.journal.status;
        let changes = values::entries(batch, before.oldest);
        let commit = writer.journal.sequence + 1;
        // sled keeps an error of its own, and fails from then on.
        writer.failed = Failed::Tree;
        let made = values::made(batch);
        let (writes, mut status) =
            self.with(|db| values::prepare(path, db, commit, &changes, &made, before))?;
        if let (0, Some(first)) = (before.events, batch.events.first()) {
            status.oldest = first.revision;
        }
        if let Some(to) = batch.forget_events_to {
            status.oldest = status.oldest.max(to + 1);
        }
        status.head = batch
            .events
            .last()
            .map_or(status.head, |event| event.revision);
        writer.failed = Failed::Journal;
        writer
            .journal
            .append(changes, status)
            .map_err(|error| failure::io(path, error))?;
        writer.failed = Failed::Tree;
        self.tree.applied.store(commit, Ordering::SeqCst);
        let applied = self.with(|db| {
            let applied = db.apply_batch(writes);
            applied.map_err(|error| failure::of(path, error))
        });
        match applied {
            Ok(()) => writer.failed = Failed::Nothing,
            Err(_) => writer.journal.take_back(before),
        }
        applied
    }

    /// Begins to write a base if one is due.
    fn write_base_if_due(&self, writer: &mut Writer) {
        let mut thread = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let due = match writer.journal.base_due() {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                writer.failed = Failed::Journal;
                tracing::warn!(%error, "a new segment of the journal cannot be made");
                return;
            }
        };
        let recoveries = writer.recoveries;
        let (tree, writer) = (self.tree.clone(), self.writer.clone());
        let newest = {
            let (tree, writer) = (tree.clone(), writer.clone());
            move || tree.newest_since(&writer, recoveries)
        };
        let spawned = std::thread::Builder::new()
            .name("base".into())
            .spawn(move || match tree.write_base(due.0, due.1, newest) {
                Ok(bytes) => {
                    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    writer.journal.has_base(due.0, bytes);
                }
                Err(error) => {
                    // On a full disk what is written of it is in the way of everything else.
                    journal::remove_unfinished(&tree.path);
                    if !tree.closing.load(Ordering::SeqCst) {
                        tracing::warn!(%error, "a base of the journal was not written");
                    }
                }
            });
        match spawned {
            Ok(spawned) => *thread = Some(spawned),
            Err(error) => tracing::warn!(%error, "a base of the journal was not written"),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.tree.closing.store(true, Ordering::SeqCst);
        let thread = self
            .base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("the thread that writes a base panicked");
        }
        // What sled does not write now is put in from the journal when the store is opened again.
        if let Err(error) = self.with(|db| {
            db.flush()
                .map_err(|error| failure::of(&self.tree.path, error))
        }) {
            tracing::debug!(%error, "sled could not be flushed");
        }
        self.tree.close();
    }
}

impl Tree {
    fn with<T>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = open.as_ref() else {
            return Err(failure::closed(&self.path));
        };
        catch_unwind(AssertUnwindSafe(|| work(db)))
            .unwrap_or_else(|_| Err(failure::panicked(&self.path)))
    }

    fn close(&self) {
        let mut place = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = place.take() {
            // sled writes what it still can when it is dropped, and may panic on that.
            let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
        }
    }

    /// The last commit of which a reader may have seen something; an error if one of those was not acknowledged.
    fn newest_since(&self, writer: &Mutex<Writer>, recoveries: u64) -> Result<u64, StoreError> {
        // A commit holds the lock from its first change of the tree until it is acknowledged or has failed.
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.failed != Failed::Nothing || writer.recoveries != recoveries {
            let failed = std::io::Error::other("a commit failed meanwhile");
            return Err(failure::io(&self.path, failed));
        }
        Ok(self.applied.load(Ordering::SeqCst))
    }

    /// Writes all values beside the commits; `newest` is asked once they are read.
    fn write_base(
        &self,
        number: u64,
        sequence: u64,
        newest: impl FnOnce() -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let io = |error| failure::io(&self.path, error);
        let mut base = BaseWriter::create(&self.path, number, sequence).map_err(io)?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            if self.closing.load(Ordering::SeqCst) {
                return Err(failure::closed(&self.path));
            }
            let mut page = Vec::new();
            self.with(|db| {
                let entries = match &after {
                    None => db.iter(),
                    Some(after) => {
                        let behind = std::ops::Bound::Excluded(after.as_slice());
                        db.range::<&[u8], _>((behind, std::ops::Bound::Unbounded))
                    }
                };
                for entry in entries.take(PAGE) {
                    let (key, stored) = entry.map_err(|error| failure::of(&self.path, error))?;
                    // A value whose pieces are gone was changed a moment ago: the journal has it.
                    let value = match is_content(&key) {
                        true => values::whole(&self.path, db, &key, stored)?,
                        false => None,
                    };
                    page.push((key, value));
                }
                Ok(())
            })?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after = Some(last.to_vec());
            for (key, value) in page {
                let Some(value) = value else {
                    continue;
                };
                for (key, value) in history::contents(&self.path, &key, &value)? {
                    base.add(key, value).map_err(io)?;
                }
            }
        }
        base.finish(&self.path, newest()?).map_err(io)
    }
}

/// Locks a folder until the file is closed.
fn lock(path: &Path) -> Result<File, StoreError> {
    let io = |error| failure::io(path, error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK))
        .map_err(io)?;
    let patience = Instant::now() + UNLOCKED;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                std::thread::sleep(POLL_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    path: path.to_owned(),
                });
            }
        }
    }
}

/// Opens a store that has a journal.
fn reopen(path: &Path, cache_bytes: u64) -> Result<(sled::Db, Journal), StoreError> {
    let found = journal::read(path).map_err(|hole| schema::corrupt(path, &hole))?;
    if found.torn {
        tracing::info!("the journal ends in a commit that nobody was answered for; it is left out");
    }
    let db = index::settle(path, cache_bytes, &found)?;
    schema::check(path, &db)?;
    schema::finished(path)?;
    let journal = Journal::go_on(&found).map_err(|error| failure::io(path, error))?;
    Ok((db, journal))
}

/// Frees what sled put aside while it wrote `writes` values. Each one leaves some old nodes behind, which sled's
/// collector frees a few bags at a time, once in 128 calls of its own: a batch is one call, so that hundreds of
/// leases at once would pile up gigabytes.
fn collect(writes: usize) {
    // One round frees up to 8 bags of 64 things (crossbeam-epoch, internal.rs); a value leaves about two, and
    // rounds before which another thread holds an epoch free nothing.
    const WRITES_A_ROUND: usize = 128;
    for _ in 0..=writes / WRITES_A_ROUND {
        crossbeam_epoch::pin().flush();
    }
}

fn decode<M: Message + Default>(path: &Path, key: &[u8], value: &[u8]) -> Result<M, StoreError> {
    M::decode(value).map_err(|error| {
        failure::corrupt(path, format!("the value of key {}: {error}", shown(key)))
    })
}

impl Store for SledStore {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn extent(&self) -> Result<Extent, StoreError> {
        let revision = self
            .events_back(u64::MAX, 1)?
            .first()
            .map_or(0, |event| event.revision);
        let oldest = self.events(0, 1)?.first().map(|event| event.revision);
        Ok(Extent {
            revision,
            oldest_revision: oldest.unwrap_or(revision + 1),
        })
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        let path = &self.tree.path;
        let found = self.with(|db| values::get(path, db, &Kind::Meta.key(ORIGIN)))?;
        let read = found.map(|value| serde_json::from_slice(&value));
        read.transpose()
            .map_err(|error| failure::corrupt(path, format!("which store it is: {error}")))
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        self.all(Kind::Pool)
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        self.all(Kind::Reservation)
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        let (path, key) = (&self.tree.path, Kind::Lease.number(id.0));
        let value = self.with(|db| values::get(path, db, &key))?;
        value.map(|value| decode(path, &key, &value)).transpose()
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let from = Kind::Lease.number(after.0.saturating_add(1));
        let to = Kind::Lease.number(u64::MAX);
        self.some(|db| Box::new(db.range(from..=to)), limit)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let path = &self.tree.path;
        self.with(|db| history::after(path, db, after, limit))
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let path = &self.tree.path;
        self.with(|db| history::before(path, db, before, limit))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writer = self.writer();
        if writer.failed != Failed::Nothing {
            return Err(failure::closed(&self.tree.path));
        }
        let written = self.append(&mut writer, batch);
        collect(batch.writes());
        if written.is_ok() {
            self.write_base_if_due(&mut writer);
        }
        written
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let path = &self.tree.path;
        if writer.failed == Failed::Tree {
            self.tree.close();
            // Before the record is void: an index is never ahead of its journal.
            index::remove(path)?;
        }
        if writer.failed != Failed::Nothing {
            let void = writer.journal.void();
            void.map_err(|error| failure::io(path, error))?;
        }
        if writer.failed == Failed::Tree {
            let found = journal::read(path).map_err(|hole| schema::corrupt(path, &hole))?;
            let db = index::settle(path, self.cache_bytes, &found)?;
            let mut place = self
                .tree
                .open
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            *place = Some(db);
        }
        writer.failed = Failed::Nothing;
        writer.recoveries += 1;
        Ok(())
    }
}
