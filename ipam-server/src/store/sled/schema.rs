//! The version of what is in a store, how a store begins, and the way from older versions to this one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::super::journal::{self, BaseWriter, Found, Hole, Journal, Mark};
use super::super::{StoreError, named, salvage};
use super::export::{self, Export};
use super::values::{APPLIED, Kind};
use super::{failure, index, survey};

/// What this version writes. 0 is that of stores before there was a number, 1 that of stores without a journal, 2 that of
/// stores whose index had each lease in a value of its own.
pub(in crate::store) const SCHEMA: u32 = 3;
/// The first one with a journal.
const JOURNAL: u32 = 2;

/// Is there while a new store is made.
const UNFINISHED: &str = "ipam-server.new";

/// Begins the journal of a new store, or of one of an older schema after an export beside it.
pub(super) fn begin(path: &Path, cache_bytes: u64) -> Result<(sled::Db, Journal), StoreError> {
    let io = |error| failure::io(path, error);
    let mark = journal::mark(path);
    let unfinished = path.join(UNFINISHED);
    if unfinished.exists() || (mark == Mark::None && !path.join("db").exists()) {
        // What a power cut has left of sled's files may be anything.
        File::create(&unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| journal::sync_folder(path))
            .map_err(io)?;
        index::remove(path)?;
    } else {
        rehearse(path, cache_bytes)?;
    }
    let db = index::open(path, cache_bytes)?;
    let is_new = db.is_empty();
    let status = survey::decode_all(path, &db)?;
    if !is_new {
        let found = found(path, &db)?.unwrap_or(0);
        let mut export = Export::create(path, found + 1)?;
        for kind in [Kind::Pool, Kind::Reservation, Kind::Lease] {
            survey::each(path, &db, |key, value| export.add(kind, key, value))?;
        }
        let beside = export.finish()?;
        tracing::info!(found, schema = SCHEMA, export = %beside.display(), "migrating the store");
    }
    let mut base = BaseWriter::create(path, 1, 0).map_err(io)?;
    survey::each(path, &db, |key, value| {
        base.add(key.to_vec(), value.to_vec()).map_err(io)
    })?;
    let bytes = base.finish(path, 0).map_err(io)?;
    let journal = Journal::begin(path, status, bytes).map_err(io)?;
    finished(path)?;
    if !is_new {
        // The journal holds everything: an index of this version is made of it.
        drop((journal, db));
        index::remove(path)?;
        return super::reopen(path, cache_bytes);
    }
    write(path, &db)?;
    let applied = db.insert(Kind::Meta.key(APPLIED), &0_u64.to_be_bytes());
    applied.map_err(|error| failure::of(path, error))?;
    Ok((db, journal))
}

/// Checks a store of an older schema on a copy of its files, since sled writes when it opens them.
fn rehearse(path: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    if !path.join("db").is_file() {
        return Err(failure::corrupt(path, "sled's log is gone".to_owned()));
    }
    let copy = salvage::Copy::of_index(path, path)?;
    let checked = index::open(copy.path(), cache_bytes)
        .and_then(|db| check_old(copy.path(), &db, journal::mark(path)));
    checked.map_err(|error| match error {
        StoreError::Corrupt { what, .. } => failure::corrupt(path, what),
        StoreError::NewerSchema { found, .. } => newer(path, found),
        error => error,
    })
}

fn check_old(path: &Path, db: &sled::Db, mark: Mark) -> Result<(), StoreError> {
    match found(path, db)? {
        Some(JOURNAL..=SCHEMA) => {
            let what = "its journal is gone: changes since the last base may be missing";
            return Err(failure::corrupt(path, what.to_owned()));
        }
        Some(found) if found > SCHEMA => return Err(newer(path, found)),
        None if db.is_empty() && mark != Mark::None => {
            let what = "its log holds nothing any more; put a backup in its place, or remove the folder to begin anew";
            return Err(failure::corrupt(path, what.to_owned()));
        }
        _ => {}
    }
    survey::decode_all(path, db)?;
    survey::compare_with_history(path, db)
}

/// Notes that a store has its journal.
pub(super) fn finished(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path.join(UNFINISHED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure::io(path, error)),
        _ => Ok(()),
    }
}

/// Checks that an index is of this version. Of an older one, what the journal holds is exported beside the store first.
///
/// # Errors
/// [`StoreError::NewerSchema`]; [`StoreError::Corrupt`] if the index is to be made anew; those of the export.
pub(super) fn check(path: &Path, db: &sled::Db, journal: &Found) -> Result<(), StoreError> {
    let version = match found(path, db)? {
        Some(SCHEMA) => return Ok(()),
        Some(found) if found > SCHEMA => return Err(newer(path, found)),
        Some(found) => found,
        None => {
            let what = "it does not say which schema it has";
            return Err(failure::corrupt(path, what.to_owned()));
        }
    };
    let beside = export::of_journal(path, journal, version + 1)?;
    tracing::info!(found = version, schema = SCHEMA, export = %beside.display(), "migrating the store");
    Err(failure::corrupt(path, format!("it has schema {version}")))
}

/// Writes the version into a tree.
pub(super) fn write(path: &Path, db: &sled::Db) -> Result<(), StoreError> {
    let written = db.insert(Kind::Meta.key(b"schema"), &SCHEMA.to_be_bytes());
    written.map(drop).map_err(|error| failure::of(path, error))
}

fn newer(path: &Path, found: u32) -> StoreError {
    StoreError::NewerSchema {
        store: named(path),
        found,
        known: SCHEMA,
    }
}

fn found(path: &Path, db: &sled::Db) -> Result<Option<u32>, StoreError> {
    let value = db.get(Kind::Meta.key(b"schema"));
    let value = value.map_err(|error| failure::of(path, error))?;
    let number = value.map(|value| <[u8; 4]>::try_from(value.as_ref()));
    let number = number.transpose();
    let number = number.map_err(|_| failure::corrupt(path, "the schema version".to_owned()))?;
    Ok(number.map(u32::from_be_bytes))
}

/// A hole in the journal of a store, with the revisions that are missing.
pub(super) fn corrupt(path: &Path, hole: &Hole) -> StoreError {
    let missing = salvage::missing_of_journal(path);
    let what = match missing {
        Ok(missing) if !missing.is_empty() => format!(
            "{}; revisions {} are missing in it",
            hole.what,
            salvage::ranges(&missing)
        ),
        _ => hole.what.clone(),
    };
    failure::corrupt(path, what)
}
