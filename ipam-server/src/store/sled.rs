//! The store on one machine's disk: a journal that a group is appended to and fsynced in, and sled as the index that
//! is read.
//!
//! One tree holds everything: `p<name>` pools, `r<name>` reservations, `L<number>` and `E<number>` neighbouring leases and events (see
//! `block`), `m<key>` what the store says of itself; numbers are 8 bytes, big endian. The tree follows the journal on a thread of its
//! own (see `tree`), and a change that is put in once more changes nothing. What is on stable storage is
//! the business of `journal`; sled's files may be lost or old at any time.

mod append;
mod base;
mod batch;
mod block;
mod export;
mod failure;
mod history;
mod index;
mod older;

mod read;
mod schema;
mod survey;
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

use super::folder::Folder;
use super::journal::{self, Journal};
use super::{StoreError, origin};
pub(super) use failure::io;
pub(super) use index::{files, open_to_save};
use tree::{Follower, Tree};
pub(super) use values::{is_content, key_of, shown, value_of};

/// How long the lock of a process that ends is waited for.
const UNLOCKED: Duration = Duration::from_millis(500);
/// How often it is tried.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Locked by the process that has the store open.
pub(super) const LOCK: &str = "ipam-server.lock";

/// The mark of a copy that is not finished.
pub(super) const COPY: &str = "ipam-server.copy";

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
        match path.join(COPY).exists() {
            true => Err(StoreError::Unfinished {
                store: super::named(path),
            }),
            false => SledStore::open_unfinished(path, cache_bytes),
        }
    }

    /// The same for who copies.
    pub(super) fn open_unfinished(path: &Path, cache_bytes: u64) -> Result<SledStore, StoreError> {
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
    schema::finished(path)?;
    let journal = Journal::go_on(&found).map_err(|error| failure::io(path, error))?;
    Ok((db, journal))
}
