//! What meta-cni needs of this node before anything else: a folder of records that can be written, and the default
//! network's own word that it is ready. Also what waits there to be delivered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::finding::{Area, Finding};
use crate::config::Config;

/// Room in bytes below which an ADD may fail any moment.
const ROOM_BYTES: u64 = 16 << 20;
/// Files below which an ADD may fail any moment.
const ROOM_FILES: u64 = 100;

/// What is seen of the folder and its file system.
pub(super) struct State {
    /// `stateDir`.
    pub(super) dir: PathBuf,
    /// Why it, or the folder that it would be made in, cannot be written.
    pub(super) unwritable: Option<io::Error>,
    /// Bytes and files that there is room for; nothing if the file system does not say.
    pub(super) room: Option<Room>,
    /// Since when releases wait, each.
    pub(super) releases: Vec<Duration>,
    /// `readinessindicatorfile`, if it is configured and not there.
    pub(super) not_ready: Option<PathBuf>,
}

/// Room of a file system.
pub(super) struct Room {
    pub(super) bytes: u64,
    /// None: it has no limit of its own.
    pub(super) files: Option<u64>,
}

/// Looks at the folder; writes nothing.
pub(super) fn inspect(config: &Config) -> State {
    let dir = config.state_dir.clone();
    let present = dir.ancestors().find(|path| path.exists()).unwrap_or(&dir);
    let attachments = dir.join("attachments");
    let unwritable = [present, attachments.as_path()]
        .into_iter()
        .filter(|path| path.exists())
        .find_map(|path| access(path, AccessFlags::W_OK | AccessFlags::X_OK).err());
    State {
        unwritable: unwritable.map(io::Error::from),
        room: statvfs(present).ok().map(|is| Room {
            bytes: is.blocks_available().saturating_mul(is.fragment_size()),
            files: (is.files() > 0).then(|| is.files_available()),
        }),
        releases: releases(&dir.join("releases")),
        not_ready: config
            .readiness_indicator_file
            .clone()
            .filter(|path| !path.exists()),
        dir,
    }
}

/// How long each release waits.
fn releases(folder: &Path) -> Vec<Duration> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let waits = |entry: fs::DirEntry| {
        let is_release = entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "json");
        let since = entry.metadata().and_then(|file| file.modified()).ok()?;
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        is_release.then_some(age)
    };
    files.filter_map(waits).collect()
}

/// What is wrong with it.
pub(super) fn check(state: &State) -> Vec<Finding> {
    let mut findings = Vec::new();
    let dir = state.dir.display();
    if let Some(error) = &state.unwritable {
        let cause = format!("stateDir {dir} cannot be written: {error}");
        let remedy =
            "mount its file system for writing, or set stateDir to a folder that can be written";
        findings.push(Finding::fault(Area::State, cause, remedy));
    } else if let Some(room) = &state.room {
        findings.extend(no_room(&state.dir, room));
    }
    if let Some(path) = &state.not_ready {
        let cause = format!(
            "readinessindicatorfile {} is not there: the default network is not ready",
            path.display()
        );
        let remedy = "check why the default network's agent does not write it (its DaemonSet, its log on this node)";
        findings.push(Finding::fault(Area::Readiness, cause, remedy));
    }
    if let Some(oldest) = state.releases.iter().max() {
        let cause = format!(
            "{} of leases wait in {dir}/releases to be delivered, the oldest for {}",
            if state.releases.len() == 1 {
                "1 release".to_owned()
            } else {
                format!("{} releases", state.releases.len())
            },
            age(*oldest),
        );
        let remedy = "see that ipam-server can be reached; whoever reaches it next delivers them";
        findings.push(Finding::warning(Area::Record, cause, remedy));
    }
    findings
}

fn no_room(dir: &Path, room: &Room) -> Option<Finding> {
    let files = room.files.unwrap_or(u64::MAX);
    let left = if room.bytes < ROOM_BYTES {
        format!("{} KiB", room.bytes >> 10)
    } else if files < ROOM_FILES {
        format!("{files} files")
    } else {
        return None;
    };
    let cause = format!(
        "the file system of stateDir {} has room for {left} only",
        dir.display()
    );
    let remedy = "make room there: without, no pod can be attached";
    Some(if room.bytes < 1 << 16 || files == 0 {
        Finding::fault(Area::State, cause, remedy)
    } else {
        Finding::warning(Area::State, cause, remedy)
    })
}

/// A time for people: `40s`, `5m`, `3h`, `2d`.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn state() -> State {
        State {
            dir: "/s".into(),
            unwritable: None,
            room: Some(Room {
                bytes: 1 << 30,
                files: Some(1 << 20),
            }),
            releases: Vec::new(),
            not_ready: None,
        }
    }

    #[test]
    fn a_folder_that_is_as_it_should_be_is_no_finding() {
        assert_eq!(check(&state()), []);
        let unlimited = State {
            room: Some(Room {
                bytes: 1 << 30,
                files: None,
            }),
            ..state()
        };
        assert_eq!(check(&unlimited), []);
    }

    #[test]
    fn each_fault_is_reported() {
        let room = |bytes, files| {
            Some(Room {
                bytes,
                files: Some(files),
            })
        };
        for (state, severity, cause) in [
            (
                State {
                    unwritable: Some(io::ErrorKind::ReadOnlyFilesystem.into()),
                    room: room(0, 0),
                    ..state()
                },
                Severity::Fault,
                "stateDir /s cannot be written: read-only",
            ),
            (
                State {
                    room: room(4096, 99),
                    ..state()
                },
                Severity::Fault,
                "the file system of stateDir /s has room for 4 KiB only",
            ),
            (
                State {
                    room: room(1 << 22, 1 << 20),
                    ..state()
                },
                Severity::Warning,
                "the file system of stateDir /s has room for 4096 KiB only",
            ),
            (
                State {
                    room: room(1 << 30, 0),
                    ..state()
                },
                Severity::Fault,
                "the file system of stateDir /s has room for 0 files only",
            ),
            (
                State {
                    not_ready: Some("/r".into()),
                    ..state()
                },
                Severity::Fault,
                "readinessindicatorfile /r is not there",
            ),
            (
                State {
                    releases: vec![Duration::from_secs(1), Duration::from_secs(300)],
                    ..state()
                },
                Severity::Warning,
                "2 releases of leases wait in /s/releases to be delivered, the oldest for 5m",
            ),
        ] {
            let findings = check(&state);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].cause.starts_with(cause), "{findings:?}");
            assert_eq!(findings[0].severity, severity, "{cause}");
        }
    }
}
