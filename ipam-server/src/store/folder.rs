//! The folder of a store that is open: when somebody removed or replaced it, what is written is lost at the next start.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sled::LOCK;
use super::{StoreError, named};

/// Which folder an open store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
    /// Device and inode of the folder, and of the file in it that is never replaced.
    identity: [Option<(u64, u64)>; 2],
}

impl Folder {
    /// The folder of a store that was opened just now.
    pub fn of(path: &Path) -> Folder {
        Folder {
            path: path.to_owned(),
            identity: identity(path),
        }
    }

    /// Checks that the folder and the file in it are in their place.
    ///
    /// # Errors
    /// [`StoreError::Io`] if they are not.
    pub fn check(&self) -> Result<(), StoreError> {
        if identity(&self.path) == self.identity {
            return Ok(());
        }
        let text = "the store's folder or the file `ipam-server.lock` in it was removed or replaced while the server runs; \
                    put it back, or stop the server and import a backup";
        Err(StoreError::Io {
            store: named(&self.path),
            source: Arc::new(io::Error::new(io::ErrorKind::NotFound, text)),
        })
    }
}

fn identity(path: &Path) -> [Option<(u64, u64)>; 2] {
    [path.to_owned(), path.join(LOCK)].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_removed_or_replaced_is_found_and_one_that_came_back_is_good() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("store");
        let make = || {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join(LOCK), "").unwrap();
        };
        make();
        let folder = Folder::of(&path);
        folder.check().unwrap();
        let aside = parent.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert!(folder.check().is_err());
        make();
        let error = folder.check().unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        folder.check().unwrap();
        std::fs::remove_file(path.join(LOCK)).unwrap();
        assert!(folder.check().is_err());
    }
}
