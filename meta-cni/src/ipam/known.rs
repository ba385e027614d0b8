//! Which store of a server knows what this node's records hold: one small file a server, `<stateDir>/ipam-servers/<hash>.json`.
//! It is written after the server has taken a report, and whenever a later revision of the store was seen. One that is
//! lost only makes the next ADD report again.

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fnv::FnvHasher;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use proto::ipam::v1::StoreMark;
use serde::{Deserialize, Serialize};

use super::config::Server;
use crate::private::private_folder;

/// How long after a report that met conflicts the next one is due.
const CONFLICT_PAUSE: Duration = Duration::from_secs(60);
/// The pause before the lock of a report is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The file of one server.
#[derive(Clone, Debug)]
pub struct Known {
    path: PathBuf,
    server: String,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Knowledge {
    /// The server's address.
    pub server: String,
    /// The store that everything was reported to; empty: none.
    pub store: String,
    /// The latest revision of it that was seen.
    pub revision: u64,
    /// The store's proof of that revision.
    pub proof: String,
    /// The node, as the leases' owners name it.
    pub node: String,
    /// What the records hold and the store could not take in, a sentence each.
    pub conflicts: Vec<String>,
    /// Whether the store lacks all pools of an address that the records hold: until it has one, another pod could get
    /// the address.
    pub is_pool_missing: bool,
}

impl Knowledge {
    /// The store, as requests name it.
    pub fn mark(&self) -> StoreMark {
        StoreMark {
            id: self.store.clone(),
            revision: self.revision,
            proof: self.proof.clone(),
        }
    }
}

impl Known {
    /// The file of `server` below a state folder. Nothing is read or made yet.
    pub fn new(state_dir: &Path, server: &Server) -> Known {
        let mut hasher = FnvHasher::default();
        hasher.write(server.address.as_bytes());
        let name = format!("{:016x}.json", hasher.finish());
        Known {
            path: state_dir.join("ipam-servers").join(name),
            server: server.address.clone(),
        }
    }

    /// What it says; nothing is known if there is no file, or one that cannot be read.
    pub fn read(&self) -> Knowledge {
        let read = fs::read(&self.path).ok();
        let found: Option<Knowledge> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        found
            .filter(|found| found.server == self.server)
            .unwrap_or_default()
    }

    /// Whether a report that met conflicts is to be made again.
    pub fn is_due(&self, knowledge: &Knowledge) -> bool {
        if knowledge.is_pool_missing {
            return true;
        }
        let written = || fs::metadata(&self.path).and_then(|file| file.modified());
        let age = || written().ok().and_then(|written| written.elapsed().ok());
        !knowledge.conflicts.is_empty() && age().is_none_or(|age| age >= CONFLICT_PAUSE)
    }

    /// Writes what is known. Readers see it whole; after a power cut it may be gone.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, knowledge: &Knowledge) -> io::Result<()> {
        let knowledge = Knowledge {
            server: self.server.clone(),
            ..knowledge.clone()
        };
        self.make_folder()?;
        let temporary = self
            .path
            .with_extension(format!("{}.new", std::process::id()));
        let mut file = private(&temporary)?;
        file.write_all(&serde_json::to_vec(&knowledge)?)?;
        fs::rename(&temporary, &self.path)
    }

    /// Notes a store that has answered: a later revision of the store that is known, or nothing.
    pub fn see(&self, before: &Knowledge, answered: Option<&StoreMark>) {
        let Some(mark) = answered else { return };
        if mark.id != before.store || mark.revision <= before.revision || self.is_due(before) {
            return;
        }
        let seen = Knowledge {
            revision: mark.revision,
            proof: mark.proof.clone(),
            ..before.clone()
        };
        if let Err(error) = self.write(&seen) {
            tracing::debug!(path = %self.path.display(), %error, "a store's revision is not noted");
        }
    }

    /// The right to report, waiting up to `limit` for others that report.
    ///
    /// # Errors
    /// EWOULDBLOCK if they go on for longer; what the system says of the file.
    pub fn lock(&self, limit: impl Fn() -> Duration) -> io::Result<Flock<File>> {
        self.make_folder()?;
        loop {
            let file = private(&self.path.with_extension("lock"))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((_, Errno::EWOULDBLOCK)) if limit() > LOCK_PAUSE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err((_, errno)) => return Err(errno.into()),
            }
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        private_folder(folder)
    }
}

fn private(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> Server {
        Server {
            address: address.to_owned(),
            tls: None,
        }
    }

    #[test]
    fn a_store_is_known_once_it_was_written_and_its_revision_only_rises() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::new(folder.path(), &server("unix:///a"));
        assert_eq!(known.read(), Knowledge::default());
        let first = Knowledge {
            store: "one".to_owned(),
            revision: 7,
            node: "n1".to_owned(),
            ..Knowledge::default()
        };
        known.write(&first).unwrap();
        for (id, revision, expected) in [("one", 9, 9), ("one", 8, 9), ("two", 20, 9)] {
            let id = id.to_owned();
            let proof = revision.to_string();
            let mark = StoreMark {
                id,
                revision,
                proof,
            };
            known.see(&known.read(), Some(&mark));
            assert_eq!(known.read().revision, expected);
        }
        assert_eq!(known.read().mark().id, "one");
        assert_eq!(known.read().mark().proof, "9");
        let other = Known::new(folder.path(), &server("unix:///b"));
        assert_eq!(other.read(), Knowledge::default());
    }

    #[test]
    fn a_report_is_due_at_once_while_a_pool_is_missing_and_after_a_pause_for_other_conflicts() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::new(folder.path(), &server("unix:///a"));
        for (conflicts, is_pool_missing, expected) in
            [(0, false, false), (1, false, false), (1, true, true)]
        {
            let knowledge = Knowledge {
                store: "one".to_owned(),
                conflicts: vec!["pod default/a".to_owned(); conflicts],
                is_pool_missing,
                ..Knowledge::default()
            };
            known.write(&knowledge).unwrap();
            assert_eq!(known.is_due(&known.read()), expected, "{conflicts}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::new(folder.path(), &server("unix:///a"));
        known.write(&Knowledge::default()).unwrap();
        fs::write(&known.path, b"{\"store\":\"on").unwrap();
        assert_eq!(known.read(), Knowledge::default());
    }

    #[test]
    fn one_reports_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::new(folder.path(), &server("unix:///a"));
        let first = known.lock(|| Duration::ZERO).unwrap();
        assert!(known.lock(|| Duration::ZERO).is_err());
        drop(first);
        assert!(known.lock(|| Duration::ZERO).is_ok());
    }
}
