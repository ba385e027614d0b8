//! Records: what was planned and made for each sandbox, one file a sandbox under
//! `<stateDir>/attachments`, on disk before the first delegate runs. DEL, CHECK and GC need nothing else.
//!
//! A sandbox is worked on through [`Sandbox`], which holds its lock: ADD, DEL, CHECK and GC of one
//! sandbox never interleave.

mod lock;
mod multus;
mod orphans;
mod sandbox;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use cni::result::CniResult;
use cni::version::Version;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::attachment::Attachment;
use crate::cluster::PodRef;
use crate::diagnosis::Explain;

pub use lock::LockError;
pub use multus::{MultusError, MultusFiles};
pub use orphans::{Failed, Mark, Orphans};
pub use sandbox::Sandbox;
pub use store::Records;

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
    /// What the pod's annotation network-status is to say; absent before the ADD is complete, and if no cluster is
    /// configured.
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
    /// The places in the list of the plugins that were built in at its ADD; the others were executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_in: Vec<usize>,
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
            built_in: Vec::new(),
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
