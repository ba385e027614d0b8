//! Records: what was planned and made for each sandbox, one file a sandbox under
//! `<stateDir>/attachments`, on disk before the first delegate runs. DEL, CHECK and GC need nothing else.
//!
//! A sandbox is worked on through [`Sandbox`], which holds its lock: ADD, DEL, CHECK and GC of one
//! sandbox never interleave.

mod lock;
mod multus;
mod orphans;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::result::CniResult;
use cni::version::Version;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::attachment::Attachment;
use crate::cluster::PodRef;
use crate::diagnosis::Explain;
use crate::limits::RECORD_BYTES;
use crate::private::{private_file, private_folder};
use lock::Lock;

pub use lock::LockError;
pub use multus::{MultusError, MultusFiles};
pub use orphans::{Failed, Mark, Orphans};

/// The version of the format of records that is written. Older ones are read: format 1 also had the folders of the plugins,
/// which are elsewhere after an upgrade.
const FORMAT: u32 = 2;

/// What was planned and made for one sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of the format.
    pub format: u32,
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_NETNS of the ADD.
    pub netns: String,
    /// The pod, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// The name of the CNI configuration of the ADD; absent in records of earlier versions. Several configurations can share
    /// a `stateDir`, and a runtime's GC is about the sandboxes of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// The annotations by which the pod asked for networks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, String>,
    /// The attachments in order, the default network first. A file has those that are not [`Phase::Gone`].
    #[serde(serialize_with = "without_gone")]
    pub attachments: Vec<Entry>,
    /// What the pod's annotation network-status is to say; absent before the ADD is complete, and if there is nobody to
    /// tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_status: Option<String>,
}

/// One attachment of a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What was planned.
    pub attachment: Attachment,
    /// How far it came.
    pub phase: Phase,
    /// The result of ADD, in the newest version; absent before that.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "stored_result"
    )]
    pub result: Option<CniResult>,
    /// Whether its ADD ended in its first plugin, which said no: it is not likely that anything was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The places in the list of the plugins whose DEL succeeded: they are not asked again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<usize>,
    /// How many DELs in a row had no time left for it: the next one begins with those that wait for the longest time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreached: u32,
}

impl Entry {
    /// An attachment that is about to be made.
    pub fn planned(attachment: Attachment) -> Entry {
        Entry {
            attachment,
            phase: Phase::Planned,
            result: None,
            refused: false,
            deleted: Vec::new(),
            unreached: 0,
        }
    }

    /// Whether plugins have nothing of it.
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }
}

/// For serde, which gives references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How far an attachment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its plugins may have been run, in part or as a whole.
    Planned,
    /// Its ADD succeeded.
    Added,
    /// A DEL failed; it is to be tried again.
    Deleting,
    /// Plugins have nothing of it: none has run, or the DEL of all succeeded, or it was given up. Never in a file.
    #[serde(skip)]
    Gone,
}

/// Whether an entry is in the file of its record.
fn without_gone<S: Serializer>(entries: &[Entry], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(entries.iter().filter(|entry| !entry.is_gone()))
}

impl Record {
    /// The record of attachments that are about to be made.
    pub fn planned(
        container_id: &str,
        netns: &str,
        pod: Option<PodRef>,
        attachments: Vec<Attachment>,
    ) -> Record {
        Record {
            format: FORMAT,
            container_id: container_id.to_owned(),
            netns: netns.to_owned(),
            pod,
            configuration: None,
            asked: BTreeMap::new(),
            attachments: attachments.into_iter().map(Entry::planned).collect(),
            network_status: None,
        }
    }

    /// The attachments, in order.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attachments.iter().map(|entry| &entry.attachment)
    }

    /// The attachments of which plugins may have something, in order.
    pub fn left(&self) -> impl Iterator<Item = &Entry> {
        self.attachments.iter().filter(|entry| !entry.is_gone())
    }

    /// The attachments of which plugins have nothing, in order.
    pub fn gone(&self) -> impl Iterator<Item = &Entry> {
        self.attachments.iter().filter(|entry| entry.is_gone())
    }

    /// Notes that no plugin has run for any attachment.
    pub fn set_untouched(&mut self) {
        for entry in &mut self.attachments {
            entry.phase = Phase::Gone;
        }
    }

    /// Whether it is a sandbox of another CNI configuration than this one. Records of earlier versions are of any.
    pub fn is_of_another(&self, configuration: &str) -> bool {
        let own = self.configuration.as_deref();
        own.is_some_and(|own| own != configuration)
    }

    /// Whether every attachment was made.
    pub fn is_complete(&self) -> bool {
        self.attachments
            .iter()
            .all(|entry| entry.phase == Phase::Added)
    }
}

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file or folder cannot be read.
    #[error("reading {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("writing {}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file cannot be removed.
    #[error("removing {}", .path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not a record.
    #[error("{} is not a record that can be read", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A record was written by a newer version of this program.
    #[error("{} has format {format}, and this program knows {FORMAT}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

