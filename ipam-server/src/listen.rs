//! Sockets: bound before anything is served, and left behind by nobody.

use std::os::unix::fs::PermissionsExt;
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
    match Probe::connect(path) {
        Ok(_) => {
            return Err(ListenError::Taken {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(io)?;
        }
        Err(_) => {}
    }
    // Bound under another name first: nobody connects before the rights are right.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let listener = UnixListener::bind(&temporary).map_err(io)?;
    let file = std::fs::set_permissions(&temporary, PermissionsExt::from_mode(0o600))
        .and_then(|()| std::fs::rename(&temporary, path))
        .map(|()| SocketFile(path.to_owned()))
        .map_err(io)?;
    Ok(Bound::Unix(listener, file))
}
