//! Which of several servers answered last, for the next process: without it, each one would first wait for a server that hangs.
//! One file for each list of servers, `<stateDir>/ipam-servers/<hash>.last`. It is a hint: a file that is lost or wrong costs time
//! only.

use std::fs;
use std::hash::Hasher as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use dial::several::Addresses;
use fnv::FnvHasher;

use crate::private::{private_file, private_folder};

/// The hint of one list of servers.
pub(super) struct LastGood {
    path: PathBuf,
    addresses: Addresses,
    /// The number that the file has.
    kept: AtomicUsize,
}

impl LastGood {
    /// Reads the hint below a state folder; none for a single server.
    pub(super) fn of(state_dir: &Path, addresses: &Addresses) -> Option<LastGood> {
        let all = addresses.all();
        if all.len() == 1 {
            return None;
        }
        let mut hasher = FnvHasher::default();
        hasher.write(addresses.as_str().as_bytes());
        let name = format!("{:016x}.last", hasher.finish());
        let path = state_dir.join("ipam-servers").join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let found = all.iter().position(|one| one.as_str() == text.trim());
        Some(LastGood {
            path,
            addresses: addresses.clone(),
            kept: found.unwrap_or_default().into(),
        })
    }

    /// The number of the server in its list.
    pub(super) fn number(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Writes the hint if it is another one than before.
    pub(super) fn keep(&self, number: usize) {
        if self.kept.swap(number, Ordering::Relaxed) == number {
            return;
        }
        if let Err(error) = self.write(number) {
            let path = self.path.display();
            tracing::debug!(%path, %error, "which server answered is not kept");
        }
    }

    fn write(&self, number: usize) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        private_folder(folder)?;
        let process = std::process::id();
        let temporary = self.path.with_extension(format!("{process}.new"));
        let address = &self.addresses.all()[number];
        private_file(&temporary)?.write_all(address.as_str().as_bytes())?;
        fs::rename(&temporary, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_process_begins_with_the_server_that_answered_last() {
        let folder = tempfile::tempdir().unwrap();
        let of = |text: &str| LastGood::of(folder.path(), &text.parse().unwrap());
        assert!(of("unix:///a").is_none());
        let both = "unix:///a,unix:///b";
        let hint = of(both).unwrap();
        assert_eq!(hint.number(), 0);
        hint.keep(0);
        assert!(!hint.path.exists(), "the first one needs no file");
        hint.keep(1);
        assert_eq!(of(both).unwrap().number(), 1);
        assert_eq!(of("unix:///b,unix:///a").unwrap().number(), 0);
        fs::write(&hint.path, "unix:///c").unwrap();
        assert_eq!(of(both).unwrap().number(), 0);
    }
}