impl Explain for RecordError {
    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            RecordError::Read { .. } | RecordError::Corrupt { .. } => return None,
            RecordError::Write { .. } => {
                "make stateDir writable and see that its file system has room"
            }
            RecordError::Remove { .. } => "make stateDir writable",
            RecordError::Newer { .. } => "use the newer meta-cni that wrote it",
        };
        Some(remedy.to_owned())
    }
}

/// All records of a node.
#[derive(Clone, Debug)]
pub struct Records {
    attachments: PathBuf,
    locks: PathBuf,
    orphans: Orphans,
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

    /// Reads a record without its lock, to look at it only.
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

    fn temporary(&self, container_id: &str) -> PathBuf {
        self.attachments.join(format!(".{container_id}.json.tmp"))
    }
}

/// One sandbox, which nobody else works on as long as this value lives.
#[derive(Debug)]
pub struct Sandbox<'a> {
    records: &'a Records,
    container_id: String,
    lock: Option<Lock>,
}

impl Sandbox<'_> {
    /// The sandbox's record, if it has one.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Corrupt`], [`RecordError::Newer`].
    pub fn load(&self) -> Result<Option<Record>, RecordError> {
        read_record(&self.records.file(&self.container_id))
    }

    /// Writes the record so that it survives a power cut from when this returns.
    ///
    /// # Errors
    /// [`RecordError::Write`]; the earlier record, if there was one, is then still there.
    pub fn save_durably(&self, record: &Record) -> Result<(), RecordError> {
        self.write(record, true)
    }

    /// Writes the record so that it survives the death of any process; after a power cut the earlier
    /// one may be there instead, which serves a DEL as well.
    ///
    /// # Errors
    /// As [`save_durably`](Self::save_durably).
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        self.write(record, false)
    }

    fn write(&self, record: &Record, durably: bool) -> Result<(), RecordError> {
        let path = self.records.file(&self.container_id);
        let temporary = self.records.temporary(&self.container_id);
        let write = || -> io::Result<()> {
            let bytes = serde_json::to_vec(record)?;
            if bytes.len() > RECORD_BYTES {
                let what = format!("the record has {} bytes", bytes.len());
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
            }
            let mut file = private_file(&temporary)?;
            file.write_all(&bytes)?;
            if durably {
                file.sync_all()?;
            }
            fs::rename(&temporary, &path)?;
            if durably {
                File::open(&self.records.attachments)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|source| {
            // What was begun is of no use; that it cannot be removed either adds nothing to the error.
            let _ = fs::remove_file(&temporary);
            RecordError::Write { path, source }
        })
    }

    /// Forgets the sandbox: its record, its mark, and the lock's file. Nothing there is success.
    ///
    /// # Errors
    /// [`RecordError::Remove`].
    pub fn forget(mut self) -> Result<(), RecordError> {
        for path in [
            self.records.file(&self.container_id),
            self.records.temporary(&self.container_id),
        ] {
            match fs::remove_file(&path) {
                // A read-only file system refuses this before it looks for the file.
                Err(source) if fs::exists(&path).unwrap_or(true) => {
                    return Err(RecordError::Remove { path, source });
                }
                _ => {}
            }
        }
        self.records.orphans.unmark(&self.container_id)?;
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
        Ok(())
    }

    /// Moves a record that cannot be read out of the way, and says where to.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn set_aside(&self) -> Result<PathBuf, RecordError> {
        let path = self.records.file(&self.container_id);
        let aside = (1..)
            .map(|n: u32| {
                self.records
                    .attachments
                    .join(format!("{}.unreadable-{n}", self.container_id))
            })
            .find(|aside| !aside.exists())
            .unwrap_or_else(|| path.with_extension("unreadable"));
        fs::rename(&path, &aside).map_err(|source| RecordError::Write { path, source })?;
        Ok(aside)
    }
}

impl Drop for Sandbox<'_> {
    /// A sandbox of which nothing is recorded leaves no lock behind.
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take()
            && !self.records.file(&self.container_id).exists()
        {
            lock.remove();
        }
    }
}

fn read_record(path: &Path) -> Result<Option<Record>, RecordError> {
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

/// Results stand in records in the newest version, which can say everything.
mod stored_result {
    use serde::{Deserializer, Serializer, de, ser};

    use super::{CniResult, Deserialize, Serialize, Value, Version};

    pub(super) fn serialize<S: Serializer>(
        result: &Option<CniResult>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let value = result
            .as_ref()
            .map(|result| result.to_value(Version::LATEST));
        value.transpose().map_err(ser::Error::custom)?.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<CniResult>, D::Error> {
        let value = Option::<Value>::deserialize(from)?;
        let result = value.map(|value| CniResult::from_value(&value, Version::LATEST));
        result.transpose().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
