//! Sockets of servers: for their owner only, published at their path by a rename so that a new server takes over from an old
//! one, kept there, and removed only by the server whose socket it is.
//!
//! A socket listens under a name of its own for as long as its server lives; its path is another link to the same file. So
//! the server can publish the socket again when the path was lost: a new server that had taken the path ended, or somebody
//! removed the link.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::net::{UnixListener, UnixStream};

/// How often a socket's path is checked.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A socket that cannot be made or published.
#[derive(Debug, thiserror::Error)]
#[error("making the socket {}; may this process write to its folder?", .path.display())]
pub struct SocketError {
    /// Its path.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A socket that listens under its own name, but not yet at its path.
#[derive(Debug)]
pub struct Unpublished {
    socket: Published,
    listener: UnixListener,
}

/// A socket at its path. Its files are removed with this value, but for the path if another server has taken it.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    /// The socket's own name.
    own: PathBuf,
    /// Device and inode of the file, whatever its name.
    identity: (u64, u64),
}

impl Unpublished {
    /// Binds under a name of its own, in a folder for the owner only, which is made if it is missing. Names that
    /// dead servers left are removed.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn bind(path: &Path) -> Result<Unpublished, SocketError> {
        let failed = |source| SocketError {
            path: path.to_owned(),
            source,
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        let make = || -> io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
        };
        make().map_err(failed)?;
        sweep(folder, &prefix).await.map_err(failed)?;
        let own = folder.join(format!("{prefix}{:016x}", random()));
        let bind = || -> io::Result<Unpublished> {
            let listener = UnixListener::bind(&own)?;
            fs::set_permissions(&own, PermissionsExt::from_mode(0o600))?;
            let identity = identity(&own)?;
            let (path, own) = (path.to_owned(), own);
            let socket = Published {
                path,
                own,
                identity,
            };
            Ok(Unpublished { socket, listener })
        };
        bind().map_err(failed)
    }

    /// The path to publish the socket at.
    pub fn path(&self) -> &Path {
        &self.socket.path
    }

    /// Whether another process listens at the path.
    pub async fn is_taken(&self) -> bool {
        answers(&self.socket.path).await
    }

    /// Publishes the socket at its path, whoever had the path before: an older server finishes the calls that it has begun.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn publish(self) -> Result<(Published, UnixListener), SocketError> {
        self.socket.link()?;
        Ok((self.socket, self.listener))
    }
}

/// Who is found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// The socket of this server.
    Ours,
    /// Another process that answers.
    Taken,
    /// Nobody.
    Lost,
}

impl Published {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the socket published for as long as no other process listens at its path; ends only by failing, for example
    /// when the folder was emptied: the caller binds anew, or ends.
    pub async fn keep_published(self) -> SocketError {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            if let Err(error) = self.check().await {
                return error;
            }
        }
    }

    /// Checks the path once, and publishes the socket again if nobody answers at the path.
    ///
    /// # Errors
    /// [`SocketError`] if the socket cannot be published.
    pub async fn check(&self) -> Result<PathState, SocketError> {
        if self.is_ours() {
            return Ok(PathState::Ours);
        }
        if answers(&self.path).await {
            return Ok(PathState::Taken);
        }
        self.link()?;
        tracing::warn!(socket = %self.path.display(), "the socket's file was lost, and was made again");
        Ok(PathState::Lost)
    }

    fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }

    /// Makes the path a link to the socket, in one step.
    fn link(&self) -> Result<(), SocketError> {
        let mut link = self.own.clone().into_os_string();
        link.push(".link");
        fs::hard_link(&self.own, &link)
            .and_then(|()| fs::rename(&link, &self.path))
            .map_err(|source| SocketError {
                path: self.path.clone(),
                source,
            })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let published = self.is_ours().then_some(&self.path);
        for path in published.into_iter().chain([&self.own]) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a socket's file stays");
                }
                _ => {}
            }
        }
    }
}

