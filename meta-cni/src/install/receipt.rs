//! What was installed on this node and what was there before, in a file beside the configuration, in the order in which it
//! was done: an uninstall goes through it backwards. Each change is noted before it is made, so that none is unknown
//! after a kill.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::InstallError;
use super::changes::{Changes, digest};
use super::place::Places;

const NAME: &str = "installed.json";
const FORMAT: u32 = 1;
/// Of the file in place, and of the one that an interrupted update may have put there.
const DIGESTS: usize = 2;

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    format: u32,
    pub(super) entries: Vec<Entry>,
}

/// One change. Paths are those of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entry {
    /// A file of ours.
    File {
        path: PathBuf,
        /// What we put there, the latest last: SHA-256.
        digests: Vec<String>,
        /// Where the file is that was there before us; none: there was none.
        before: Option<PathBuf>,
    },
    /// A file of others that we moved.
    Moved { from: PathBuf, to: PathBuf },
}

impl Receipt {
    /// The receipt of this node; an empty one if nothing is installed.
    pub(super) fn read(places: &Places) -> Result<Receipt, InstallError> {
        let path = places.here(&places.own()).join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Receipt {
                    format: FORMAT,
                    entries: Vec::new(),
                });
            }
            Err(error) => return Err(InstallError::read(&path)(error)),
        };
        let receipt: Receipt =
            serde_json::from_slice(&text).map_err(|error| InstallError::Receipt {
                path: path.clone(),
                problem: error.to_string(),
            })?;
        match receipt.format {
            FORMAT => Ok(receipt),
            other => Err(InstallError::Receipt {
                path,
                problem: format!("it has format {other}, this version knows {FORMAT}"),
            }),
        }
    }

    /// Notes that `path` gets a file with this digest. What others had there is kept, once.
    pub(super) fn note_file(
        &mut self,
        places: &Places,
        changes: &Changes<'_>,
        path: &Path,
        digest_of_new: &str,
    ) -> Result<(), InstallError> {
        let here = places.here(path);
        let found = self.entries.iter_mut().find_map(|entry| match entry {
            Entry::File {
                path: of, digests, ..
            } if of == path => Some(digests),
            _ => None,
        });
        match found {
            Some(digests) => {
                digests.retain(|digest| digest != digest_of_new);
                digests.push(digest_of_new.to_owned());
                let superfluous = digests.len().saturating_sub(DIGESTS);
                digests.drain(..superfluous);
            }
            None => {
                let before = self.keep_what_was(places, changes, path, &here)?;
                self.entries.push(Entry::File {
                    path: path.to_owned(),
                    digests: vec![digest_of_new.to_owned()],
                    before,
                });
            }
        }
        self.write(places, changes)
    }

    fn keep_what_was(
        &self,
        places: &Places,
        changes: &Changes<'_>,
        path: &Path,
        here: &Path,
    ) -> Result<Option<PathBuf>, InstallError> {
        if !here.exists() {
            return Ok(None);
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        let kept = places.before().join(name);
        changes.keep(here, &places.here(&kept))?;
        Ok(Some(kept))
    }

    /// Notes that a file of others is moved.
    pub(super) fn note_move(
        &mut self,
        places: &Places,
        changes: &Changes<'_>,
        from: &Path,
        to: &Path,
    ) -> Result<(), InstallError> {
        let entry = Entry::Moved {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        if self.entries.contains(&entry) {
            return Ok(());
        }
        self.entries.push(entry);
        self.write(places, changes)
    }

    fn write(&self, places: &Places, changes: &Changes<'_>) -> Result<(), InstallError> {
        let path = places.here(&places.own()).join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(|error| InstallError::Receipt {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        changes.note(&path, &text)
    }

    /// Removes the file.
    pub(super) fn forget(places: &Places, changes: &Changes<'_>) -> Result<(), InstallError> {
        changes.forget(&places.here(&places.own()).join(NAME))
    }
}

/// Whether a file is one that we put there.
pub(super) fn is_ours(here: &Path, digests: &[String]) -> bool {
    digest(here).is_ok_and(|digest| digests.contains(&digest))
}
