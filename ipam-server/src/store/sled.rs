//! The store on one machine's disk: a journal that a group is appended to and fsynced in, and sled as the index that
//! is read.
//!
//! One tree holds everything, so that the changes of a group are atomic: `p<name>` pools, `r<name>` reservations,
//! `l<number>` leases, `e<revision>` events up to that one (see `history`), `m<key>` what the store says of itself; numbers
//! are 8 bytes, big endian. The tree follows the journal on a thread of its own (see `tree`). What is on stable storage is
//! the business of `journal`; sled's files may be lost or old at any time.

mod failure;
mod history;
mod index;
mod schema;
#[cfg(test)]
mod tests;
mod tree;
mod values;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost::Message;
use proto::ipam::v1::{Event, Lease, Pool, Reservation};

use super::folder::Folder;
use super::journal::{self, BaseWriter, Journal};
use super::{Append, Extent, Group, LeaseId, Log, Origin, Position, Store, StoreError};
pub(super) use failure::io;
pub(super) use index::{files, open_to_save};
use tree::{Changes, Follower, Tree};
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
    folder: Folder,
    path: PathBuf,
    tree: Arc<Tree>,
    /// Dropped before the lock is.
    follower: Option<Follower>,
    /// The store is being closed.
    closing: Arc<AtomicBool>,
    cache_bytes: u64,
    writer: Arc<Mutex<Writer>>,
    base: Mutex<Option<JoinHandle<()>>>,
    /// Dropped last.
    _lock: File,
}

/// What appends go through, one at a time.
struct Writer {
    journal: Journal,
    failed: Failed,
}

/// What a failed append has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// None failed.
    Nothing,
    /// Its record may be in the journal.
    Journal,
    /// The tree does not hold what the journal does.
    Tree,
    /// Its record is in the journal of a folder that was not in its place afterwards, and its caller takes it for failed.
    Split,
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
        let tree = Arc::new(Tree::new(path, db, journal.sequence));
        let follower = Some(Follower::start(tree.clone())?);
        let writer = Writer {
            journal,
            failed: Failed::Nothing,
        };
        Ok(SledStore {
            folder: Folder::of(path),
            path: path.to_owned(),
            tree,
            follower,
            closing: Arc::default(),
            cache_bytes,
            writer: Arc::new(Mutex::new(writer)),
            base: Mutex::default(),
            _lock: lock,
        })
    }

    /// The folder that it was opened in.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the database, once it holds all that was appended before.
    fn with<T>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.tree.with_all(work)
    }

    fn some<M: Message + Default>(
        &self,
        entries: impl Fn(&sled::Db) -> Box<dyn Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>>,
        limit: usize,
    ) -> Result<Vec<M>, StoreError> {
        let path = &self.path;
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

    fn write(&self, writer: &mut Writer, group: &Group) -> Result<(), StoreError> {
        let path = &self.path;
        let before = writer.journal.status;
        let changes = values::entries(group, before.oldest);
        let made = values::made(group);
        let commit = writer.journal.sequence + 1;
        // sled keeps an error of its own, and fails from then on.
        writer.failed = Failed::Tree;
        // What is only added needs nothing of what was there: sled may be a group behind.
        let adds_only =
            group.forget_events_to.is_none() && values::are_new(&changes, &made, before);
        let prepare = |db: &sled::Db| values::prepare(path, db, commit, &changes, &made, before);
        let (writes, mut status) = match adds_only {
            true => self.tree.with(prepare)?,
            false => self.tree.with_all(prepare)?,
        };
        if let (0, Some(first)) = (before.events, group.events.first()) {
            status.oldest = first.revision;
        }
        if let Some(to) = group.forget_events_to {
            status.oldest = status.oldest.max(to + 1);
        }
        status.head = group
            .events
            .last()
            .map_or(status.head, |event| event.revision);
        writer.failed = Failed::Journal;
        let count = changes.len();
        writer
            .journal
            .append(changes, status)
            .map_err(|error| failure::io(path, error))?;
        if let Err(error) = self.folder.check() {
            writer.failed = Failed::Split;
            return Err(error);
        }
        writer.failed = Failed::Nothing;
        if let Some(follower) = &self.follower {
            follower.hand_over(Changes {
                number: commit,
                writes,
                count,
            });
        }
        Ok(())
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
                // The next append tries it again.
                tracing::warn!(%error, "a new segment of the journal cannot be made");
                return;
            }
        };
        let (tree, writer) = (self.tree.clone(), self.writer.clone());
        let (path, closing) = (self.path.clone(), self.closing.clone());
        let spawned =
            std::thread::Builder::new()
                .name("base".into())
                .spawn(move || match write_base(&path, &tree, due, &closing) {
                    Ok(bytes) => {
                        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                        writer.journal.has_base(due.0, bytes);
                    }
                    Err(error) => {
                        // On a full disk what is written of it is in the way of everything else.
                        journal::remove_unfinished(&path);
                        if !closing.load(Ordering::SeqCst) {
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
        self.closing.store(true, Ordering::SeqCst);
        drop(self.follower.take());
        let thread = self
            .base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("the thread that writes a base panicked");
        }
        // What sled does not write now is put in from the journal when the store is opened again.
        let flushed = self
            .tree
            .with(|db| db.flush().map_err(|error| failure::of(&self.path, error)));
        if let Err(error) = flushed {
            tracing::debug!(%error, "sled could not be flushed");
        }
        self.tree.close();
    }
}

/// Writes all values beside the appends, as base `due.0` for what is behind group `due.1`; returns its length in bytes.
fn write_base(
    path: &Path,
    tree: &Tree,
    due: (u64, u64),
    closing: &AtomicBool,
) -> Result<u64, StoreError> {
    let io = |error| failure::io(path, error);
    // A base holds everything up to the group behind which it begins.
    tree.catch_up()?;
    let mut base = BaseWriter::create(path, due.0, due.1).map_err(io)?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        if closing.load(Ordering::SeqCst) {
            return Err(failure::closed(path));
        }
        let mut page = Vec::new();
        tree.with(|db| {
            let entries = match &after {
                None => db.iter(),
                Some(after) => {
                    let behind = std::ops::Bound::Excluded(after.as_slice());
                    db.range::<&[u8], _>((behind, std::ops::Bound::Unbounded))
                }
            };
            for entry in entries.take(PAGE) {
                let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
                // A value whose pieces are gone was changed a moment ago: the journal has it.
                let value = match is_content(&key) {
                    true => values::whole(path, db, &key, stored)?,
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
            for (key, value) in history::contents(path, &key, &value)? {
                base.add(key, value).map_err(io)?;
            }
        }
    }
    base.finish(path, tree.newest()?).map_err(io)
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
                    store: super::named(path),
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
            position: Position(self.tree.newest()?),
            revision,
            oldest_revision: oldest.unwrap_or(revision + 1),
        })
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        let path = &self.path;
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
        let (path, key) = (&self.path, Kind::Lease.number(id.0));
        let value = self.with(|db| values::get(path, db, &key))?;
        value.map(|value| decode(path, &key, &value)).transpose()
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let from = Kind::Lease.number(after.0.saturating_add(1));
        let to = Kind::Lease.number(u64::MAX);
        self.some(|db| Box::new(db.range(from..=to)), limit)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let path = &self.path;
        self.with(|db| history::after(path, db, after, limit))
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let path = &self.path;
        self.with(|db| history::before(path, db, before, limit))
    }
}

