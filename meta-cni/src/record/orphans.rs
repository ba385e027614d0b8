//! Marks of sandboxes that are to be deleted: one file each under `<stateDir>/orphans`. The agent marks those that the runtime
//! no longer has; a `meta-cni` whose DEL failed marks the sandbox too, since not every runtime asks again. The agent runs no
//! plugin, so the next `meta-cni` that the runtime executes has them deleted.
//!
//! The file of a mark is empty, or says in JSON how deleting the sandbox has failed so far ([`Failed`]): it is left alone until
//! `nextTry`, for twice as long each time. A mark goes with its record.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::RecordError;
use crate::diagnosis::Diagnosis;

/// How long one whose deletion failed for the first time is left alone.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// The most that a mark says of a failure, in bytes.
const FAILURE_BYTES: usize = 1024;

/// The marks below a state folder.
#[derive(Clone, Debug)]
pub struct Orphans {
    folder: PathBuf,
}

/// A sandbox that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// How deleting it failed so far; nothing if that was not tried since the agent marked it.
    pub failed: Option<Failed>,
}

/// How deleting a sandbox has failed so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// How often, by the runtime's DEL or by us.
    pub tries: u32,
    /// When for the first time.
    pub since: Timestamp,
    /// When we try again; the runtime may do so earlier.
    pub next_try: Timestamp,
    /// The pause before that, 60 to 3600 seconds.
    pub pause_seconds: u64,
    /// What failed last, in one line; one that an earlier version wrote has the remedy as well.
    pub failure: String,
    /// What to do about it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Failed {
    /// What a mark says after one more failure. The pause is doubled by a try of its time only: a runtime that asks every few
    /// seconds does not make it longer.
    fn after(earlier: Option<Failed>, now: Timestamp, failure: Diagnosis) -> Failed {
        let mut failed = earlier.unwrap_or_else(|| Failed {
            tries: 0,
            since: now,
            next_try: now,
            pause_seconds: 0,
            failure: String::new(),
            remedy: None,
        });
        if failed.is_due(now) {
            let pause = Duration::from_secs(failed.pause_seconds) * 2;
            failed.pause_seconds = pause.clamp(FIRST_PAUSE, LONGEST_PAUSE).as_secs();
            failed.next_try = now + Duration::from_secs(failed.pause_seconds);
        }
        failed.tries = failed.tries.saturating_add(1);
        failed.failure = failure.cause;
        let end = failed.failure.floor_char_boundary(FAILURE_BYTES);
        failed.failure.truncate(end);
        failed.remedy = failure.remedy;
        failed
    }

    /// Whether the pause is over. One that is longer than any comes of a clock that was set back.
    fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next_try || self.next_try > now + LONGEST_PAUSE
    }

    /// Whether the first failure is a pause ago at least: what was in the way for a moment would be gone.
    pub fn is_persistent(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        age >= SignedDuration::try_from(FIRST_PAUSE).unwrap_or(SignedDuration::MAX)
    }
}

impl Orphans {
    /// The marks below `state_dir`. Nothing is read or made yet.
    pub fn new(state_dir: &Path) -> Orphans {
        Orphans {
            folder: state_dir.join("orphans"),
        }
    }

