//! The store on one machine's disk: sled, with an fsync of its own.
//!
//! One tree holds everything, so that a batch is atomic: `p<name>` pools, `r<name>` reservations, `l<number>`
//! leases, `e<revision>` events, `m<key>` what the store says of itself; numbers are 8 bytes, big endian.
//! `sled::Db::flush` ends in sync_file_range(2) on Linux, which a power cut does not respect; so the log file is
//! fsynced through a descriptor of this module's own before a commit is acknowledged.

mod failure;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use prost::Message;
use proto::ipam::v1::{Event, Lease, Pool, Reservation, subject::Subject};

use super::{Batch, Extent, LeaseId, Origin, Store, StoreError};

/// How long a database that was closed a moment ago may stay locked: sled's threads end after its handle.
const UNLOCKED: Duration = Duration::from_millis(500);
/// The name of [`Origin`] among what the store says of itself; its value is JSON.
const ORIGIN: &[u8] = b"origin";
/// How often it is tried.
const LOOK: Duration = Duration::from_millis(10);

/// The first byte of a key.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Pool = b'p' as isize,
    Reservation = b'r' as isize,
    Lease = b'l' as isize,
    Event = b'e' as isize,
    Meta = b'm' as isize,
}

impl Kind {
    fn key(self, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + rest.len());
        key.push(self.prefix());
        key.extend_from_slice(rest);
        key
    }

    fn number(self, number: u64) -> [u8; 9] {
        let mut key = [self.prefix(); 9];
        key[1..].copy_from_slice(&number.to_be_bytes());
        key
    }

    pub(super) fn prefix(self) -> u8 {
        self as u8
    }
}

/// An open sled database and its log file.
struct Open {
    db: sled::Db,
    log: File,
}

/// Keeps everything in a folder.
pub struct SledStore {
    path: PathBuf,
    cache_bytes: u64,
    open: RwLock<Option<Open>>,
    /// A batch whose commit failed: it is undone by `recover`.
    failed: Mutex<Option<Batch>>,
}

impl SledStore {
    /// Opens a store, and makes it if there is none. `cache_bytes` is what sled may keep in memory.
    ///
    /// # Errors
    /// Every variant of [`StoreError`].
    pub fn open(path: &Path, cache_bytes: u64) -> Result<SledStore, StoreError> {
        let open = open(path, cache_bytes)?;
        schema::check(path, &open.db)?;
        let store = SledStore {
            path: path.to_owned(),
            cache_bytes,
            open: RwLock::new(Some(open)),
            failed: Mutex::default(),
        };
        store.with(|open| sync(path, open))?;
        schema::mark(path)?;
        Ok(store)
    }

    /// Does something with the database; a panic of sled is a failure like any other.
    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = open.as_ref() else {
            return Err(failure::closed(&self.path));
        };
        catch_unwind(AssertUnwindSafe(|| work(open)))
            .unwrap_or_else(|_| Err(failure::panicked(&self.path)))
    }

    fn all<M: Message + Default>(&self, kind: Kind) -> Result<Vec<M>, StoreError> {
        self.with(|open| {
            let entries = open.db.scan_prefix([kind.prefix()]);
            entries.map(|entry| self.entry(entry)).collect()
        })
    }

    fn entry<M: Message + Default>(
        &self,
        entry: sled::Result<(sled::IVec, sled::IVec)>,
    ) -> Result<M, StoreError> {
        let (key, value) = entry.map_err(|error| failure::of(&self.path, error))?;
        decode(&self.path, &key, &value)
    }

    /// Undoes what a failed batch may have left.
    fn undo(&self, open: &Open, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for event in batch.events.iter().rev() {
            writes.remove(&Kind::Event.number(event.revision));
            let before = event
                .before
                .as_ref()
                .and_then(|subject| subject.subject.as_ref());
            let after = event
                .after
                .as_ref()
                .and_then(|subject| subject.subject.as_ref());
            match (before, after) {
                (Some(before), _) => writes.insert(key(before), value(before)),
                (None, Some(after)) => writes.remove(key(after)),
                (None, None) => {}
            }
        }
        if let Some(change) = &batch.origin {
            match &change.before {
                Some(before) => writes.insert(Kind::Meta.key(ORIGIN), origin_value(before)),
                None => writes.remove(Kind::Meta.key(ORIGIN)),
            }
        }
        apply(&self.path, open, writes)?;
        sync(&self.path, open)
    }
}

fn origin_value(origin: &Origin) -> Vec<u8> {
    // Texts and numbers are always JSON.
    serde_json::to_vec(origin).unwrap_or_default()
}

fn open(path: &Path, cache_bytes: u64) -> Result<Open, StoreError> {
    let io = |source| failure::io(path, source);
    std::fs::create_dir_all(path).map_err(io)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let patience = Instant::now() + UNLOCKED;
    let db = loop {
        let opened = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(opened) => opened.map_err(|error| failure::of(path, error)),
            Err(_) => Err(failure::panicked(path)),
        };
        match opened {
            Ok(db) => break db,
            Err(StoreError::Locked { .. }) if Instant::now() < patience => std::thread::sleep(LOOK),
            Err(error) => return Err(error),
        }
    };
    // The names of the files must outlast a power cut, too.
    let folder = File::open(path).map_err(io)?;
    folder.sync_all().map_err(io)?;
    let log = File::options()
        .read(true)
        .write(true)
        .open(path.join("db"))
        .map_err(io)?;
    Ok(Open { db, log })
}

