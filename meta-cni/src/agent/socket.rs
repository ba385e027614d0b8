//! Sockets of the agent: for root only, put in place by a rename so that a new agent takes over from an old one, and
//! removed only by the agent whose socket it is.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, process};

use futures_util::{Stream, StreamExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;

/// A socket that cannot be made.
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
    path: PathBuf,
    temporary: Temporary,
    listener: UnixListener,
}

/// The name of its own that a socket has until it is published; goes with this value if it is still there.
#[derive(Debug)]
struct Temporary(PathBuf);

/// A socket in its place. Its file goes with this value, unless another agent has taken the place.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    inode: u64,
}

impl Hidden {
    /// Binds under a name of its own, in a folder for the owner only, which is made if it is not there.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Hidden, SocketError> {
        let bind = || -> io::Result<(UnixListener, Temporary)> {
            let folder = path.parent().unwrap_or(Path::new("/"));
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let temporary = folder.join(format!(".{}.{}", name.to_string_lossy(), process::id()));
            // An agent of this process ID that was killed left it.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&temporary)?;
            let temporary = Temporary(temporary);
            fs::set_permissions(&temporary.0, PermissionsExt::from_mode(0o600))?;
            Ok((listener, temporary))
        };
        let (listener, temporary) = bind().map_err(|source| SocketError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Hidden {
            path: path.to_owned(),
            temporary,
            listener,
        })
    }

    /// Puts it in its place, whoever had that before: calls that an older agent has begun are finished by it.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn publish(self) -> Result<(Place, UnixListener), SocketError> {
        let publish = || -> io::Result<u64> {
            let inode = fs::metadata(&self.temporary.0)?.ino();
            fs::rename(&self.temporary.0, &self.path)?;
            Ok(inode)
        };
        let inode = publish().map_err(|source| SocketError {
            path: self.path.clone(),
            source,
        })?;
        let place = Place {
            path: self.path,
            inode,
        };
        Ok((place, self.listener))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "a socket's file stays");
            }
            _ => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_ours = fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays");
        }
    }
}

/// The connections of root. Others, which the file's mode keeps out already, are closed.
pub fn of_root(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> {
    UnixListenerStream::new(listener).filter(|accepted| {
        let let_in = match accepted {
            Ok(stream) => is_root(stream),
            Err(_) => true,
        };
        std::future::ready(let_in)
    })
}

/// SO_PEERCRED (unix(7)): who connected, as the kernel noted it then.
fn is_root(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 => true,
        Ok(peer) => {
            tracing::warn!(
                uid = peer.uid(),
                pid = peer.pid(),
                "a connection was closed: only root may ask"
            );
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a connection was closed: whose it is cannot be learnt");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_agent_takes_the_place_and_the_old_one_leaves_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/agent.sock");
        let (old, old_listener) = Hidden::bind(&path).unwrap().publish().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        fs::write(folder.path().join("run/other"), "").unwrap();
        // Another agent, thus another process ID: the place is taken by rename.
        let new = UnixListener::bind(folder.path().join("run/new")).unwrap();
        let hidden = Hidden {
            path: path.clone(),
            temporary: Temporary(folder.path().join("run/new")),
            listener: new,
        };
        let (new, new_listener) = hidden.publish().unwrap();
        drop((old, old_listener));
        let accepted = tokio::join!(new_listener.accept(), UnixStream::connect(&path));
        assert!(accepted.0.is_ok() && accepted.1.is_ok());
        drop(new);
        assert!(!path.exists());
        assert!(folder.path().join("run/other").exists());
    }

    #[tokio::test]
    async fn a_socket_that_is_never_published_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let hidden = Hidden::bind(&folder.path().join("agent.sock")).unwrap();
        let there = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(there(), 1);
        drop(hidden);
        assert_eq!(there(), 0);
    }
}
