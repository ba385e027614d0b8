//! Releases that could not be delivered: one file each under `<stateDir>/releases`, durable before the DEL succeeds.
//! Whoever reaches the server next delivers them.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use proto::ipam::v1::ReleaseAttachmentRequest;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::config::Server;

/// Releases that one run delivers at most: a pod does not wait for the whole backlog.
const AT_ONCE: usize = 64;

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
    /// The file.
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
            fs::create_dir_all(&self.folder)?;
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

    /// Delivers what waits for `server`, unless another run is at it. What cannot be delivered stays.
    pub fn deliver(&self, server: &Server, client: &Client) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        if files.is_empty() {
            return;
        }
        let Some(_lock) = self.lock(FlockArg::LockExclusiveNonblock) else {
            return;
        };
        for path in files.iter().take(AT_ONCE) {
            if let Err(error) = deliver_one(path, server, client) {
                tracing::warn!(path = %path.display(), %error, "a release waits on");
                return;
            }
        }
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
        // Whoever delivers it now is waited for.
        let _lock = self.lock(FlockArg::LockExclusive);
        deliver_one(&path, server, client).map_err(|source| QueueError {
            path: path.clone(),
            source,
        })
    }

    fn lock(&self, how: FlockArg) -> Option<Flock<File>> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.folder.join("lock"));
        Flock::lock(file.ok()?, how).ok()
    }

    fn file(&self, release: &ReleaseAttachmentRequest) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        (&release.network, &release.ifname).hash(&mut hasher);
        let name = format!("{}.{:016x}.json", release.container_id, hasher.finish());
        self.folder.join(name)
    }
}

fn deliver_one(path: &Path, server: &Server, client: &Client) -> io::Result<()> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes?,
    };
    let Ok(waiting) = serde_json::from_slice::<Waiting>(&bytes) else {
        tracing::warn!(path = %path.display(), "a release cannot be read and is set aside");
        return fs::rename(path, path.with_extension("unreadable"));
    };
    if waiting.server != *server {
        return Ok(());
    }
    let release = ReleaseAttachmentRequest {
        network: waiting.network,
        container_id: waiting.container_id,
        ifname: waiting.ifname,
    };
    client
        .call(release, |mut leases, request| async move {
            leases.release_attachment(request).await
        })
        .map_err(|status| io::Error::other(status.message().to_owned()))?;
    fs::remove_file(path)
}
