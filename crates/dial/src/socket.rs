//! Sockets of servers: for their owner only, put in place by a rename so that a new server takes over from an old one,
//! kept there, and removed only by the server whose socket it is.
//!
//! A socket listens under a name of its own for as long as its server lives; its place is another link to the same file. So
//! it can be put there again when the place was lost: a new server that had taken it ended, or somebody removed it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::net::{UnixListener, UnixStream};

/// How often a socket's place is checked.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A socket that cannot be made, or put in its place.
#[derive(Debug, thiserror::Error)]
#[error("making the socket {}; may this process write to its folder?", .path.display())]
pub struct SocketError {
    /// Its path.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A socket that listens, but that nobody finds yet.
#[derive(Debug)]
pub struct Hidden {
    place: Place,
    listener: UnixListener,
}

/// Where a socket is to be found. Its files go with this value, unless another server has taken the place.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// The socket's own name.
    own: PathBuf,
    /// Device and inode of the file, whatever its name.
    identity: (u64, u64),
}

impl Hidden {
    /// Binds under a name of its own, in a folder for the owner only, which is made if it is missing. Names that
    /// dead servers left are removed.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn bind(path: &Path) -> Result<Hidden, SocketError> {
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
        let bind = || -> io::Result<Hidden> {
            let listener = UnixListener::bind(&own)?;
            fs::set_permissions(&own, PermissionsExt::from_mode(0o600))?;
            let identity = identity(&own)?;
            let (path, own) = (path.to_owned(), own);
            let place = Place {
                path,
                own,
                identity,
            };
            Ok(Hidden { place, listener })
        };
        bind().map_err(failed)
    }

    /// The place.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Whether another process listens in the place.
    pub async fn is_taken(&self) -> bool {
        answers(&self.place.path).await
    }

    /// Puts it in its place, whoever had that before: calls that an older server has begun are finished by it.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn publish(self) -> Result<(Place, UnixListener), SocketError> {
        self.place.take()?;
        Ok((self.place, self.listener))
    }
}

/// Who is found in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The socket whose place it is.
    Ours,
    /// Another process that answers.
    Taken,
    /// Nobody.
    Lost,
}

impl Place {
    /// Where the socket is to be found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the socket in its place for as long as nobody else listens there; ends only by failing, for example when the
    /// folder was emptied: the caller binds anew, or ends.
    pub async fn keep(self) -> SocketError {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            if let Err(error) = self.check().await {
                return error;
            }
        }
    }

    /// Checks the place once, and takes it again if nobody is found there.
    ///
    /// # Errors
    /// [`SocketError`] if it cannot be taken.
    pub async fn check(&self) -> Result<Standing, SocketError> {
        if self.is_ours() {
            return Ok(Standing::Ours);
        }
        if answers(&self.path).await {
            return Ok(Standing::Taken);
        }
        self.take()?;
        tracing::warn!(socket = %self.path.display(), "the socket's file was lost, and is in its place again");
        Ok(Standing::Lost)
    }

    fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }

    fn take(&self) -> Result<(), SocketError> {
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

impl Drop for Place {
    fn drop(&mut self) {
        let place = self.is_ours().then_some(&self.path);
        for path in place.into_iter().chain([&self.own]) {
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

    async fn published(path: &Path) -> (Place, UnixListener) {
        Hidden::bind(path).await.unwrap().publish().unwrap()
    }

    async fn is_answered_by(path: &Path, listener: &UnixListener) -> bool {
        let accepted = tokio::time::timeout(Duration::from_secs(5), listener.accept());
        let (accepted, connected) = tokio::join!(accepted, UnixStream::connect(path));
        connected.is_ok() && accepted.is_ok_and(|accepted| accepted.is_ok())
    }

    #[tokio::test]
    async fn a_new_server_takes_the_place_and_the_old_one_leaves_it_alone() {
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
        let (first, second) = (Hidden::bind(&path).await, Hidden::bind(&path).await);
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
        let hidden = Hidden::bind(&folder.path().join("agent.sock")).await;
        assert!(hidden.is_ok() && !dead.exists() && others.exists());
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
    async fn a_place_that_was_lost_is_taken_again_and_one_that_another_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let (old, listener) = published(&path).await;
        let keeping = tokio::spawn(old.keep());
        for lose in [
            |path: &Path| fs::remove_file(path).unwrap(),
            // A server that was killed after it had taken the place.
            |path: &Path| {
                fs::remove_file(path).unwrap();
                drop(UnixListener::bind(path).unwrap());
            },
        ] {
            lose(&path);
            is_found_again(&path, &listener).await;
        }
        let (new, new_listener) = published(&path).await;
        tokio::time::sleep(2 * POLL_INTERVAL).await;
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
