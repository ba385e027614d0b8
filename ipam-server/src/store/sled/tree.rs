//! sled's tree, which follows the journal: a thread puts the changes of each group in behind its append, so that nobody
//! waits for sled who only appends. Readers wait until what was appended before they came is in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use super::super::StoreError;
use super::super::journal::Entry;
use super::{batch, failure};

/// The tree, and how far it follows.
pub(super) struct Tree {
    path: PathBuf,
    open: RwLock<Option<sled::Db>>,
    progress: Mutex<Progress>,
    moved: Condvar,
}

struct Progress {
    /// The last group that was handed over, and the last one that is in the tree.
    handed: u64,
    applied: u64,
    /// Why the tree follows no more.
    failed: Option<StoreError>,
}

/// The changes of a group.
pub(super) struct Changes {
    /// The group's number.
    pub(super) number: u64,
    pub(super) entries: Vec<Entry>,
}

impl Tree {
    /// A tree that holds everything up to group `number`.
    pub(super) fn new(path: &Path, db: sled::Db, number: u64) -> Tree {
        Tree {
            path: path.to_owned(),
            open: RwLock::new(Some(db)),
            progress: Mutex::new(Progress {
                handed: number,
                applied: number,
                failed: None,
            }),
            moved: Condvar::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the database as it is; a panic of sled is a failure like any other.
    pub(super) fn with<T>(
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

    /// The same once it holds everything that was handed over before.
    pub(super) fn with_all<T>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.catch_up()?;
        self.with(work)
    }

    /// Waits until the tree holds everything that was handed over.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        let mut progress = self.progress();
        let wanted = progress.handed;
        while progress.applied < wanted {
            if let Some(error) = &progress.failed {
                return Err(error.clone());
            }
            progress = self
                .moved
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// The last group of which a reader of the tree may have seen something.
    ///
    /// # Errors
    /// Why the tree does not hold everything, if it follows no more.
    pub(super) fn newest(&self) -> Result<u64, StoreError> {
        let progress = self.progress();
        match &progress.failed {
            Some(error) => Err(error.clone()),
            None => Ok(progress.handed),
        }
    }

    /// Puts another database in the place of one that failed; it holds everything up to group `number`.
    pub(super) fn replace(&self, db: sled::Db, number: u64) {
        let mut place = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(db);
        *self.progress() = Progress {
            handed: number,
            applied: number,
            failed: None,
        };
    }

    pub(super) fn close(&self) {
        let mut place = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = place.take() {
            // sled writes what it still can when it is dropped, and may panic on that.
            let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
        }
    }

    /// Follows no more: as if sled had failed.
    pub(super) fn fail(&self, error: StoreError) {
        self.progress().failed = Some(error);
        self.moved.notify_all();
    }

    fn apply(&self, changes: Changes) {
        let Changes { number, entries } = changes;
        // A tree that took the place of a failed one has it already.
        let is_due = {
            let progress = self.progress();
            progress.failed.is_none() && progress.applied < number
        };
        if !is_due {
            return;
        }
        let applied = self.with(|db| {
            let writes = batch::writes(&self.path, db, number, &entries)?;
            let applied = db.apply_batch(writes);
            collect(entries.len());
            applied.map_err(|error| failure::of(&self.path, error))
        });
        match applied {
            Ok(()) => {
                self.progress().applied = number;
                self.moved.notify_all();
            }
            Err(error) => {
                tracing::warn!(%error, "sled's index could not be changed; it is made anew from the journal");
                // Nothing is lost: an error that passes, whatever sled says.
                let text = format!("sled's index is made anew from the journal, since {error}");
                self.fail(failure::io(&self.path, std::io::Error::other(text)));
            }
        }
    }
}

/// The thread that lets a tree follow. It ends when this is dropped, with all that was handed over done.
pub(super) struct Follower {
    tree: Arc<Tree>,
    queue: Option<SyncSender<Changes>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts it.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system starts no thread.
    pub(super) fn start(tree: Arc<Tree>) -> Result<Follower, StoreError> {
        // One group is put in, one waits: a third append waits until there is room.
        let (queue, changes): (_, Receiver<Changes>) = sync_channel(1);
        let following = tree.clone();
        let thread = std::thread::Builder::new()
            .name("index".into())
            .spawn(move || changes.iter().for_each(|changes| following.apply(changes)))
            .map_err(|error| failure::io(&tree.path, error))?;
        Ok(Follower {
            tree,
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Hands the changes of the next group over; readers who come from now on wait for them.
    pub(super) fn hand_over(&self, changes: Changes) {
        self.tree.progress().handed = changes.number;
        let sent = self.queue.as_ref().map(|queue| queue.send(changes));
        if !matches!(sent, Some(Ok(()))) {
            self.tree.fail(failure::closed(&self.tree.path));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that brings sled's index up to date panicked");
        }
    }
}

/// Frees what sled put aside while it wrote `writes` values. Each one leaves some old nodes behind, which sled's
/// collector frees a few bags at a time, once in 128 calls of its own: a batch is one call, so that hundreds of
/// leases at once would pile up gigabytes.
pub(super) fn collect(writes: usize) {
    // One round frees up to 8 bags of 64 things (crossbeam-epoch, internal.rs); a value leaves about two, and
    // rounds before which another thread holds an epoch free nothing.
    const WRITES_A_ROUND: usize = 128;
    for _ in 0..=writes / WRITES_A_ROUND {
        crossbeam_epoch::pin().flush();
    }
}