    /// Marks a sandbox that the runtime no longer has.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn mark(&self, container_id: &str) -> Result<(), RecordError> {
        self.write(container_id, b"")
    }

    /// Marks a sandbox whose deletion has failed at `now`, after its record was written: it is left alone for a while.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn mark_failed(
        &self,
        container_id: &str,
        now: Timestamp,
        failure: Diagnosis,
    ) -> Result<(), RecordError> {
        let failed = Failed::after(self.failed(container_id), now, failure);
        let text = serde_json::to_vec(&failed).map_err(|error| RecordError::Write {
            path: self.file(container_id),
            source: error.into(),
        })?;
        self.write(container_id, &text)
    }

    fn write(&self, container_id: &str, text: &[u8]) -> Result<(), RecordError> {
        let path = self.file(container_id);
        let write = || -> io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)?;
            let mut mark = File::options();
            let mark = mark.write(true).create(true).truncate(true).mode(0o600);
            mark.open(&path)?.write_all(text)
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
        let Ok(mark) = fs::metadata(self.file(container_id)) else {
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
        let path = self.file(container_id);
        match fs::remove_file(&path) {
            // A read-only file system refuses this before it finds the file.
            Err(source) if fs::exists(&path).unwrap_or(true) => {
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
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut ids: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        ids.sort();
        ids
    }

    /// All marks, in order of their sandboxes.
    pub fn marks(&self) -> Vec<Mark> {
        let mark = |container_id: String| Mark {
            failed: self.failed(&container_id),
            container_id,
        };
        self.marked().into_iter().map(mark).collect()
    }

    /// How deleting a sandbox has failed so far, if it has.
    pub fn failed(&self, container_id: &str) -> Option<Failed> {
        let path = self.file(container_id);
        let text = fs::read(&path).ok().filter(|text| !text.is_empty())?;
        // An earlier version recorded that it had failed, and not how.
        let of_earlier_version = || {
            let marked = fs::metadata(&path).and_then(|mark| mark.modified()).ok()?;
            let since = Timestamp::try_from(marked).ok()?;
            Some(Failed::after(None, since, Diagnosis::default()))
        };
        serde_json::from_slice(&text)
            .ok()
            .or_else(of_earlier_version)
    }

    /// Those that are to be deleted now, first those that wait for the longest time.
    pub fn due(&self, now: Timestamp) -> Vec<String> {
        let is_due = |mark: &Mark| mark.failed.as_ref().is_none_or(|failed| failed.is_due(now));
        let mut due: Vec<Mark> = self.marks().into_iter().filter(is_due).collect();
        due.sort_by_key(|mark| mark.failed.as_ref().map(|failed| failed.next_try));
        due.into_iter().map(|mark| mark.container_id).collect()
    }

    fn file(&self, container_id: &str) -> PathBuf {
        self.folder.join(container_id)
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

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn one_that_could_not_be_deleted_stays_marked_and_is_left_alone_for_longer_and_longer() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        for id in ["a", "b"] {
            orphans.mark(id).unwrap();
        }
        let mut tries = Vec::new();
        for second in 0..20_000 {
            if orphans.due(at(second)).contains(&"a".to_owned()) {
                orphans.mark_failed("a", at(second), "busy".into()).unwrap();
                tries.push(second);
            }
        }
        assert_eq!(
            tries,
            [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980, 14580, 18180]
        );
        assert_eq!(orphans.marked(), ["a", "b"]);
        assert_eq!(orphans.due(at(20_000)), ["b"]);
    }

    #[test]
    fn a_mark_says_how_often_since_when_and_why_deleting_failed() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        orphans.mark("fresh").unwrap();
        // The runtime asks again before our own time: that is counted and makes no pause longer.
        for second in [0, 5, 59] {
            let failure = format!("bridge DEL: no {second}");
            orphans
                .mark_failed("old", at(second), failure.into())
                .unwrap();
        }
        let failed = Failed {
            tries: 3,
            since: at(0),
            next_try: at(60),
            pause_seconds: 60,
            failure: "bridge DEL: no 59".to_owned(),
            remedy: None,
        };
        assert!(!failed.is_persistent(at(59)) && failed.is_persistent(at(60)));
        let mark = |container_id: &str, failed| Mark {
            container_id: container_id.to_owned(),
            failed,
        };
        let marks = [mark("fresh", None), mark("old", Some(failed))];
        assert_eq!(orphans.marks(), marks);
    }

    #[test]
    fn those_that_wait_for_the_longest_time_are_due_first() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        for (id, second) in [("a", 40), ("b", 20), ("c", 30)] {
            orphans
                .mark_failed(id, at(second), "no time".into())
                .unwrap();
        }
        orphans.mark("d").unwrap();
        assert_eq!(orphans.due(at(100)), ["d", "b", "c", "a"]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_pause_longer() {
        let failed = Failed::after(None, at(0), "busy".into());
        assert!(!failed.is_due(at(59)));
        assert!(failed.is_due(at(-4000)));
    }

    #[test]
    fn a_mark_of_an_earlier_version_has_failed_once() {
        let folder = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(folder.path());
        orphans.mark("a").unwrap();
        let text = "deleting it failed; it is tried again\n";
        fs::write(folder.path().join("orphans/a"), text).unwrap();
        let failed = orphans.failed("a").unwrap();
        assert_eq!((failed.tries, failed.pause_seconds), (1, 60));
        assert!(orphans.due(failed.since).is_empty());
        assert_eq!(orphans.due(failed.next_try), ["a"]);
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
        orphans.mark_failed("a", at(0), "busy".into()).unwrap();
        let marked = folder.path().join("orphans/a").metadata().unwrap();
        let marked = marked.modified().unwrap();
        assert!(!orphans.is_outdated("a", marked));
        assert!(orphans.is_outdated("a", marked + moment));
    }
}
