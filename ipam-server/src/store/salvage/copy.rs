//! A copy of sled's files, since sled writes when it opens them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::sled::{LOCK, files, io as failed};

/// Locks a store against a server that starts; also on a file system that is read-only.
pub(super) fn lock(path: &Path) -> Result<Vec<File>, StoreError> {
    let mut locks = Vec::new();
    // Older versions lock sled's log alone.
    for name in [LOCK, "db"] {
        let file = match File::open(path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(path, error)),
        };
        match file.try_lock_shared() {
            Ok(()) => locks.push(file),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    store: crate::store::named(path),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(path, error)),
        }
    }
    Ok(locks)
}

/// How the name of a folder with a copy begins; the number of a process follows.
const PREFIX: &str = "ipam-server-salvage-";

/// A folder with a copy, removed at the end.
pub(in crate::store) struct Copy(PathBuf);

/// Removes the copies that killed processes left in a store that this process has locked.
pub(in crate::store) fn remove_copies(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_dir_all(entry.path())?;
            tracing::info!(folder = %entry.path().display(), "removed a copy that a killed process left");
        }
    }
    Ok(())
}

impl Copy {
    /// Copies sled's files of a store.
    pub(in crate::store) fn of_index(path: &Path, scratch: &Path) -> Result<Copy, StoreError> {
        let copy = Copy(scratch.join(format!("{PREFIX}{}", std::process::id())));
        let io = |error| failed(scratch, error);
        // In a container every process has the same number: an earlier one may have left its copy.
        match fs::remove_dir_all(&copy.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(scratch, error));
            }
            _ => fs::create_dir_all(&copy.0).map_err(io)?,
        }
        for name in files(path).map_err(|error| failed(path, error))? {
            // sled does not open a store with a snapshot that is not finished.
            if name.ends_with(".generating") {
                continue;
            }
            let (from, to) = (path.join(&name), copy.0.join(&name));
            if from.is_dir() {
                fs::create_dir_all(&to).map_err(io)?;
                for entry in fs::read_dir(&from).map_err(|error| failed(path, error))? {
                    let entry = entry.map_err(|error| failed(path, error))?;
                    fs::copy(entry.path(), to.join(entry.file_name())).map_err(io)?;
                }
            } else {
                fs::copy(&from, &to).map_err(io)?;
            }
        }
        Ok(copy)
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It is in nobody's way if it stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}
