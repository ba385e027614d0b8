//! Sockets: bound before anything is served, and left behind by nobody.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use crate::config::Address;

/// A socket that is bound.
pub enum Bound {
    /// In the file system; the file is removed with it.
    Unix(UnixListener, SocketFile),
    /// On TCP.
    Tcp(TcpListener),
}

/// A socket's file, removed when this is dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the socket's file is gone already");
        }
    }
}

/// A socket that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("another server answers at {}; stop it, or choose another --listen", .path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not a socket; remove it, or choose another --listen", .path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("listening on {address}")]
    Io {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Bound {
    /// Binds an address. A socket's file that nobody answers at is replaced; its folder is made if missing. The
    /// file is for its owner only.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(address: &Address) -> Result<Bound, ListenError> {
        match address {
            Address::Tcp(at) => {
                let io = |source| ListenError::Io {
                    address: format!("tcp://{at}"),
                    source,
                };
                TcpListener::bind(at).await.map(Bound::Tcp).map_err(io)
            }
            Address::Unix(path) => bind_unix(path),
        }
    }

    /// Where it really is, as clients name it.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn address(&self) -> std::io::Result<String> {
        Ok(match self {
            Bound::Unix(_, file) => format!("unix://{}", file.0.display()),
            Bound::Tcp(listener) => format!("tcp://{}", listener.local_addr()?),
        })
    }
}

fn bind_unix(path: &Path) -> Result<Bound, ListenError> {
    let io = |source| ListenError::Io {
        address: format!("unix://{}", path.display()),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    // A file that is no socket refuses a connection as well: it is somebody's.
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            let path = path.to_owned();
            return Err(ListenError::NotASocket { path });
        }
        Ok(_) => {
            if still_answers(path).map_err(io)? {
                let path = path.to_owned();
                return Err(ListenError::Taken { path });
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // Bound under another name first: nobody connects before the rights are right.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // In a container every process has the same number: an earlier one may have left it.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(io)?;
    let file = std::fs::set_permissions(&temporary, PermissionsExt::from_mode(0o600))
        .and_then(|()| std::fs::rename(&temporary, path))
        .map(|()| SocketFile(path.to_owned()))
        .map_err(io)?;
    Ok(Bound::Unix(listener, file))
}

/// Whether somebody answers at a socket's file, or it was left behind.
fn still_answers(path: &Path) -> std::io::Result<bool> {
    match Probe::connect(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Address {
        Address::Unix(path.to_owned())
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/ipam.sock");
        std::fs::create_dir(folder.path().join("run")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound = Bound::bind(&at(&path)).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Bound::bind(&at(&path)).await;
        assert!(matches!(second, Err(ListenError::Taken { .. })));
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        let refused = Bound::bind(&at(&path)).await;
        assert!(matches!(refused, Err(ListenError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn what_an_earlier_process_of_the_same_number_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipam.sock");
        let left = folder
            .path()
            .join(format!("ipam.sock.{}", std::process::id()));
        drop(std::os::unix::net::UnixListener::bind(left).unwrap());
        Bound::bind(&at(&path)).await.unwrap();
    }
}
