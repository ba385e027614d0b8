//! A value that is made of files and made anew when they change: certificates, keys, a policy. Files that cannot be used
//! change nothing: the value of before stays in force, and the failure is reported once for each change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// How often the files are checked.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What says that a file changed: another file in its place, its size, the times of its content and of its inode.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

/// Files that are checked.
#[derive(Debug)]
pub struct Renewed {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl Renewed {
    /// The files as they are now. To be called before they are read for the first time: a change in between is noticed then.
    pub fn of(paths: Vec<PathBuf>) -> Renewed {
        let stamps = stamps(&paths);
        Renewed { paths, stamps }
    }

    /// Makes the next call of [`Renewed::has_changed`] return true: the files could not be used for a transient reason.
    pub fn try_again(&mut self) {
        self.stamps.clear();
    }

    /// Whether a file changed since the last call.
    pub fn has_changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let changed = now != self.stamps;
        self.stamps = now;
        changed
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths
        .iter()
        .map(|path| {
            // The end of a link: a volume of Kubernetes changes its files by one.
            let file = fs::metadata(path).ok()?;
            let (content, inode) = (
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            );
            Some((
                file.ino(),
                file.len(),
                content.0,
                content.1,
                inode.0,
                inode.1,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noticed_once_whatever_kind_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls.crt");
        let other = folder.path().join("other");
        let mut files = Renewed::of(vec![path.clone()]);
        assert!(!files.has_changed());
        fs::write(&path, "one").unwrap();
        assert!(files.has_changed() && !files.has_changed());
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(files.has_changed() && !files.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(files.has_changed() && !files.has_changed());
    }
}
