//! The version of what is in a store, and the way from older ones to this one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::super::{StoreError, salvage};
use super::{Kind, failure};

/// What this version writes.
pub(in crate::store) const SCHEMA: u32 = 1;

/// A file beside sled's that says that there was a store: sled takes a log whose beginning is damaged for a new
/// one, and every address would be given again.
const MARK: &str = "ipam-server.store";

/// Changes a store from the schema that is its index to the next one.
type Migration = fn(&sled::Tree) -> sled::Result<()>;

/// Schema 0 is that of stores before there was a number; nothing else was different.
const MIGRATIONS: [Migration; SCHEMA as usize] = [|_| Ok(())];

/// Marks a new store, refuses a newer one, and migrates an older one after an export beside it.
pub(super) fn check(path: &Path, db: &sled::Db) -> Result<(), StoreError> {
    let of = |error| failure::of(path, error);
    let key = Kind::Meta.key(b"schema");
    let found = match db.get(&key).map_err(of)? {
        Some(value) => match <[u8; 4]>::try_from(value.as_ref()) {
            Ok(bytes) => u32::from_be_bytes(bytes),
            Err(_) => {
                return Err(StoreError::Corrupt {
                    path: path.to_owned(),
                    what: "the schema version".into(),
                });
            }
        },
        None if db.is_empty() && path.join(MARK).exists() => {
            return Err(StoreError::Corrupt {
                path: path.to_owned(),
                what: "its log holds nothing any more; put a backup in its place, or remove the folder to begin anew".into(),
            });
        }
        None if db.is_empty() => SCHEMA,
        None => 0,
    };
    if found > SCHEMA {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known: SCHEMA,
        });
    }
    if found < SCHEMA {
        let beside = export(path, db, found)?;
        tracing::info!(found, schema = SCHEMA, export = %beside.display(), "migrating the store");
    }
    for (from, migrate) in (0_u32..).zip(MIGRATIONS).skip(found as usize) {
        migrate(db).map_err(of)?;
        db.insert(&key, &(from + 1).to_be_bytes()).map_err(of)?;
    }
    if db.get(&key).map_err(of)?.is_none() {
        db.insert(&key, &SCHEMA.to_be_bytes()).map_err(of)?;
    }
    Ok(())
}

/// Leaves the mark, once the schema version is durable.
pub(super) fn mark(path: &Path) -> Result<(), StoreError> {
    let file = path.join(MARK);
    if file.exists() {
        return Ok(());
    }
    let io = |source| failure::io(path, source);
    File::create(&file)
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(io)
}

/// Writes what the store holds to `<path>.before-schema-<n>.jsonl`, as `ipamctl import` takes it.
fn export(path: &Path, db: &sled::Db, found: u32) -> Result<PathBuf, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-schema-{}.jsonl", found + 1));
    let beside = PathBuf::from(name);
    let io = |source| failure::io(&beside, source);
    let mut file = BufWriter::new(File::create(&beside).map_err(io)?);
    let mut failed = None;
    salvage::items(db, |item| {
        let line = serde_json::to_vec(&item).map_err(std::io::Error::from);
        let written = line
            .and_then(|line| file.write_all(&line))
            .and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            failed.get_or_insert(error);
        }
    });
    if let Some(error) = failed {
        return Err(io(error));
    }
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok(beside)
}
