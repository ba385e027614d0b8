//! The lock of one sandbox: an flock(2) on a file, which the delegates inherit.
//!
//! Because they inherit it, the lock outlives a `meta-cni` that is killed for as long as a delegate of
//! its is still at work, so that a DEL never runs beside the rest of an ADD. A delegate that was left
//! behind and does not end is killed after a grace period.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::diagnosis::Explain;

/// How long processes that a dead `meta-cni` left behind may go on before they are killed.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// A sandbox that cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Others have it, and went on having it for as long as one waits.
    #[error("sandbox {container_id} is still being worked on after {}s by {holders}", .limit.as_secs())]
    Busy {
        /// CNI_CONTAINERID.
        container_id: String,
        /// How long was waited.
        limit: Duration,
        /// The processes that have the lock's file open.
        holders: String,
    },
    /// The lock's file cannot be opened or locked.
    #[error("locking {}", .path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Explain for LockError {
    fn remedy(&self) -> Option<String> {
        match self {
            LockError::Busy { .. } => None,
            LockError::Io { .. } => {
                Some("make stateDir writable and see that its file system has room".to_owned())
            }
        }
    }
}

/// A lock that is held until it is dropped and no delegate is left.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock whose file is `path`, waiting up to `limit`.
    pub(super) fn take(path: &Path, limit: Duration) -> Result<Lock, LockError> {
        let failed = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let file = open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_still_at(&file, path).map_err(failed)? => {
                    inherit(&file).map_err(failed)?;
                    return Ok(Lock {
                        path: path.to_owned(),
                        file,
                    });
                }
                // Whoever had it removed the file: there may be another one now.
                Ok(()) => continue,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let waited = started.elapsed();
            if waited >= limit {
                return Err(busy(path, limit));
            }
            if waited >= ORPHAN_GRACE {
                kill_orphans(path);
            }
            sleep(pause.min(limit - waited));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Removes the lock's file and lets go.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a lock's file stays");
        }
    }
}

impl Drop for Lock {
    /// Unlocks for everybody who has inherited the file: a process that a plugin has started on purpose
    /// and that goes on behind it does not keep the sandbox. Only a `meta-cni` that is killed leaves the
    /// lock with its plugins.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(path = %self.path.display(), %error, "the lock goes with its last holder");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Whether `file` is what is found at `path`.
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets children of this process have the open file: every child of it is a delegate of this sandbox.
fn inherit(file: &File) -> io::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// A process that has the lock: it took it, or inherited it from the one that did.
struct Holder {
    pid: i32,
    /// The process that took the lock. It may be dead.
    taker: i32,
}

impl Holder {
    fn name(&self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid));
        name.unwrap_or_default().trim_end().to_owned()
    }
}

fn busy(path: &Path, limit: Duration) -> LockError {
    let holders: Vec<_> = holders(path)
        .into_iter()
        .map(|holder| format!("{} ({})", holder.name(), holder.pid))
        .collect();
    LockError::Busy {
        container_id: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        limit,
        holders: if holders.is_empty() {
            "another process".to_owned()
        } else {
            holders.join(", ")
        },
    }
}

/// Kills the delegates whose `meta-cni` is dead: they have the lock, and who took it has not.
fn kill_orphans(path: &Path) {
    let Some(file) = identity(path) else { return };
    // Looked at now, the taker first: another may have got the lock since the processes were listed.
    let is_orphan = |holder: &Holder| {
        taker(holder.taker, file).is_none() && taker(holder.pid, file) == Some(holder.taker)
    };
    for holder in holders(path).into_iter().filter(is_orphan) {
        let pid = holder.pid;
        tracing::warn!(
            pid,
            name = holder.name(),
            "killing a delegate that was left behind"
        );
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
            tracing::warn!(pid, %error, "it cannot be killed");
        }
    }
}

/// The processes that have the lock whose file is `path`; not those that wait for it.
fn holders(path: &Path) -> Vec<Holder> {
    let (Some(file), Ok(processes)) = (identity(path), fs::read_dir("/proc")) else {
        return Vec::new();
    };
    let pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let holder = |pid| {
        let taker = taker(pid, file)?;
        Some(Holder { pid, taker })
    };
    pids.filter_map(holder).collect()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Who took the lock of `file` that process `pid` has, if it has it.
fn taker(pid: i32, file: (u64, u64)) -> Option<i32> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    descriptors.flatten().find_map(|descriptor| {
        let open = fs::metadata(descriptor.path()).ok()?;
        if (open.dev(), open.ino()) != file {
            return None;
        }
        let number = descriptor.file_name();
        let number = number.to_string_lossy();
        locker(&fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?)
    })
}

/// The process that took the flock which an open file has: `lock: 1: FLOCK ADVISORY WRITE PID …` (proc_pid_fdinfo(5)).
fn locker(fdinfo: &str) -> Option<i32> {
    let locks = fdinfo.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.into_iter().find_map(|lock| {
        let mut fields = lock.split_whitespace().skip(1);
        (fields.next()? == "FLOCK").then(|| fields.nth(2)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests;
