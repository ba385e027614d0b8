//! Removes what test processes that were killed could not remove themselves. Names carry the process
//! ID of their maker, so that what belongs to a running test is left alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use crate::host::cgroups;
use crate::host::netns;

const MARK: &str = "e2e-";

/// What the names of this process's namespaces and folders begin with.
pub fn own_prefix() -> String {
    format!("{MARK}{}-", std::process::id())
}

/// Makes a temporary folder that a later run removes if this one is killed.
///
/// # Panics
/// When the folder cannot be made.
pub fn temporary_folder() -> tempfile::TempDir {
    once();
    tempfile::Builder::new()
        .prefix(&own_prefix())
        .tempdir()
        .expect("make a temporary folder")
}

/// Removes namespaces, control groups and temporary folders whose makers are gone; only the first call does
/// anything.
pub fn once() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        for name in orphans(Path::new(netns::FOLDER)) {
            netns::Netns::adopt(&name).remove();
        }
        for name in cgroups::tops().iter().flat_map(|top| orphans(top)) {
            cgroups::remove(&name);
        }
        for name in orphans(&std::env::temp_dir()) {
            let folder = std::env::temp_dir().join(name);
            unmount_below(&folder);
            let _taken_by_another_run = fs::remove_dir_all(folder);
        }
    });
}

/// Takes away the file systems that a test mounted in its folder.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _taken_by_another_run = Command::new("umount").args(["--lazy", point]).status();
    }
}

fn orphans(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| maker(name).is_some_and(|pid| !Path::new("/proc").join(pid).exists()))
        .collect()
}

/// The process ID in a name that [`own_prefix`] began.
fn maker(name: &str) -> Option<&str> {
    let (pid, _) = name.strip_prefix(MARK)?.split_once('-')?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}
