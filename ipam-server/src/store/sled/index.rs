//! sled as an index over the journal: opened, brought up to the last record, compared with what the journal says, and
//! made anew if it is not right.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::StoreError;
use super::super::journal::{Entry, Found, Hole};
use super::super::salvage::Pile;
use super::block::{self, Packer};
use super::tree::{Changes, MOST_BYTES, bytes_of, collect, put_in};
use super::values::{self, APPLIED, Kind};
use super::{failure, history, schema, survey};

/// How long a database that was closed a moment ago may stay locked: sled's threads end after its handle.
const UNLOCKED: Duration = Duration::from_millis(500);
/// How often it is tried.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Values that are written at once when an index is made.
const TOGETHER: usize = 1000;
/// An index that is longer than so many times the journal, and than [`SMALL`], is made anew at a start.
const TIMES: u64 = 4;
/// Bytes of an index whose length does not matter.
const SMALL: u64 = 64 << 20;
/// Is there while sled opens its files: a process that did not come through that leaves it.
const OPENING: &str = "sled.opening";

/// Opens sled's files, or makes new ones. A panic of sled is an error like any other.
pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    remove_unfinished(path)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let patience = Instant::now() + UNLOCKED;
    loop {
        let opened = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(opened) => opened.map_err(|error| failure::of(path, error)),
            Err(_) => Err(failure::panicked(path)),
        };
        match opened {
            Err(StoreError::Locked { .. }) if Instant::now() < patience => {
                std::thread::sleep(POLL_INTERVAL);
            }
            opened => return opened,
        }
    }
}

/// Removes a snapshot that sled had not finished: sled does not pass over it, and needs none.
fn remove_unfinished(path: &Path) -> Result<(), StoreError> {
    for name in files(path).map_err(|error| failure::io(path, error))? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(path.join(&name)).map_err(|error| failure::io(path, error))?;
            tracing::info!(file = name, "removed a snapshot that was not finished");
        }
    }
    Ok(())
}

/// The names of sled's files in a folder.
pub(in crate::store) fn files(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str()
            && (matches!(name, "db" | "conf" | "blobs") || name.starts_with("snap."))
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Removes sled's files: the journal holds all that they do.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = files(path).and_then(|names| {
        names.iter().try_for_each(|name| {
            let file = path.join(name);
            match name.as_str() {
                "blobs" => fs::remove_dir_all(file),
                _ => fs::remove_file(file),
            }
        })
    });
    removed.map_err(|error| failure::io(path, error))
}

/// An index that holds what the journal says: the existing one, or a new one.
pub(super) fn settle(path: &Path, cache_bytes: u64, found: &Found) -> Result<sled::Db, StoreError> {
    let io = |error| failure::io(path, error);
    let opening = path.join(OPENING);
    let existing = if opening.exists() {
        Err("the process ended while sled opened it".to_owned())
    } else if length(path).map_err(io)? > SMALL.max(TIMES * found.bytes()) {
        Err("it is many times longer than what it holds".to_owned())
    } else if !path.join("db").exists() {
        Err("it is not there".to_owned())
    } else {
        fs::write(&opening, []).map_err(io)?;
        let opened = catch_unwind(AssertUnwindSafe(|| existing(path, cache_bytes, found)))
            .unwrap_or_else(|_| Err(failure::panicked(path)));
        match opened {
            Ok(db) => Ok(db),
            // Nothing that a new index puts right.
            Err(
                error @ (StoreError::Locked { .. }
                | StoreError::Full { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::NewerSchema { .. }),
            ) => {
                fs::remove_file(&opening).map_err(io)?;
                return Err(error);
            }
            Err(StoreError::Corrupt { what, .. }) if what.starts_with(AHEAD) => {
                fs::remove_file(&opening).map_err(io)?;
                return Err(failure::corrupt(path, what));
            }
            // The store as a whole is not damaged.
            Err(StoreError::Corrupt { what, .. }) => Err(what),
            Err(error) => Err(error.to_string()),
        }
    };
    let db = match existing {
        Ok(db) => db,
        Err(why) => {
            tracing::warn!(why, "making sled's index anew from the journal");
            remove(path)?;
            make(path, cache_bytes, found)?
        }
    };
    match fs::remove_file(&opening) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(error)),
        _ => Ok(db),
    }
}

/// How an error begins that no new index puts right.
const AHEAD: &str = "its journal ends before";

/// Opens the existing index and brings it up to the last record.
fn existing(path: &Path, cache_bytes: u64, found: &Found) -> Result<sled::Db, StoreError> {
    let db = open(path, cache_bytes)?;
    let applied = applied(path, &db)?
        .ok_or_else(|| failure::corrupt(path, "it does not say how far it is".to_owned()))?;
    schema::check(path, &db, found)?;
    if applied > found.sequence {
        let what = format!(
            "{AHEAD} commit {applied}, which its index has: commits {} to {applied} are missing",
            found.sequence + 1
        );
        return Err(failure::corrupt(path, what));
    }
    if applied < found.begins {
        return Err(failure::corrupt(path, "it is older than the base".into()));
    }
    replay(path, &db, found, applied)?;
    compare(path, &db, found)?;
    Ok(db)
}

