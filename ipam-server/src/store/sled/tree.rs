//! sled's tree, which follows the journal: a thread puts in what was appended, so that nobody waits for sled who only appends, or
//! asks for one value. Many groups are put in at once: a block of neighbouring values is then written once and not once a group, and
//! what came and went meanwhile not at all. Readers of many values wait until what was appended before they came is in.

mod progress;

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::StoreError;
use super::super::journal::Entry;
use super::{batch, failure, values};
use progress::Progress;
pub(super) use progress::{Changes, MOST_BYTES, bytes_of};

/// The tree, and how far it follows.
pub(super) struct Tree {
    path: PathBuf,
    open: RwLock<Option<sled::Db>>,
    progress: Mutex<Progress>,
    /// Changes were handed over, or none come any more.
    handed_over: Condvar,
    /// Changes were taken or put in, or the tree failed.
    moved: Condvar,
}

impl Tree {
    /// A tree that holds everything up to group `number`.
    pub(super) fn new(path: &Path, db: sled::Db, number: u64) -> Tree {
        Tree {
            path: path.to_owned(),
            open: RwLock::new(Some(db)),
            progress: Mutex::new(Progress::at(number)),
            handed_over: Condvar::new(),
            moved: Condvar::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the progress says, if everything that was handed over is or will be in the tree.
    fn unless_failed<T>(&self, ask: impl FnOnce(&Progress) -> T) -> Result<T, StoreError> {
        let progress = self.progress();
        match progress.failure() {
            Some(error) => Err(error.clone()),
            None => Ok(ask(&progress)),
        }
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

    /// The same once it holds what was handed over before about the keys of a range.
    pub(super) fn with_range<T>(
        &self,
        keys: RangeInclusive<&[u8]>,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let waits = self.unless_failed(|progress| progress.is_about(keys))?;
        match waits {
            true => self.with_all(work),
            false => self.with(work),
        }
    }

    /// The value of a key with everything that was handed over before; nobody waits for it.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let changed = self.unless_failed(|progress| progress.value(key))?;
        match changed {
            Some(value) => Ok(value),
            // The tree has the value of every key that does not wait.
            None => self.with(|db| values::get(&self.path, db, key)),
        }
    }

    /// Waits until the tree holds everything that was handed over.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        let mut progress = self.progress();
        let wanted = progress.want_all();
        if !progress.has(wanted) {
            self.handed_over.notify_one();
        }
        while !progress.has(wanted) {
            if let Some(error) = progress.failed() {
                return Err(error.clone());
            }
            progress = wait(&self.moved, progress);
        }
        Ok(())
    }

    /// The last group of which a reader of the tree may have seen something.
    ///
    /// # Errors
    /// Why the tree does not hold everything, if it follows no more.
    pub(super) fn newest(&self) -> Result<u64, StoreError> {
        let progress = self.progress();
        match progress.failed() {
            Some(error) => Err(error.clone()),
            None => Ok(progress.handed()),
        }
    }

    /// Hands over what group `number` changes, the next one in the journal.
    pub(super) fn hand_over(&self, number: u64, entries: Vec<Entry>) {
        let mut progress = self.progress();
        while progress.is_full() {
            progress = wait(&self.moved, progress);
        }
        let now = Instant::now();
        let is_first = progress.add(number, entries, now);
        // The thread that follows sleeps until something waits, and then until it is due.
        if is_first || progress.pause(now).is_zero() {
            self.handed_over.notify_one();
        }
    }

    /// Puts another database in the place of one that failed; it holds everything up to group `number`.
    pub(super) fn replace(&self, db: sled::Db, number: u64) {
        let mut place = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(db);
        self.progress().restart(number);
        self.moved.notify_all();
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
        self.progress().fail(error);
        self.moved.notify_all();
    }

    /// Puts in what waits, until nothing more comes.
    fn follow(&self) {
        loop {
            let (number, changes) = {
                let mut progress = self.progress();
                while !progress.has_work() {
                    if progress.has_ended() {
                        return;
                    }
                    progress = wait(&self.handed_over, progress);
                }
                let pause = progress.pause(Instant::now());
                if !pause.is_zero() {
                    drop(wait_at_most(&self.handed_over, progress, pause));
                    continue;
                }
                progress.take()
            };
            self.moved.notify_all();
            let applied = self.with(|db| {
                // A tree that took the place of a failed one has it already, and maybe more. Nobody waits for the lock meanwhile.
                let has = self.progress().has(number);
                match has {
                    true => Ok(()),
                    false => put_in(&self.path, db, number, &changes),
                }
            });
            let mut progress = self.progress();
            if progress.has(number) {
                continue;
            }
            match applied {
                Ok(()) => progress.put_in(number),
                Err(error) => {
                    tracing::warn!(%error, "sled's index could not be changed; it is made anew from the journal");
                    // Nothing is lost: an error that passes, whatever sled says.
                    let text = format!("sled's index is made anew from the journal, since {error}");
                    let error = failure::io(&self.path, std::io::Error::other(text));
                    progress.fail(error);
                }
            }
            self.moved.notify_all();
        }
    }
}

fn wait<'a>(moved: &Condvar, progress: MutexGuard<'a, Progress>) -> MutexGuard<'a, Progress> {
    moved.wait(progress).unwrap_or_else(PoisonError::into_inner)
}

