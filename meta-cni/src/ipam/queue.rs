//! Releases that could not be delivered: one file each under `<stateDir>/releases`, durable before the DEL succeeds.
//! Whoever reaches the server next delivers them: the next plugin some, the node's agent all.

pub(crate) mod folder;

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::Hasher as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use fnv::FnvHasher;
use nix::errno::Errno;
use nix::fcntl::Flock;
use proto::ipam::v1::ReleaseAttachmentRequest;
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::client::Client;
use super::config::Server;
use super::failure::QueueError;
use folder::Folder;

/// Releases that are delivered under one lock at most: a pod does not wait for the whole backlog.
pub const AT_ONCE: usize = 64;
/// How long a plugin that has its lease delivers for others.
const IN_PASSING: Duration = Duration::from_secs(1);
/// The pause before another check whether the delivering process is done.
const PAUSE: Duration = Duration::from_millis(10);
/// The folder below `stateDir`.
const FOLDER: &str = "releases";

/// Releases that wait. The folder is opened once, at the first use.
#[derive(Debug)]
pub struct Queue {
    state_dir: PathBuf,
    folder: OnceLock<Folder>,
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

/// The file of a release, and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's name.
    pub name: String,
    /// Since when the release waits.
    pub since: SystemTime,
}

/// What became of releases that were sent.
#[derive(Debug, Default)]
pub struct Delivered {
    /// How many were taken, or set aside because the server never takes them.
    pub done: usize,
    /// The files that wait on, each with what the server said.
    pub left: Vec<(String, String)>,
}

impl Queue {
    /// The queue below a state folder.
    pub fn new(state_dir: &Path) -> Queue {
        Queue {
            state_dir: state_dir.to_owned(),
            folder: OnceLock::new(),
        }
    }

    /// The folder, if there is one.
    fn folder(&self) -> io::Result<Option<&Folder>> {
        if self.folder.get().is_none()
            && let Some(opened) = Folder::open(&self.state_dir, FOLDER)?
        {
            return Ok(Some(self.folder.get_or_init(|| opened)));
        }
        Ok(self.folder.get())
    }

    /// The folder, made if there is none.
    fn made(&self) -> io::Result<&Folder> {
        match self.folder.get() {
            Some(folder) => Ok(folder),
            None => {
                let made = Folder::make(&self.state_dir, FOLDER)?;
                Ok(self.folder.get_or_init(|| made))
            }
        }
    }

