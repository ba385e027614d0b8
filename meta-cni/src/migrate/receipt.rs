//! What a migration did, in a file, in its order: `--back` goes through it backwards. Each change is noted before it is made.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use proto::ipam::v1::Lease;
use serde::{Deserialize, Serialize};

use super::MigrateError;
use crate::cluster::NadName;
use crate::private::{private_file, private_folder};

const FORMAT: u32 = 1;

/// The file.
#[derive(Debug)]
pub(super) struct Receipt {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    format: u32,
    entries: Vec<Entry>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entry {
    /// A pool was made.
    Pool { name: String },
    /// Leases were imported.
    Leases(Vec<Held>),
    /// A network's text was changed.
    Network {
        #[serde(flatten)]
        name: NadName,
        before: String,
        after: String,
    },
    /// It was noted on this node where a network leases.
    Noted { network: String },
    /// A pool allocates nothing while networks are changed.
    Cordoned { name: String },
}

/// A lease, by what it has for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    pub(super) pool: String,
    pub(super) ipv4: String,
    pub(super) ipv6: String,
    pub(super) container: String,
    pub(super) ifname: String,
    /// Of a lease without a container.
    pub(super) pod: String,
}

impl Held {
    /// Those of a lease.
    pub(super) fn of(lease: &Lease) -> Held {
        let owner = lease.owner.clone().unwrap_or_default();
        let pod = match owner.container_id.is_empty() {
            true => format!("{}/{}", owner.namespace, owner.pod),
            false => String::new(),
        };
        Held {
            pool: lease.pool.clone(),
            ipv4: lease.ipv4.clone(),
            ipv6: lease.ipv6.clone(),
            container: owner.container_id,
            ifname: owner.ifname,
            pod,
        }
    }
}

impl Receipt {
    /// Reads the file; an empty receipt if there is none.
    ///
    /// # Errors
    /// [`MigrateError::Read`], [`MigrateError::Text`].
    pub(super) fn read(path: &Path) -> Result<Receipt, MigrateError> {
        let wrong = |problem: String| MigrateError::Text {
            path: path.to_owned(),
            problem,
        };
        let content = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content {
                format: FORMAT,
                entries: Vec::new(),
            },
            Err(error) => return Err(MigrateError::read(path)(error)),
        };
        match content.format {
            FORMAT => Ok(Receipt {
                path: path.to_owned(),
                content,
            }),
            other => Err(wrong(format!(
                "it has format {other}, this version knows {FORMAT}"
            ))),
        }
    }

    /// The changes, in their order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.content.entries
    }

    /// Notes changes that are about to be made; those that are noted already are not noted again.
    ///
    /// # Errors
    /// [`MigrateError::Write`].
    pub(super) fn note(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), MigrateError> {
        let before = self.content.entries.len();
        for entry in entries {
            if !self.content.entries.contains(&entry) {
                self.content.entries.push(entry);
            }
        }
        match self.content.entries.len() == before {
            true => Ok(()),
            false => self.write(),
        }
    }

    /// A change is undone.
    ///
    /// # Errors
    /// [`MigrateError::Write`].
    pub(super) fn forget(&mut self, undone: &Entry) -> Result<(), MigrateError> {
        self.content.entries.retain(|entry| entry != undone);
        match self.content.entries.is_empty() {
            true => fs::remove_file(&self.path)
                .or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })
                .map_err(MigrateError::write(&self.path)),
            false => self.write(),
        }
    }

    fn write(&self) -> Result<(), MigrateError> {
        let written = || -> io::Result<()> {
            let folder = self.path.parent().unwrap_or(&self.path);
            if !folder.exists() {
                private_folder(folder)?;
            }
            let temporary = self.path.with_extension("new");
            let mut file = private_file(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&self.content)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(folder)?.sync_all()
        };
        written().map_err(MigrateError::write(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noted_once_until_it_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/migrated.json");
        let pool = |name: &str| Entry::Pool {
            name: name.to_owned(),
        };
        let mut receipt = Receipt::read(&path).unwrap();
        receipt.note([pool("a"), pool("b"), pool("a")]).unwrap();
        let mut receipt = Receipt::read(&path).unwrap();
        assert_eq!(receipt.entries(), [pool("a"), pool("b")]);
        receipt.forget(&pool("b")).unwrap();
        assert_eq!(Receipt::read(&path).unwrap().entries(), [pool("a")]);
        receipt.forget(&pool("a")).unwrap();
        assert!(!path.exists());
        fs::write(&path, r#"{"format": 2, "entries": []}"#).unwrap();
        let error = Receipt::read(&path).unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
    }
}
