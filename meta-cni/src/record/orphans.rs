//! Sandboxes that the agent found to be gone: one file each under `<stateDir>/orphans`, which has a text once deleting it
//! has failed. The agent runs no plugin, so it only marks them; the next `meta-cni` that the runtime executes has them
//! deleted.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::RecordError;

/// How long one that could not be deleted is left alone.
const PAUSE: Duration = Duration::from_secs(60);
/// What the mark says then.
const FAILED: &str = "deleting it failed; it is tried again\n";

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
        self.write(container_id, "")
    }

    /// Marks a sandbox again whose deletion has failed and has written its record: it is left alone for a minute.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn mark_failed(&self, container_id: &str) -> Result<(), RecordError> {
        self.write(container_id, FAILED)
    }

    fn write(&self, container_id: &str, text: &str) -> Result<(), RecordError> {
        let path = self.folder.join(container_id);
        let write = || -> io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)?;
            let mut mark = File::options();
            let mark = mark.write(true).create(true).truncate(true).mode(0o600);
            mark.open(&path)?.write_all(text.as_bytes())
        };
        write().map_err(|source| RecordError::Write { path, source })
    }

    /// The turn to delete what is marked, which ends with the file; nothing while another process has it.
    pub fn turn(&self) -> Option<File> {
        let folder = File::open(&self.folder).ok()?;
        folder.try_lock().ok().map(|()| folder)
    }

    /// Whether a record that was written at this time is newer than its mark, or has none. Files that are written one after
    /// the other may have one time: the record of a failed deletion comes before its mark, any other behind it.
    pub fn is_outdated(&self, container_id: &str, written: SystemTime) -> bool {
        let Ok(mark) = fs::metadata(self.folder.join(container_id)) else {
            return true;
        };
        mark.modified().is_ok_and(|marked| match mark.len() {
            0 => written >= marked,
            _ => written > marked,
        })
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
        self.list(|_| true)
    }

    /// Those that are to be deleted now.
    pub fn due(&self, now: SystemTime) -> Vec<String> {
        self.list(|mark| {
            let written = mark.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            mark.len() == 0 || now.duration_since(written).is_ok_and(|age| age >= PAUSE)
        })
    }

    fn list(&self, wants: impl Fn(&Metadata) -> bool) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let wanted = entries
            .flatten()
            .filter(|entry| entry.metadata().is_ok_and(|mark| wants(&mark)));
        let mut ids: Vec<String> = wanted
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort();
        ids
    }
}

#[cfg(test)]
mod tests {
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
    fn one_that_could_not_be_deleted_stays_marked_and_is_left_alone_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        for id in ["a", "b"] {
            orphans.mark(id).unwrap();
        }
        orphans.mark_failed("a").unwrap();
        let written = folder.path().join("orphans/a").metadata().unwrap();
        let written = written.modified().unwrap();
        assert_eq!(orphans.marked(), ["a", "b"]);
        assert_eq!(orphans.due(written), ["b"]);
        assert_eq!(orphans.due(written + PAUSE), ["a", "b"]);
    }

    #[test]
    fn one_at_a_time_has_the_turn() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        orphans.mark("a").unwrap();
        let turn = orphans.turn().unwrap();
        assert!(orphans.turn().is_none());
        drop(turn);
        assert!(orphans.turn().is_some());
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
        orphans.mark_failed("a").unwrap();
        let marked = folder.path().join("orphans/a").metadata().unwrap();
        let marked = marked.modified().unwrap();
        assert!(!orphans.is_outdated("a", marked));
        assert!(orphans.is_outdated("a", marked + moment));
    }
}