/// Opens the database of a store that is there, for reading what can be read.
pub(super) fn open_to_read(path: &Path) -> Result<sled::Db, StoreError> {
    if !path.join("db").is_file() {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store in it");
        return Err(failure::io(path, missing));
    }
    open(path, 64 << 20).map(|open| open.db)
}

fn apply(path: &Path, open: &Open, writes: sled::Batch) -> Result<(), StoreError> {
    open.db
        .apply_batch(writes)
        .map_err(|error| failure::of(path, error))
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

/// Makes all that was written durable.
fn sync(path: &Path, open: &Open) -> Result<(), StoreError> {
    open.db.flush().map_err(|error| failure::of(path, error))?;
    open.log
        .sync_data()
        .map_err(|source| failure::io(path, source))
}

pub(super) fn decode<M: Message + Default>(
    path: &Path,
    key: &[u8],
    value: &[u8],
) -> Result<M, StoreError> {
    M::decode(value).map_err(|error| StoreError::Corrupt {
        path: path.to_owned(),
        what: format!(
            "the value of key {}: {error}",
            String::from_utf8_lossy(key).escape_default()
        ),
    })
}

fn key(subject: &Subject) -> Vec<u8> {
    match subject {
        Subject::Lease(lease) => {
            let id = lease.id.parse().unwrap_or(LeaseId(0));
            Kind::Lease.number(id.0).to_vec()
        }
        Subject::Pool(pool) => Kind::Pool.key(pool.name.as_bytes()),
        Subject::Reservation(reservation) => Kind::Reservation.key(reservation.name.as_bytes()),
    }
}

fn value(subject: &Subject) -> Vec<u8> {
    match subject {
        Subject::Lease(lease) => lease.encode_to_vec(),
        Subject::Pool(pool) => pool.encode_to_vec(),
        Subject::Reservation(reservation) => reservation.encode_to_vec(),
    }
}

/// A batch as sled takes it.
fn writes(batch: &Batch, oldest: Option<u64>) -> sled::Batch {
    fn put(writes: &mut sled::Batch, key: &[u8], value: Option<Vec<u8>>) {
        match value {
            Some(value) => writes.insert(key, value),
            None => writes.remove(key),
        }
    }
    let mut writes = sled::Batch::default();
    for (name, pool) in &batch.pools {
        let value = pool.as_ref().map(Message::encode_to_vec);
        put(&mut writes, &Kind::Pool.key(name.as_bytes()), value);
    }
    for (name, reservation) in &batch.reservations {
        let value = reservation.as_ref().map(Message::encode_to_vec);
        put(&mut writes, &Kind::Reservation.key(name.as_bytes()), value);
    }
    for (id, lease) in &batch.leases {
        put(
            &mut writes,
            &Kind::Lease.number(id.0),
            lease.as_ref().map(Message::encode_to_vec),
        );
    }
    for event in &batch.events {
        writes.insert(&Kind::Event.number(event.revision), event.encode_to_vec());
    }
    if let Some(change) = &batch.origin {
        writes.insert(Kind::Meta.key(ORIGIN), origin_value(&change.after));
    }
    if let (Some(to), Some(oldest)) = (batch.forget_events_to, oldest) {
        for revision in oldest..=to {
            writes.remove(&Kind::Event.number(revision));
        }
    }
    writes
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
        let found = self.with(|open| {
            let value = open.db.get(Kind::Meta.key(ORIGIN));
            value.map_err(|error| failure::of(&self.path, error))
        })?;
        let read = found.map(|value| serde_json::from_slice(&value));
        read.transpose().map_err(|error| StoreError::Corrupt {
            path: self.path.clone(),
            what: format!("which store it is: {error}"),
        })
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        self.all(Kind::Pool)
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        self.all(Kind::Reservation)
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        self.with(|open| {
            let key = Kind::Lease.number(id.0);
            let value = open
                .db
                .get(key)
                .map_err(|error| failure::of(&self.path, error))?;
            value
                .map(|value| decode(&self.path, &key, &value))
                .transpose()
        })
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let from = Kind::Lease.number(after.0.saturating_add(1));
        let to = Kind::Lease.number(u64::MAX);
        self.with(|open| {
            open.db
                .range(from..=to)
                .take(limit)
                .map(|entry| self.entry(entry))
                .collect()
        })
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let from = Kind::Event.number(after.saturating_add(1));
        let to = Kind::Event.number(u64::MAX);
        self.with(|open| {
            open.db
                .range(from..=to)
                .take(limit)
                .map(|entry| self.entry(entry))
                .collect()
        })
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let from = Kind::Event.number(0);
        let to = Kind::Event.number(before);
        self.with(|open| {
            open.db
                .range(from..to)
                .rev()
                .take(limit)
                .map(|entry| self.entry(entry))
                .collect()
        })
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some() {
            return Err(failure::closed(&self.path));
        }
        let oldest = match batch.forget_events_to {
            Some(_) => Some(self.extent()?.oldest_revision),
            None => None,
        };
        let written = self.with(|open| {
            apply(&self.path, open, writes(batch, oldest))?;
            sync(&self.path, open)
        });
        collect(batch.writes());
        if written.is_err() {
            *failed = Some(batch.clone());
        }
        written
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut place = self.open.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = place.take() {
                // sled writes what it still can when it is dropped, and may panic on that.
                let _ = catch_unwind(AssertUnwindSafe(move || drop(open)));
            }
            *place = Some(open(&self.path, self.cache_bytes)?);
        }
        self.with(|open| match failed.as_ref() {
            Some(batch) => self.undo(open, batch),
            None => sync(&self.path, open),
        })?;
        schema::check(&self.path, &self.with(|open| Ok(open.db.clone()))?)?;
        *failed = None;
        Ok(())
    }
}
