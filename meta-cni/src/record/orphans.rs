//! Sandboxes that the agent found to be gone: one empty file each under `<stateDir>/orphans`. The agent runs no plugin, so
//! it only marks them; the next `meta-cni` that the runtime executes has them deleted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::RecordError;

/// The marks below a state folder.
#[derive(Clone, Debug)]
pub struct Orphans {
    folder: PathBuf,
}

impl Orphans {
    /// The marks below `state_dir`. Nothing is read or made yet.
    pub fn new(state_dir: &Path) -> Orphans {
        Orphans {
            folder: state_dir.join("orphans"),
        }
    }

    /// Marks a sandbox. Marked again, it stays marked.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn mark(&self, container_id: &str) -> Result<(), RecordError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = self.folder.join(container_id);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .and_then(|()| File::create(&path).map(drop))
            .map_err(|source| RecordError::Write { path, source })
    }

    /// Whether a record that was written at this time is no older than its mark, or has none.
    pub fn is_outdated(&self, container_id: &str, written: SystemTime) -> bool {
        let mark = fs::metadata(self.folder.join(container_id));
        let marked = mark.and_then(|file| file.modified());
        !marked.is_ok_and(|marked| written < marked)
    }

    /// Removes a mark; none is success.
    ///
    /// # Errors
    /// [`RecordError::Remove`].
    pub fn unmark(&self, container_id: &str) -> Result<(), RecordError> {
        let path = self.folder.join(container_id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::Remove { path, source })
            }
            _ => Ok(()),
        }
    }

    /// The sandboxes that are marked, in order; none if the folder cannot be read.
    pub fn marked(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut marked: Vec<String> = names.collect();
        marked.sort();
        marked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_mark_stays_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        assert!(orphans.marked().is_empty());
        orphans.unmark("a").unwrap();
        for id in ["b", "a", "a"] {
            orphans.mark(id).unwrap();
        }
        assert_eq!(orphans.marked(), ["a", "b"]);
        orphans.unmark("a").unwrap();
        assert_eq!(orphans.marked(), ["b"]);
    }

    #[test]
    fn a_record_that_was_written_after_its_mark_is_no_orphans() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        orphans.mark("a").unwrap();
        let marked = folder.path().join("orphans/a").metadata().unwrap();
        let marked = marked.modified().unwrap();
        let moment = Duration::from_nanos(1);
        assert!(!orphans.is_outdated("a", marked - moment));
        assert!(orphans.is_outdated("a", marked));
        assert!(orphans.is_outdated("a", marked + moment));
        assert!(orphans.is_outdated("never-marked", marked - moment));
    }
}
