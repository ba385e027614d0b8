//! Releases that could not be delivered: one file each under `<stateDir>/releases`, durable before the DEL succeeds.
//! Whoever reaches the server next delivers them: the next plugin some, the node's agent all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fnv::FnvHasher;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use proto::ipam::v1::ReleaseAttachmentRequest;
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::client::Client;
use super::config::Server;

/// Releases that are delivered under one lock at most: a pod does not wait for the whole backlog.
pub const AT_ONCE: usize = 64;
/// The pause before another look whether the one who delivers is done.
const PAUSE: Duration = Duration::from_millis(10);

/// Releases that wait.
#[derive(Clone, Debug)]
pub struct Queue {
    folder: PathBuf,
}

/// One release on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    server: Server,
    network: String,
    container_id: String,
    ifname: String,
}

/// A release that cannot be kept or found.
#[derive(Debug, thiserror::Error)]
#[error("keeping a release for later in {}", .path.display())]
pub struct QueueError {
    /// The file, or the folder of all.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Queue {
    /// The queue below a state folder.
    pub fn new(state_dir: &Path) -> Queue {
        Queue {
            folder: state_dir.join("releases"),
        }
    }

    /// Keeps a release; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn keep(
        &self,
        server: &Server,
        release: &ReleaseAttachmentRequest,
    ) -> Result<(), QueueError> {
        let path = self.file(release);
        let waiting = Waiting {
            server: server.clone(),
            network: release.network.clone(),
            container_id: release.container_id.clone(),
            ifname: release.ifname.clone(),
        };
        let write = || -> io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)?;
            let temporary = path.with_extension("new");
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&serde_json::to_vec(&waiting)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| QueueError {
            path: path.clone(),
            source,
        })
    }

    /// Whether a release waits.
    pub fn waits(&self, release: &ReleaseAttachmentRequest) -> bool {
        self.file(release).exists()
    }

    /// The files of all releases that wait.
    ///
    /// # Errors
    /// [`QueueError`] if the folder cannot be read; without a folder, nothing waits.
    pub fn files(&self) -> Result<Vec<PathBuf>, QueueError> {
        let list = || -> io::Result<Vec<PathBuf>> {
            let paths = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path()));
            let is_release = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "json");
            paths
                .filter(|path| path.as_ref().map_or(true, is_release))
                .collect()
        };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            files => files.map_err(|source| QueueError {
                path: self.folder.clone(),
                source,
            }),
        }
    }

    /// The same by the server that each names.
    ///
    /// # Errors
    /// As [`Queue::files`].
    pub fn by_server(&self) -> Result<BTreeMap<Server, Vec<PathBuf>>, QueueError> {
        let mut by_server: BTreeMap<Server, Vec<PathBuf>> = BTreeMap::new();
        for path in self.files()? {
            // One that has just been delivered is of nobody, nor is one that cannot be read.
            if let Ok(Some(waiting)) = read(&path) {
                by_server.entry(waiting.server).or_default().push(path);
            }
        }
        Ok(by_server)
    }

    /// Delivers some of what waits for `server`, unless another run is at it. What cannot be delivered stays.
    pub fn deliver(&self, server: &Server, client: &Client) {
        let of_server =
            |path: &PathBuf| matches!(read(path), Ok(Some(waiting)) if waiting.server == *server);
        let files = self.files().map(|files| {
            let files = files.into_iter().filter(of_server);
            files.take(AT_ONCE).collect::<Vec<_>>()
        });
        let delivered = match &files {
            Ok(files) => self.deliver_files(files, server, client),
            Err(_) => return,
        };
        if let Err(error) = delivered {
            tracing::warn!(%error, "releases wait on");
        }
    }

    /// Delivers those of `files` that wait for `server`, unless another run is at it.
    ///
    /// # Errors
    /// If one cannot be delivered: it stays, and so do those after it.
    pub fn deliver_files(
        &self,
        files: &[PathBuf],
        server: &Server,
        client: &Client,
    ) -> io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let Ok(_lock) = self.lock() else {
            return Ok(());
        };
        files
            .iter()
            .try_for_each(|path| deliver_one(path, server, client))
    }

    /// Before an attachment leases: a release of an earlier one of the same name goes first, else its delivery
    /// would end the new lease.
    ///
    /// # Errors
    /// [`QueueError`] if it is there and cannot be delivered.
    pub fn settle(
        &self,
        server: &Server,
        client: &Client,
        release: &ReleaseAttachmentRequest,
    ) -> Result<(), QueueError> {
        let path = self.file(release);
        if !path.exists() {
            return Ok(());
        }
        // Whoever delivers it now is waited for, as long as there is time.
        let mut lock = self.lock();
        while matches!(lock, Err(Errno::EWOULDBLOCK)) && path.exists() && !client.left().is_zero() {
            std::thread::sleep(PAUSE);
            lock = self.lock();
        }
        deliver_one(&path, server, client).map_err(|source| QueueError {
            path: path.clone(),
            source,
        })
    }

    /// The right to deliver; EWOULDBLOCK if somebody else has it.
    fn lock(&self) -> Result<Flock<File>, Errno> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.folder.join("lock"))
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)
    }

    /// The file of a release: the same in every version of this program, each of which may find it.
    fn file(&self, release: &ReleaseAttachmentRequest) -> PathBuf {
        let mut hasher = FnvHasher::default();
        hasher.write(release.network.as_bytes());
        // No name of a network has a NUL.
        hasher.write(&[0]);
        hasher.write(release.ifname.as_bytes());
        let name = format!("{}.{:016x}.json", release.container_id, hasher.finish());
        self.folder.join(name)
    }
}

/// A release that waits; none if it was delivered meanwhile, or cannot be read: it is set aside.
fn read(path: &Path) -> io::Result<Option<Waiting>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    match serde_json::from_slice(&bytes) {
        Ok(waiting) => Ok(Some(waiting)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a release cannot be read and is set aside");
            fs::rename(path, path.with_extension("unreadable"))?;
            Ok(None)
        }
    }
}

fn deliver_one(path: &Path, server: &Server, client: &Client) -> io::Result<()> {
    let Some(waiting) = read(path)?.filter(|waiting| waiting.server == *server) else {
        return Ok(());
    };
    let release = ReleaseAttachmentRequest {
        network: waiting.network,
        container_id: waiting.container_id,
        ifname: waiting.ifname,
    };
    let answer = client.call(release, |mut leases, request| async move {
        leases.release_attachment(request).await
    });
    match answer {
        Ok(_) => fs::remove_file(path),
        // It will never be taken, and must not stand before the others.
        Err(status) if status.code() == Code::InvalidArgument => {
            let error = status.message();
            tracing::warn!(path = %path.display(), error, "a release is refused and set aside");
            fs::rename(path, path.with_extension("refused"))
        }
        Err(status) => Err(io::Error::other(status.message().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another version of this program must find it: an attachment that comes again is to have no earlier release waiting.
    #[test]
    fn the_file_of_a_release_has_the_same_name_in_every_version() {
        let release = ReleaseAttachmentRequest {
            network: "default/blue".to_owned(),
            container_id: "abc".to_owned(),
            ifname: "net1".to_owned(),
        };
        let file = Queue::new(Path::new("/state")).file(&release);
        assert_eq!(file, Path::new("/state/releases/abc.2a1bcc8ab924a57b.json"));
    }
}