/// Whether a process listens at `path`.
async fn answers(path: &Path) -> bool {
    match UnixStream::connect(path).await {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        ),
    }
}

/// Removes the names of servers that are dead.
async fn sweep(folder: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(prefix) || answers(&path).await {
            continue;
        }
        // One that has just bound it may not listen yet.
        tokio::time::sleep(POLL_INTERVAL / 20).await;
        if !answers(&path).await {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Which file a path leads to.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A number that no other process has in its names: the standard library seeds each RandomState from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    async fn published(path: &Path) -> (Published, UnixListener) {
        Unpublished::bind(path).await.unwrap().publish().unwrap()
    }

    async fn is_answered_by(path: &Path, listener: &UnixListener) -> bool {
        let accepted = tokio::time::timeout(Duration::from_secs(5), listener.accept());
        let (accepted, connected) = tokio::join!(accepted, UnixStream::connect(path));
        connected.is_ok() && accepted.is_ok_and(|accepted| accepted.is_ok())
    }

    #[tokio::test]
    async fn a_new_server_takes_the_path_and_the_old_one_leaves_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agent.sock");
        let (old, old_listener) = published(&path).await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        fs::write(folder.path().join("run/other"), "").unwrap();
        let (new, new_listener) = published(&path).await;
        drop((old, old_listener));
        assert!(is_answered_by(&path, &new_listener).await);
        drop(new);
        assert_eq!(names(&folder.path().join("run")), ["other"]);
    }

    #[tokio::test]
    async fn a_socket_that_is_never_published_leaves_nothing_and_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let (old, listener) = published(&path).await;
        let (first, second) = (
            Unpublished::bind(&path).await,
            Unpublished::bind(&path).await,
        );
        assert_eq!(names(folder.path()).len(), 4);
        assert!(second.as_ref().unwrap().is_taken().await);
        drop((first, second));
        assert!(is_answered_by(&path, &listener).await);
        drop(old);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[tokio::test]
    async fn the_name_of_a_dead_server_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(".agent.sock.0000000000000001");
        drop(UnixListener::bind(&dead).unwrap());
        let others = folder.path().join(".ipam.sock.0000000000000001");
        drop(UnixListener::bind(&others).unwrap());
        let bound = Unpublished::bind(&folder.path().join("agent.sock")).await;
        assert!(bound.is_ok() && !dead.exists() && others.exists());
    }

    /// Waits until whoever connects to `path` comes to `listener`.
    async fn is_found_again(path: &Path, listener: &UnixListener) {
        let found = async {
            while UnixStream::connect(path).await.is_err() {
                tokio::time::sleep(POLL_INTERVAL / 20).await;
            }
            listener.accept().await
        };
        let found = tokio::time::timeout(60 * POLL_INTERVAL, found).await;
        assert!(found.is_ok_and(|accepted| accepted.is_ok()));
    }

    #[tokio::test]
    async fn a_lost_path_is_taken_again_and_a_path_of_another_server_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let (old, listener) = published(&path).await;
        let keeping = tokio::spawn(old.keep_published());
        for lose in [
            |path: &Path| fs::remove_file(path).unwrap(),
            // A server that was killed after it had taken the path.
            |path: &Path| {
                fs::remove_file(path).unwrap();
                drop(UnixListener::bind(path).unwrap());
            },
        ] {
            lose(&path);
            is_found_again(&path, &listener).await;
        }
        let (new, new_listener) = published(&path).await;
        // The old server checks the path twice; with a paused clock that takes no time.
        tokio::time::pause();
        tokio::time::sleep(2 * POLL_INTERVAL).await;
        tokio::time::resume();
        assert!(new.is_ours());
        drop((new, new_listener));
        is_found_again(&path, &listener).await;

        // The folder was emptied: it ends.
        for name in names(folder.path()) {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        let error = keeping.await.unwrap();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    }
}