/// The same for a time.
fn wait_at_most<'a>(
    moved: &Condvar,
    progress: MutexGuard<'a, Progress>,
    time: Duration,
) -> MutexGuard<'a, Progress> {
    let waited = moved.wait_timeout(progress, time);
    waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Puts changes of groups up to `number` into a tree that holds everything before. Doing it once more changes nothing.
pub(super) fn put_in(
    path: &Path,
    db: &sled::Db,
    number: u64,
    changes: &Changes,
) -> Result<(), StoreError> {
    let writes = batch::writes(path, db, number, changes)?;
    let mut each = writes.into_iter().map(|some| db.apply_batch(some));
    let applied = each.try_for_each(|applied| applied);
    collect(changes.len());
    applied.map_err(|error| failure::of(path, error))
}

/// The thread that lets a tree follow. It ends when this is dropped, with all that was handed over done.
pub(super) struct Follower {
    tree: Arc<Tree>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts it.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system starts no thread.
    pub(super) fn start(tree: Arc<Tree>) -> Result<Follower, StoreError> {
        let following = tree.clone();
        let thread = std::thread::Builder::new()
            .name("index".into())
            .spawn(move || {
                // Whoever waits for the tree must not wait for ever.
                while catch_unwind(AssertUnwindSafe(|| following.follow())).is_err() {
                    following.fail(failure::panicked(&following.path));
                }
            })
            .map_err(|error| failure::io(&tree.path, error))?;
        Ok(Follower {
            tree,
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tree.progress().close();
        self.tree.handed_over.notify_one();
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

#[cfg(test)]
mod tests {
    use super::super::values::Kind;
    use super::*;

    fn entry(number: u64, value: Option<&str>) -> Entry {
        Entry {
            key: Kind::Lease.number(number).to_vec(),
            value: value.map(|text| text.as_bytes().to_vec()),
            within: None,
        }
    }

    fn tree() -> (tempfile::TempDir, Arc<Tree>) {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::open(folder.path()).unwrap();
        let tree = Tree::new(folder.path(), db, 0);
        (folder, Arc::new(tree))
    }

    fn value(tree: &Tree, number: u64) -> Option<String> {
        let value = tree.value(&Kind::Lease.number(number)).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn a_value_is_read_while_it_waits_and_when_it_is_in() {
        let (_folder, tree) = tree();
        tree.hand_over(1, vec![entry(1, Some("one")), entry(2, Some("two"))]);
        tree.hand_over(2, vec![entry(2, None), entry(3, Some("three"))]);
        tree.hand_over(3, vec![entry(3, Some("drei"))]);
        let read = || [1, 2, 3, 4].map(|number| value(&tree, number));
        let expected = [Some("one"), None, Some("drei"), None];
        let expected = expected.map(|text| text.map(str::to_owned));
        assert_eq!(read(), expected);
        assert_eq!(tree.with(|db| Ok(db.len())).unwrap(), 0, "nobody follows");
        let follower = Follower::start(tree.clone()).unwrap();
        tree.catch_up().unwrap();
        assert_eq!(read(), expected);
        tree.hand_over(4, vec![entry(1, None)]);
        drop(follower);
        assert_eq!(value(&tree, 1), None);
        assert_eq!(tree.newest().unwrap(), 4);
    }

    #[test]
    fn readers_do_not_wait_until_enough_has_gathered_and_others_need_no_reader() {
        let (_folder, tree) = tree();
        let _follower = Follower::start(tree.clone()).unwrap();
        let wanted = || tree.progress().wanted();
        let read = |first, last| {
            let (first, last) = (Kind::Lease.number(first), Kind::Lease.number(last));
            tree.with_range(&first[..]..=&last[..], |db| Ok(db.len()))
        };
        tree.hand_over(1, vec![entry(5, Some("five"))]);
        read(1, 4).unwrap();
        read(6, 9).unwrap();
        assert_eq!(wanted(), 0, "nothing of these ranges waits");
        while !tree.progress().has(1) {
            std::thread::yield_now();
        }
        tree.hand_over(2, vec![entry(6, Some("six"))]);
        assert!(read(4, 6).unwrap() > 0);
        tree.hand_over(3, vec![entry(7, Some("seven"))]);
        tree.catch_up().unwrap();
        assert_eq!(wanted(), 3);
    }

    #[test]
    fn changes_that_a_kill_cut_short_are_put_in_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // Values in many blocks, and some too long for one value.
        let long = "x".repeat(900_000);
        let text = |number: u64| match number % 400 {
            7 => long.clone(),
            _ => number.to_string(),
        };
        let changes = |numbers: std::ops::Range<u64>, is_made: bool| -> Changes {
            let value = |number| is_made.then(|| text(number).into_bytes());
            let entry = |number| (Kind::Lease.number(number).to_vec(), value(number));
            numbers.map(entry).collect()
        };
        let (first, second, third) = (
            changes(0..1000, true),
            changes(300..800, false),
            changes(700..900, true),
        );
        let whole = sled::open(path.join("whole")).unwrap();
        for (number, group) in [(1, &first), (2, &second), (3, &third)] {
            put_in(path, &whole, number, group).unwrap();
        }
        let cut = sled::open(path.join("cut")).unwrap();
        put_in(path, &cut, 1, &first).unwrap();
        let writes = batch::writes(path, &cut, 2, &second).unwrap();
        let count = writes.len();
        assert!(count > 2);
        for some in writes.into_iter().take(count / 2) {
            cut.apply_batch(some).unwrap();
        }
        // A start puts in what is left of the journal at once.
        let mut left = second;
        left.extend(third);
        put_in(path, &cut, 3, &left).unwrap();
        let all = |db: &sled::Db| -> Vec<_> {
            let entries = db.iter().map(Result::unwrap);
            let whole = entries.map(|(key, stored)| {
                let value = values::whole(path, db, &key, stored).unwrap();
                (key, value)
            });
            whole.filter(|(key, _)| values::is_content(key)).collect()
        };
        assert_eq!(all(&cut), all(&whole));
        assert_eq!(cut.len(), whole.len(), "no piece is left");
    }

    #[test]
    fn what_waits_for_a_tree_that_failed_is_not_read_before_another_one_has_it() {
        let (folder, tree) = tree();
        let _follower = Follower::start(tree.clone()).unwrap();
        tree.fail(failure::closed(folder.path()));
        tree.hand_over(1, vec![entry(1, Some("one"))]);
        assert!(tree.value(&Kind::Lease.number(1)).is_err());
        assert!(tree.catch_up().is_err());
        tree.close();
        let db = sled::open(folder.path().join("another")).unwrap();
        tree.replace(db, 1);
        assert_eq!(value(&tree, 1), None);
        tree.hand_over(2, vec![entry(1, Some("eins"))]);
        tree.catch_up().unwrap();
        assert_eq!(value(&tree, 1), Some("eins".to_owned()));
    }
}
