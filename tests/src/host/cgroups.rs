//! Control groups, of version 1, 2 or both: what a machine's containers are put in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where the hierarchies are mounted: one of version 2, or one folder a hierarchy.
const ROOT: &str = "/sys/fs/cgroup";

/// How long the kernel may hold a group whose processes are dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// The top of every hierarchy.
pub(crate) fn tops() -> Vec<PathBuf> {
    let mut tops = vec![PathBuf::from(ROOT)];
    tops.extend(folders(Path::new(ROOT)));
    tops
}

/// The groups of this name at the top of hierarchies.
pub fn groups(name: &str) -> Vec<PathBuf> {
    let mut groups: Vec<_> = tops().iter().map(|top| top.join(name)).collect();
    groups.retain(|group| group.exists());
    groups
}

/// All groups below a group.
pub(crate) fn below(group: &Path) -> Vec<PathBuf> {
    let mut found = folders(group);
    for folder in found.clone() {
        found.extend(below(&folder));
    }
    found
}

/// Removes them with all below them, once no process is in them any more; what is still in use after a
/// while stays.
pub(crate) fn remove(name: &str) {
    let end = Instant::now() + PATIENCE;
    for group in groups(name) {
        while remove_tree(&group).is_err() && Instant::now() < end {
            thread::yield_now();
        }
    }
}

fn remove_tree(group: &Path) -> io::Result<()> {
    for below in folders(group) {
        remove_tree(&below)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}
