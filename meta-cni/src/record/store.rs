//! The files of all records, `<stateDir>/attachments`, and their locks.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::lock::{Lock, LockError};
use super::{FORMAT, Orphans, Record, RecordError, Sandbox};
use crate::private::{private_file, private_folder};

/// All records of a node.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) attachments: PathBuf,
    locks: PathBuf,
    pub(super) orphans: Orphans,
}

impl Records {
    /// The records under `state_dir`. Nothing is read or made yet.
    pub fn new(state_dir: &Path) -> Records {
        Records {
            attachments: state_dir.join("attachments"),
            locks: state_dir.join("locks"),
            orphans: Orphans::new(state_dir),
        }
    }

    /// The marks of sandboxes that are to be deleted.
    pub fn orphans(&self) -> &Orphans {
        &self.orphans
    }

    /// Makes the folders, readable by their owner only.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn make_folders(&self) -> Result<(), RecordError> {
        for path in [&self.attachments, &self.locks] {
            private_folder(path).map_err(|source| RecordError::Write {
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Whether records can be written, found out by writing a file.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn check_writable(&self) -> Result<(), RecordError> {
        self.make_folders()?;
        let path = self
            .attachments
            .join(format!(".probe-{}", std::process::id()));
        let written = private_file(&path)
            .and_then(|mut file| file.write_all(b"x"))
            .and_then(|()| fs::remove_file(&path));
        written.map_err(|source| RecordError::Write { path, source })
    }

    /// Takes the sandbox for this process, waiting up to `limit` for others that have it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self, container_id: &str, limit: Duration) -> Result<Sandbox<'_>, LockError> {
        let lock = Lock::take(&self.locks.join(container_id), limit)?;
        Ok(Sandbox {
            records: self,
            container_id: container_id.to_owned(),
            lock: Some(lock),
        })
    }

    /// The sandbox without its lock, for a DEL on a file system on which no lock can be made any more:
    /// better than to leak.
    pub fn without_lock(&self, container_id: &str) -> Sandbox<'_> {
        Sandbox {
            records: self,
            container_id: container_id.to_owned(),
            lock: None,
        }
    }

    /// The containers that have a record, in order; none if nothing was ever recorded.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn container_ids(&self) -> Result<Vec<String>, RecordError> {
        let names = self.file_names()?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
        Ok(ids.map(str::to_owned).collect())
    }

    /// Records that could not be read and were set aside by a DEL, in order.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn aside(&self) -> Result<Vec<PathBuf>, RecordError> {
        let names = self.file_names()?;
        let aside = names.iter().filter(|name| name.contains(".unreadable"));
        Ok(aside.map(|name| self.attachments.join(name)).collect())
    }

    /// The names of the files of all records but of those that are just being written, in order.
    fn file_names(&self) -> Result<Vec<String>, RecordError> {
        let read = |source| RecordError::Read {
            path: self.attachments.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.attachments) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(read)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(read)?.file_name();
            names.extend(
                name.to_str()
                    .filter(|name| !name.starts_with('.'))
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// When a record was last written.
    ///
    /// # Errors
    /// [`RecordError::Read`], also if there is none.
    pub fn written(&self, container_id: &str) -> Result<SystemTime, RecordError> {
        let path = self.file(container_id);
        fs::metadata(&path)
            .and_then(|file| file.modified())
            .map_err(|source| RecordError::Read { path, source })
    }

    /// Reads a record without its lock, for a reader that changes nothing.
    ///
    /// # Errors
    /// As [`Sandbox::load`].
    pub fn peek(&self, container_id: &str) -> Result<Option<Record>, RecordError> {
        read_record(&self.file(container_id))
    }

    /// The file of a container's record, whether it is there or not.
    pub(crate) fn file(&self, container_id: &str) -> PathBuf {
        self.attachments.join(format!("{container_id}.json"))
    }

    pub(super) fn temporary(&self, container_id: &str) -> PathBuf {
        self.attachments.join(format!(".{container_id}.json.tmp"))
    }
}

pub(super) fn read_record(path: &Path) -> Result<Option<Record>, RecordError> {
    let read = |source| RecordError::Read {
        path: path.to_owned(),
        source,
    };
    let corrupt = |source| RecordError::Corrupt {
        path: path.to_owned(),
        source,
    };
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(read)?,
    };
    let value: Value = serde_json::from_slice(&bytes).map_err(corrupt)?;
    let format = value
        .get("format")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if format > u64::from(FORMAT) {
        let format = u32::try_from(format).unwrap_or(u32::MAX);
        return Err(RecordError::Newer {
            path: path.to_owned(),
            format,
        });
    }
    let mut record: Record = serde_json::from_value(value).map_err(corrupt)?;
    record.format = FORMAT;
    Ok(Some(record))
}