    fn failed(&self, name: &str) -> impl FnOnce(io::Error) -> QueueError {
        let path = self.state_dir.join(FOLDER).join(name);
        |source| QueueError { path, source }
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
        let waiting = Waiting {
            server: server.clone(),
            network: release.network.clone(),
            container_id: release.container_id.clone(),
            ifname: release.ifname.clone(),
        };
        let name = self.place(server, release);
        let name = name.map_err(self.failed(&file_of(release)))?;
        let bytes = serde_json::to_vec(&waiting).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| self.made()?.write(&name, &bytes));
        written.map_err(self.failed(&name))
    }

    /// The file for a release: the one that every version finds, unless a release for another server waits there.
    fn place(&self, server: &Server, release: &ReleaseAttachmentRequest) -> io::Result<String> {
        let shared = file_of(release);
        Ok(match self.read(&shared)? {
            Some((waiting, _)) if waiting.server.address != server.address => {
                file_of_server(server, release)
            }
            _ => shared,
        })
    }

    /// Whether a release waits for a server.
    pub fn waits(&self, server: &Server, release: &ReleaseAttachmentRequest) -> bool {
        let mut names = files_of(server, release).into_iter();
        names.any(|name| self.is_for(server, &name).unwrap_or(false))
    }

    /// Whether a file holds a release for a server.
    fn is_for(&self, server: &Server, name: &str) -> io::Result<bool> {
        let waiting = self.read(name)?;
        Ok(waiting.is_some_and(|(waiting, _)| waiting.server.address == server.address))
    }

    /// The files of all releases that wait.
    fn names(&self) -> Result<Vec<String>, QueueError> {
        let names = match self.folder() {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(folder)) => folder.names(),
            Err(error) => Err(error),
        };
        let mut names = names.map_err(self.failed(""))?;
        names.retain(|name| name.ends_with(".json"));
        Ok(names)
    }

    /// All releases that wait, by the server that each names, the oldest first.
    ///
    /// # Errors
    /// [`QueueError`] if the folder cannot be read; without a folder, nothing waits.
    pub fn by_server(&self) -> Result<BTreeMap<Server, Vec<Entry>>, QueueError> {
        let mut by_server: BTreeMap<Server, Vec<Entry>> = BTreeMap::new();
        for name in self.names()? {
            // One that has just been delivered is of nobody, nor is one that cannot be read.
            if let Ok(Some((waiting, since))) = self.read(&name) {
                let entries = by_server.entry(waiting.server).or_default();
                entries.push(Entry { name, since });
            }
        }
        for entries in by_server.values_mut() {
            entries.sort_by_key(|entry| entry.since);
        }
        Ok(by_server)
    }

    /// Delivers some of what waits for `server` within a second, unless another run is at it. What cannot be delivered
    /// stays.
    pub fn deliver(&self, server: &Server, client: &Client) {
        let is_of_server = |name: &String| matches!(self.read(name), Ok(Some((waiting, _))) if waiting.server == *server);
        let Ok(names) = self.names() else {
            return;
        };
        let names: Vec<_> = names
            .into_iter()
            .filter(is_of_server)
            .take(AT_ONCE)
            .collect();
        let delivered = self.deliver_files(&names, server, client, IN_PASSING);
        if let Some((_, error)) = delivered.left.first() {
            tracing::warn!(error, "releases wait on");
        }
    }

    /// Delivers those of the files that wait for `server`, unless another run is at it: all at once, each with `limit` for
    /// its answer.
    pub fn deliver_files(
        &self,
        names: &[String],
        server: &Server,
        client: &Client,
        limit: Duration,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let (Ok(Some(folder)), false) = (self.folder(), names.is_empty()) else {
            return delivered;
        };
        let Ok(_lock) = folder.lock(&lock_of(server)) else {
            return delivered;
        };
        let mut waiting = Vec::new();
        for name in names {
            match self.read(name) {
                Ok(Some((one, _))) if one.server == *server => waiting.push((name, one.release())),
                Ok(_) => {}
                Err(error) => delivered.left.push((name.clone(), error.to_string())),
            }
        }
        let requests = waiting.iter().map(|(_, release)| release.clone());
        let answers = client.call_all(requests, limit, |mut leases, request| async move {
            leases.release_attachment(request).await
        });
        for ((name, _), answer) in waiting.into_iter().zip(answers) {
            match settled(folder, name, answer.map(drop)) {
                Ok(()) => delivered.done += 1,
                Err(error) => delivered.left.push((name.clone(), error.to_string())),
            }
        }
        delivered
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
        let mut names = files_of(server, release).into_iter();
        names.try_for_each(|name| self.settle_file(server, client, &name))
    }

    fn settle_file(&self, server: &Server, client: &Client, name: &str) -> Result<(), QueueError> {
        let folder = match self.folder().map_err(self.failed(name))? {
            Some(folder) if folder.has(name) => folder,
            _ => return Ok(()),
        };
        // Whoever delivers it now is waited for, as long as there is time.
        let lock_file = lock_of(server);
        let mut lock = folder.lock(&lock_file);
        while is_taken(&lock) && folder.has(name) && !client.left().is_zero() {
            std::thread::sleep(PAUSE);
            lock = folder.lock(&lock_file);
        }
        let deliver = || -> io::Result<()> {
            let Some((waiting, _)) = self.read(name)? else {
                return Ok(());
            };
            if waiting.server.address != server.address {
                return Ok(());
            }
            let answer = client.call(waiting.release(), |mut leases, request| async move {
                leases.release_attachment(request).await
            });
            settled(folder, name, answer.map(drop))
        };
        deliver().map_err(self.failed(name))
    }

    /// A release that waits, and since when; none if it was delivered meanwhile, or cannot be read: it is set aside.
    fn read(&self, name: &str) -> io::Result<Option<(Waiting, SystemTime)>> {
        let Some(folder) = self.folder()? else {
            return Ok(None);
        };
        let read = match folder.read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok((bytes, since)) => serde_json::from_slice(&bytes)
                .map(|waiting| (waiting, since))
                .map_err(|error| error.to_string()),
            // No regular file, or too large a one.
            Err(error)
                if error.kind() == io::ErrorKind::InvalidInput
                    || error.raw_os_error() == Some(Errno::ELOOP as i32) =>
            {
                Err(error.to_string())
            }
            // Out of file descriptors, for example: the release waits on.
            Err(error) => return Err(error),
        };
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => {
                tracing::warn!(name, error, "a release cannot be read and is set aside");
                folder.rename(name, &aside(name, "unreadable"))?;
                Ok(None)
            }
        }
    }
}

impl Waiting {
    fn release(self) -> ReleaseAttachmentRequest {
        ReleaseAttachmentRequest {
            network: self.network,
            container_id: self.container_id,
            ifname: self.ifname,
        }
    }
}

fn is_taken(lock: &Result<Flock<File>, Errno>) -> bool {
    matches!(lock, Err(Errno::EWOULDBLOCK))
}

/// The file of a release: the same in every version of this program, each of which may find it.
fn file_of(release: &ReleaseAttachmentRequest) -> String {
    file_of_all(release, &[&release.network, &release.ifname])
}

/// The file of a release for a server where one for another server waits in [`file_of`]'s.
fn file_of_server(server: &Server, release: &ReleaseAttachmentRequest) -> String {
    file_of_all(
        release,
        &[&release.network, &release.ifname, &server.address],
    )
}

/// Where a release for a server may wait.
fn files_of(server: &Server, release: &ReleaseAttachmentRequest) -> [String; 2] {
    [file_of(release), file_of_server(server, release)]
}

fn file_of_all(release: &ReleaseAttachmentRequest, names: &[&str]) -> String {
    let mut hasher = FnvHasher::default();
    for (place, name) in names.iter().enumerate() {
        if place > 0 {
            // No name of a network has a NUL.
            hasher.write(&[0]);
        }
        hasher.write(name.as_bytes());
    }
    format!("{}.{:016x}.json", release.container_id, hasher.finish())
}

/// The file whose lock is the right to deliver to a server: one that is stuck holds up no other.
fn lock_of(server: &Server) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(server.address.as_bytes());
    format!("lock-{:016x}", hasher.finish())
}

fn aside(name: &str, why: &str) -> String {
    format!("{}.{why}", name.trim_end_matches(".json"))
}

/// What an answer of the server means for the file of a release.
fn settled(folder: &Folder, name: &str, answer: Result<(), tonic::Status>) -> io::Result<()> {
    match answer {
        Ok(()) => folder.remove(name),
        // It will never be taken, and must not stand before the others.
        Err(status) if status.code() == Code::InvalidArgument => {
            let error = status.message();
            tracing::warn!(name, error, "a release is refused and set aside");
            folder.rename(name, &aside(name, "refused"))
        }
        Err(status) => Err(io::Error::other(status.message().to_owned())),
    }
}

#[cfg(test)]
mod tests;