/// Makes an index of all that the journal holds.
fn make(path: &Path, cache_bytes: u64, found: &Found) -> Result<sled::Db, StoreError> {
    let db = open(path, cache_bytes)?;
    // First: a kill takes what sled wrote last along, and an index without its schema is made once more.
    schema::write(path, &db)?;
    let commit = found.begins;
    let mut writes = sled::Batch::default();
    let (mut leases, mut events) = (Packer::default(), Packer::default());
    let mut count = 0;
    let apply = |writes: sled::Batch, count: usize| {
        let applied = db.apply_batch(writes);
        collect(count);
        applied.map_err(|error| failure::of(path, error))
    };
    found
        .base(|entries| {
            for Entry { key, value, .. } in entries {
                let value = value.unwrap_or_default();
                let block = block::key_of(&key).zip(values::number_of(&key));
                match (block, history::revision(&key)) {
                    (Some((block, number)), None) => {
                        leases.add(&mut writes, commit, block, number, &value);
                    }
                    (Some((block, number)), Some(_)) => {
                        events.add(&mut writes, commit, block, number, &value);
                    }
                    (None, _) => values::put(&mut writes, commit, &key, &value),
                }
                count += 1;
            }
            if count < TOGETHER {
                return Ok(());
            }
            apply(std::mem::take(&mut writes), std::mem::take(&mut count)).map_err(Failed::Store)
        })
        .map_err(|error| error.of(path))?;
    leases.finish(&mut writes, commit);
    events.finish(&mut writes, commit);
    writes.insert(Kind::Meta.key(APPLIED), &commit.to_be_bytes());
    apply(writes, count + 1)?;
    replay(path, &db, found, commit)?;
    compare(path, &db, found)?;
    Ok(db)
}

/// A journal with a hole, or an index that cannot be written.
pub(super) enum Failed {
    Hole(Hole),
    Store(StoreError),
}

impl From<Hole> for Failed {
    fn from(hole: Hole) -> Failed {
        Failed::Hole(hole)
    }
}

impl Failed {
    pub(super) fn of(self, path: &Path) -> StoreError {
        match self {
            Failed::Hole(hole) => failure::corrupt(path, hole.what),
            Failed::Store(error) => error,
        }
    }
}

/// Puts the records behind `after` in, many at once.
fn replay(path: &Path, db: &sled::Db, found: &Found, after: u64) -> Result<(), StoreError> {
    let (mut last, mut waiting, mut bytes) = (after, Changes::new(), 0);
    found
        .records(after, |sequence, entries| {
            last = sequence;
            bytes += entries.iter().map(bytes_of).sum::<usize>();
            waiting.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
            if bytes < MOST_BYTES {
                return Ok(());
            }
            bytes = 0;
            put_in(path, db, last, &std::mem::take(&mut waiting)).map_err(Failed::Store)
        })
        .map_err(|error| error.of(path))?;
    match waiting.is_empty() {
        true => Ok(()),
        false => put_in(path, db, last, &waiting),
    }
}

fn compare(path: &Path, db: &sled::Db, found: &Found) -> Result<(), StoreError> {
    let status = survey::read_all(path, db)?;
    match found.status.difference(&status) {
        None => Ok(()),
        Some(what) => Err(failure::corrupt(path, what)),
    }
}

/// The number of the last commit that an index holds.
pub(in crate::store) fn applied(path: &Path, db: &sled::Db) -> Result<Option<u64>, StoreError> {
    let value = db.get(Kind::Meta.key(APPLIED));
    let value = value.map_err(|error| failure::of(path, error))?;
    Ok(value.and_then(|value| Some(u64::from_be_bytes(value.as_ref().try_into().ok()?))))
}

/// Adds what an index gives to a pile; `path` is a copy, which sled changes.
pub(in crate::store) fn open_to_save(path: &Path, pile: &mut Pile, lost: &mut Vec<String>) {
    const CACHE: u64 = 64 << 20;
    let snapshots = || {
        let names = files(path).unwrap_or_default().into_iter();
        names.filter(|name| name.starts_with("snap."))
    };
    let opened = open(path, CACHE).or_else(|error| {
        // A damaged snapshot keeps sled from opening, and sled needs none.
        if snapshots().count() == 0 {
            return Err(error);
        }
        for name in snapshots() {
            fs::remove_file(path.join(name)).map_err(|error| failure::io(path, error))?;
        }
        open(path, CACHE)
    });
    let db = match opened {
        Ok(db) => db,
        Err(error) => {
            lost.push(format!("sled's files cannot be opened: {error}"));
            return;
        }
    };
    let save = || -> Result<(), StoreError> {
        // A tree that does not say how far it is, gives what is nowhere else.
        let applied = applied(path, &db)?.unwrap_or(0);
        for kind in [
            Kind::Pool,
            Kind::Reservation,
            Kind::Leases,
            Kind::Lease,
            Kind::Meta,
            Kind::Events,
            Kind::Event,
        ] {
            for entry in db.scan_prefix([kind.prefix()]) {
                let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
                // Without a piece it is no value; what is missing then shows in the sums of the journal.
                let Some(value) = values::whole(path, &db, &key, stored)? else {
                    continue;
                };
                let put = |key: &[u8], value: &[u8]| {
                    pile.put(key.to_vec(), applied, Some(value.to_vec()));
                    Ok(())
                };
                if let Err(error) = block::contents(path, &key, &value, put) {
                    lost.push(error.to_string());
                }
            }
        }
        Ok(())
    };
    // sled panics on some damage; what comes after it cannot be reached.
    let saved = catch_unwind(AssertUnwindSafe(save));
    if let Err(error) = saved.unwrap_or_else(|_| Err(failure::panicked(path))) {
        lost.push(format!("some of sled's values cannot be read: {error}"));
    }
    let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
}

/// Bytes of sled's files.
fn length(path: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for name in files(path)? {
        let file = path.join(name);
        let metadata = fs::metadata(&file)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&file)? {
                sum += entry?.metadata()?.len();
            }
        } else {
            sum += metadata.len();
        }
    }
    Ok(sum)
}