impl Log for SledStore {
    fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError> {
        let mut writer = self.writer();
        let path = &self.path;
        if writer.failed == Failed::Nothing
            && let Err(error) = self.tree.newest()
        {
            writer.failed = Failed::Tree;
            return Err(error);
        }
        // There is no other writer.
        if group.is_empty() {
            return Ok(Append::Appended(at));
        }
        if writer.failed != Failed::Nothing {
            return Err(failure::closed(path));
        }
        if at != Position(writer.journal.sequence) {
            let what = format!(
                "an append behind group {} of {}",
                at.0, writer.journal.sequence
            );
            return Err(failure::corrupt(path, what));
        }
        self.folder.check()?;
        if let Err(error) = writer.journal.void() {
            writer.failed = Failed::Journal;
            return Err(failure::io(path, error));
        }
        self.write(&mut writer, group)?;
        let end = Position(writer.journal.sequence);
        if writer.failed == Failed::Nothing {
            self.write_base_if_due(&mut writer);
        }
        Ok(Append::Appended(end))
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let path = &self.path;
        self.folder.check()?;
        match writer.failed {
            Failed::Nothing => return Ok(()),
            Failed::Journal => {
                let void = writer.journal.void();
                void.map_err(|error| failure::io(path, error))?;
            }
            Failed::Tree => {
                // The index may be the only copy of what the journal has lost.
                let found = journal::read(path).map_err(|hole| schema::corrupt(path, &hole))?;
                if (found.sequence, found.status)
                    != (writer.journal.sequence, writer.journal.status)
                {
                    let what = format!(
                        "its journal ends with commit {}, and {} were answered",
                        found.sequence, writer.journal.sequence
                    );
                    return Err(failure::corrupt(path, what));
                }
                self.tree.close();
                index::remove(path)?;
                let db = index::settle(path, self.cache_bytes, &found)?;
                self.tree.replace(db, writer.journal.sequence);
            }
            Failed::Split => {
                let text = "the store's folder was away while a change was written; start ipam-server again, which reads \
                            whether it has the change";
                return Err(failure::io(path, std::io::Error::other(text)));
            }
        }
        writer.failed = Failed::Nothing;
        Ok(())
    }
}
