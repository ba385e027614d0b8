//! Sockets: bound before anything is served, found by nobody before the store is open, and kept in their place.
//!
//! Two servers of one store meet at a rolling restart: the new one waits until the old one has closed the store, and puts
//! its socket in the place only then. A socket's file is removed only by the server whose it is ([`process::socket`]).

pub mod crowd;
pub mod incoming;
pub mod kept;
pub mod secure;

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::socket::{Published, Unpublished};
use tokio::net::{TcpListener, UnixListener};

/// How often an address that another server still has is tried again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// An address and port.
    Tcp(std::net::SocketAddr),
}

/// A socket that is bound.
#[derive(Debug)]
pub enum Bound {
    /// In the file system, under a name that nobody knows.
    Unix(Unpublished),
    /// On TCP.
    Tcp(TcpListener),
}

/// A socket that is reachable.
#[derive(Debug)]
pub enum Open {
    /// In the file system; the file is removed with its place.
    Unix(UnixListener, Published),
    /// On TCP.
    Tcp(TcpListener),
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
    /// Binds an address. A socket's folder is made if missing; its file is for its owner only. A TCP port that another
    /// server has is waited for until `patience` ends.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(address: &Address, patience: Instant) -> Result<Bound, ListenError> {
        match address {
            Address::Tcp(at) => {
                let io = |source| ListenError::Io {
                    address: format!("tcp://{at}"),
                    source,
                };
                bind_tcp(*at, patience).await.map(Bound::Tcp).map_err(io)
            }
            Address::Unix(path) => bind_unix(path).await.map(Bound::Unix),
        }
    }

    /// Its real address, as clients name it.
    ///
    /// # Errors
    /// If the system does not return it.
    pub fn address(&self) -> std::io::Result<String> {
        Ok(match self {
            Bound::Unix(socket) => format!("unix://{}", socket.path().display()),
            Bound::Tcp(listener) => format!("tcp://{}", listener.local_addr()?),
        })
    }

    /// Makes it reachable. A socket's file that nobody answers at is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn open(self) -> Result<Open, ListenError> {
        match self {
            Bound::Tcp(listener) => Ok(Open::Tcp(listener)),
            Bound::Unix(socket) => publish(socket).await,
        }
    }
}

/// Listens on TCP. A port that another process has is waited for until `patience` ends.
///
/// # Errors
/// What the system says.
pub async fn bind_tcp(at: std::net::SocketAddr, patience: Instant) -> std::io::Result<TcpListener> {
    loop {
        match TcpListener::bind(at).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < patience => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            bound => return bound,
        }
    }
}

async fn bind_unix(path: &Path) -> Result<Unpublished, ListenError> {
    let io = |source| ListenError::Io {
        address: format!("unix://{}", path.display()),
        source,
    };
    check_kind(path)?;
    Unpublished::bind(path)
        .await
        .map_err(|error| io(error.source))
}

async fn publish(socket: Unpublished) -> Result<Open, ListenError> {
    let path = socket.path().to_owned();
    check_kind(&path)?;
    if socket.is_taken().await {
        return Err(ListenError::Taken { path });
    }
    match socket.publish() {
        Ok((socket, listener)) => Ok(Open::Unix(listener, socket)),
        Err(error) => Err(ListenError::Io {
            address: format!("unix://{}", path.display()),
            source: error.source,
        }),
    }
}

/// A file that is no socket refuses a connection as well: it is somebody's.
fn check_kind(path: &Path) -> Result<(), ListenError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let path = path.to_owned();
            Err(ListenError::NotASocket { path })
        }
        Err(source) if source.kind() != ErrorKind::NotFound => Err(ListenError::Io {
            address: format!("unix://{}", path.display()),
            source,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn bound(path: &Path) -> Result<Bound, ListenError> {
        Bound::bind(&Address::Unix(path.to_owned()), Instant::now()).await
    }

    async fn open(path: &Path) -> Result<Open, ListenError> {
        bound(path).await?.open().await
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/ipam.sock");
        std::fs::create_dir(folder.path().join("run")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = open(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(open(&path).await, Err(ListenError::Taken { .. })));
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_end_of_an_old_server_leaves_the_socket_of_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipam.sock");
        let Open::Unix(listener, socket) = open(&path).await.unwrap() else {
            panic!("a socket in the file system");
        };
        let new = bound(&path).await.unwrap();
        drop(listener);
        let new = new.open().await.unwrap();
        drop(socket);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(new);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        let refused = open(&path).await;
        assert!(matches!(refused, Err(ListenError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_port_that_another_server_has_is_waited_for() {
        let port = bind_tcp("127.0.0.1:0".parse().unwrap(), Instant::now());
        let taken = port.await.unwrap();
        let at = taken.local_addr().unwrap();
        let refused = bind_tcp(at, Instant::now()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let later = Instant::now() + Duration::from_secs(60);
        let waiting = tokio::spawn(bind_tcp(at, later));
        tokio::task::yield_now().await;
        drop(taken);
        assert_eq!(waiting.await.unwrap().unwrap().local_addr().unwrap(), at);
    }
}
