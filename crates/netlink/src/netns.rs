//! Work inside a network namespace: each piece of it on a thread of its own, which ends there, so that
//! no other thread ever finds itself in a foreign namespace (setns(2), namespaces(7)).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// A network namespace that could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nothing is at the path.
    #[error("network namespace {path} is not there: the sandbox is gone or was never made")]
    Missing {
        /// CNI_NETNS.
        path: PathBuf,
    },
    /// Something is at the path, but no network namespace.
    #[error(
        "{path} is not a network namespace: it was unmounted, or CNI_NETNS names something else"
    )]
    NotANamespace {
        /// CNI_NETNS.
        path: PathBuf,
    },
    /// We may not open or enter it.
    #[error("not allowed to enter network namespace {path}: run as root with CAP_SYS_ADMIN")]
    Forbidden {
        /// CNI_NETNS.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// It could not be opened or entered for another reason.
    #[error("cannot enter network namespace {path}")]
    Enter {
        /// CNI_NETNS.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// No thread could be started to enter it on.
    #[error("cannot start a thread to enter network namespace {path}: raise the limit of threads")]
    Thread {
        /// CNI_NETNS.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

/// Runs `f` inside the network namespace at `path`, on a thread that enters it and ends there, and
/// waits for it.
///
/// A panic of `f` goes on in the caller.
///
/// # Errors
/// [`NetnsError::Missing`] if nothing is at `path`; [`NetnsError::NotANamespace`] if it is a file of
/// another kind or a namespace of another kind; [`NetnsError::Forbidden`] without the right to open or
/// enter it; [`NetnsError::Enter`] and [`NetnsError::Thread`] for what else the kernel refuses. `f` was
/// not run in any of these cases.
pub fn within<T: Send>(path: &Path, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    Namespace::open(path)?.within(f)
}

/// A network namespace that was opened: it stays while this does.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// Opens the namespace at `path`.
    ///
    /// # Errors
    /// [`NetnsError::Missing`], [`NetnsError::NotANamespace`] and [`NetnsError::Forbidden`] as [`within`].
    pub fn open(path: &Path) -> Result<Namespace, NetnsError> {
        let file = open(path)?;
        let path = path.to_owned();
        Ok(Namespace { path, file })
    }

    /// Whether it is the one that the calling thread is in.
    ///
    /// # Errors
    /// [`NetnsError::Enter`] if the thread's own cannot be read.
    pub fn is_own(&self) -> Result<bool, NetnsError> {
        use std::os::unix::fs::MetadataExt as _;

        let own = Path::new("/proc/thread-self/ns/net");
        let unread = |source| NetnsError::Enter {
            path: own.to_owned(),
            source,
        };
        let own = own.metadata().map_err(unread)?;
        let this = self.file.metadata().map_err(unread)?;
        Ok((own.dev(), own.ino()) == (this.dev(), this.ino()))
    }

    /// Runs `f` inside, on a thread that enters the namespace and ends there, and waits for it. A panic of `f` goes on in
    /// the caller.
    ///
    /// # Errors
    /// [`NetnsError`] if it cannot be entered; `f` was not run then.
    pub fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let path = &self.path;
        thread::scope(|scope| {
            let inside = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, || {
                    let entered = setns(&self.file, CloneFlags::CLONE_NEWNET);
                    entered.map_err(|errno| enter(path, errno))?;
                    Ok(f())
                })
                .map_err(|source| NetnsError::Thread {
                    path: path.to_owned(),
                    source,
                })?;
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Checks that a namespace is at `path`, as there must be before any delegate runs (else CNI code 8).
/// Whether it is one of the network shows when it is entered.
///
/// # Errors
/// [`NetnsError::Missing`], [`NetnsError::NotANamespace`] and [`NetnsError::Forbidden`] as [`within`].
pub fn exists(path: &Path) -> Result<(), NetnsError> {
    open(path).map(drop)
}

/// Whether the namespace that was at `path` is known to be gone: its folder can be seen, and it is not in it.
pub fn is_gone(path: &Path) -> bool {
    let missing = |path: &Path| {
        let found = path.metadata();
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    missing(path) && !path.parent().is_none_or(missing)
}

/// Whether two paths stand for one namespace. Only absolute paths stand for one.
pub fn is_same(one: &str, other: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &str| {
        let path = Path::new(path);
        let file = path.is_absolute().then(|| path.metadata().ok()).flatten()?;
        Some((file.dev(), file.ino()))
    };
    one == other || id(one).is_some_and(|id_of_one| id(other) == Some(id_of_one))
}

/// Opens the file of a namespace of any kind.
fn open(path: &Path) -> Result<File, NetnsError> {
    // Opening a FIFO or a device could block or act: only what is a plain file or on nsfs is opened.
    let metadata = path.metadata().map_err(|source| unopened(path, source))?;
    if !metadata.is_file() {
        return Err(NetnsError::NotANamespace {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(|source| unopened(path, source))?;
    let filesystem = fstatfs(&file).map_err(|errno| unopened(path, errno.into()))?;
    if filesystem.filesystem_type() != NSFS_MAGIC {
        return Err(NetnsError::NotANamespace {
            path: path.to_owned(),
        });
    }
    Ok(file)
}

fn unopened(path: &Path, source: io::Error) -> NetnsError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NetnsError::Missing { path },
        io::ErrorKind::PermissionDenied => NetnsError::Forbidden { path, source },
        _ => NetnsError::Enter { path, source },
    }
}

fn enter(path: &Path, errno: Errno) -> NetnsError {
    let path = path.to_owned();
    match errno {
        Errno::EINVAL => NetnsError::NotANamespace { path },
        Errno::EPERM => NetnsError::Forbidden {
            path,
            source: errno.into(),
        },
        _ => NetnsError::Enter {
            path,
            source: errno.into(),
        },
    }
}

#[cfg(test)]
mod tests;
