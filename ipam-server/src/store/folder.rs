//! The folder of a store that is open: when somebody removed or replaced it, what is written is lost at the next start.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proto::ipam::v1::{Event, Lease, Pool, Reservation};

use super::sled::LOCK;
use super::{Batch, Extent, LeaseId, Origin, Store, StoreError};

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
            path: self.path.clone(),
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

/// A store that acknowledges nothing while its folder is not in its place.
pub struct InFolder {
    inner: Arc<dyn Store>,
    folder: Folder,
    /// The folder was gone after a commit, which `inner` takes for done and the caller for failed.
    is_split: AtomicBool,
}

impl InFolder {
    /// Guards a store.
    pub fn new(inner: Arc<dyn Store>, folder: Folder) -> InFolder {
        InFolder {
            inner,
            folder,
            is_split: AtomicBool::new(false),
        }
    }

    /// Checks the folder behind a commit: what was written into a removed folder is not acknowledged.
    fn acknowledge(&self) -> Result<(), StoreError> {
        let checked = self.folder.check();
        if checked.is_err() {
            self.is_split.store(true, Ordering::SeqCst);
        }
        checked
    }
}

impl Store for InFolder {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn extent(&self) -> Result<Extent, StoreError> {
        self.inner.extent()
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        self.inner.origin()
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        self.inner.pools()
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        self.inner.reservations()
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        self.inner.lease(id)
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        self.inner.leases(after, limit)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events(after, limit)
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events_back(before, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.folder.check()?;
        self.inner.commit(batch)?;
        self.acknowledge()
    }

    fn recover(&self) -> Result<(), StoreError> {
        self.folder.check()?;
        if self.is_split.load(Ordering::SeqCst) {
            let text = "the store's folder was away while a change was written; start ipam-server again, which reads \
                        whether it has the change";
            return Err(StoreError::Io {
                path: self.folder.path.clone(),
                source: Arc::new(io::Error::other(text)),
            });
        }
        self.inner.recover()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_folder_that_was_removed_or_replaced_is_found_and_one_that_came_back_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let make = || {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join(LOCK), "").unwrap();
        };
        make();
        let store = InFolder::new(Arc::new(MemoryStore::default()), Folder::of(&path));
        store.commit(&Batch::default()).unwrap();
        let aside = folder.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert!(store.commit(&Batch::default()).is_err());
        make();
        let error = store.recover().unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        store.recover().unwrap();
        store.commit(&Batch::default()).unwrap();
        // Moved away between the write and its answer: the store may have what its caller takes for failed.
        std::fs::rename(&path, &aside).unwrap();
        assert!(store.acknowledge().is_err());
        std::fs::rename(&aside, &path).unwrap();
        let error = format!("{:?}", store.recover().unwrap_err());
        assert!(error.contains("start ipam-server again"), "{error}");
        std::fs::remove_file(path.join(LOCK)).unwrap();
        assert!(store.commit(&Batch::default()).is_err());
    }
}
