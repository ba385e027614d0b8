//! The export beside a store that is migrated: `<store>.before-schema-<n>.jsonl`, as `ipamctl import` reads it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use proto::ipam::v1::ExportItem;

use super::super::journal::{Entry, Found};
use super::super::{StoreError, salvage};
use super::failure;
use super::index::Failed;
use super::values::{self, Kind};

/// An export that is written.
pub(super) struct Export {
    store: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
}

impl Export {
    /// Begins the export of a store before it gets a schema. An earlier one is replaced.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Full`], [`StoreError::ReadOnly`].
    pub(super) fn create(store: &Path, schema: u32) -> Result<Export, StoreError> {
        let mut name = store.as_os_str().to_owned();
        name.push(format!(".before-schema-{schema}.jsonl"));
        let path = PathBuf::from(name);
        let file = File::create(&path).map_err(|error| failure::io(&path, error))?;
        Ok(Export {
            store: store.to_owned(),
            file: BufWriter::new(file),
            path,
        })
    }

    /// Adds a value, if it is of this kind.
    ///
    /// # Errors
    /// As [`Export::create`]; [`StoreError::Corrupt`] if the value cannot be decoded.
    pub(super) fn add(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.first() != Some(&kind.prefix()) {
            return Ok(());
        }
        let undecoded = || failure::corrupt(&self.store, values::shown(key));
        let item = salvage::item(key, value).ok_or_else(undecoded)?;
        let line = serde_json::to_vec(&ExportItem { item: Some(item) });
        let line = line.map_err(|error| failure::io(&self.path, error.into()))?;
        let file = &mut self.file;
        let written = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| failure::io(&self.path, error))
    }

    /// Ends it, durable; returns its path.
    ///
    /// # Errors
    /// As [`Export::create`].
    pub(super) fn finish(self) -> Result<PathBuf, StoreError> {
        let Export { path, file, .. } = self;
        let io = |error| failure::io(&path, error);
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        Ok(path)
    }
}

/// Exports what a journal holds, before its store gets a schema; returns the path of the export.
///
/// # Errors
/// As [`Export::create`] and [`Export::add`].
pub(super) fn of_journal(
    store: &Path,
    journal: &Found,
    schema: u32,
) -> Result<PathBuf, StoreError> {
    let mut changed: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    let read = journal.records(journal.begins, |_, entries| {
        changed.extend(
            entries
                .into_iter()
                .map(|Entry { key, value, .. }| (key, value)),
        );
        Ok::<(), Failed>(())
    });
    read.map_err(|error| error.of(store))?;
    let mut export = Export::create(store, schema)?;
    for kind in [Kind::Pool, Kind::Reservation, Kind::Lease] {
        let read = journal.base(|entries| {
            for Entry { key, value, .. } in &entries {
                if !changed.contains_key(key) {
                    let value = value.as_deref().unwrap_or_default();
                    export.add(kind, key, value).map_err(Failed::Store)?;
                }
            }
            Ok(())
        });
        read.map_err(|error: Failed| error.of(store))?;
        for (key, value) in &changed {
            if let Some(value) = value {
                export.add(kind, key, value)?;
            }
        }
    }
    export.finish()
}
