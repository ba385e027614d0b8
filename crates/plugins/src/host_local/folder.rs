//! The folder of a network's leases, the same as the reference plugin's, so that both can work on it at once: a file for each
//! address, named by it, with the container's ID and the interface's name; `last_reserved_ip.N` for each set of ranges; and
//! `lock`, which a plugin holds while it works on the folder (flock(2)).

mod index;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cni::chain::AttachmentId;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::linkat;

use crate::file_lock::lock;
use crate::notation;
use index::Index;

const LOCK: &str = "lock";
const LAST_PREFIX: &str = "last_reserved_ip.";
/// Stands between the container's ID and the interface's name.
const LINE_END: &str = "\r\n";

/// A folder that cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done, for example `create`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another plugin holds the lock.
    #[error(
        "{path} was locked by another plugin until the time was over; see who holds it with lslocks"
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
}

/// A folder that nobody else works on until this is dropped.
pub(super) struct Folder {
    path: PathBuf,
    index: Index,
    _lock: File,
}

/// Whose a lease is.
pub(super) struct Holder {
    container: String,
    ifname: String,
}

impl Holder {
    pub(super) fn new(container_id: &str, ifname: &str) -> Holder {
        Holder {
            container: container_id.trim().to_owned(),
            ifname: ifname.to_owned(),
        }
    }

    /// As the file of a lease says it.
    fn text(&self) -> String {
        format!("{}{LINE_END}{}", self.container, self.ifname)
    }

    /// Whether a file names this holder, and how.
    fn is_named(&self, text: &str) -> Option<Match> {
        match text.split_once(LINE_END) {
            Some((container, ifname)) => {
                (container == self.container && ifname == self.ifname).then_some(Match::Whole)
            }
            None => (text == self.container).then_some(Match::Container),
        }
    }
}

/// How a file names its holder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    /// By the container and the interface.
    Whole,
    /// By the container alone, as plugins before 0.7 wrote it.
    Container,
}

impl Folder {
    /// Opens the folder, which is made if it does not exist, and waits for its lock until `deadline`.
    ///
    /// # Errors
    /// [`FolderError`].
    pub(super) fn open(path: &Path, deadline: Instant) -> Result<Folder, FolderError> {
        Folder::open_with(path, Path::new(index::FOLDER), deadline)
    }

    /// The same with its index in the folder `indexes`.
    fn open_with(path: &Path, indexes: &Path, deadline: Instant) -> Result<Folder, FolderError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::File {
                doing,
                path,
                source,
            }
        };
        let lock_path = path.join(LOCK);
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_CREAT).mode(0o750);
            options.open(&lock_path)
        };
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut folder = DirBuilder::new();
                let made = folder.recursive(true).mode(0o755).create(path);
                made.map_err(failed("make the folder", path))?;
                open()
            }
            opened => opened,
        };
        let file = file.map_err(failed("open", &lock_path))?;
        let locked = lock(file, deadline).map_err(failed("lock", &lock_path))?;
        let locked = locked.ok_or(FolderError::Locked { path: lock_path })?;
        Ok(Folder {
            path: path.to_owned(),
            index: Index::open(path, indexes),
            _lock: locked,
        })
    }

    /// The address that was reserved last in a set; none if that is unknown.
    pub(super) fn last_reserved(&self, set: usize) -> Option<IpAddr> {
        let text = fs::read_to_string(self.path.join(format!("{LAST_PREFIX}{set}"))).ok()?;
        notation::address(&text)
    }

    /// Remembers the address that was reserved last in a set.
    pub(super) fn set_last_reserved(&self, set: usize, ip: IpAddr) -> Result<(), FolderError> {
        let path = self.path.join(format!("{LAST_PREFIX}{set}"));
        let text = ip.to_string();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let written = options.open(&path).and_then(|file| {
            // Emptied only if something longer would stay behind it: ext4 writes out what was emptied as soon as it is closed.
            if file.metadata()?.len() > text.len() as u64 {
                file.set_len(0)?;
            }
            file.write_all_at(text.as_bytes(), 0)
        });
        written.map_err(|source| file("write", &path, source))
    }

    /// Leases of this holder, without an address yet.
    pub(super) fn draft<'h>(&self, holder: &'h Holder) -> Draft<'h> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let unnamed = options.custom_flags(libc::O_TMPFILE).open(&self.path);
        let unnamed = unnamed.and_then(|mut file| {
            file.write_all(holder.text().as_bytes())?;
            Ok(file)
        });
        Draft {
            holder,
            // Some file systems have no files without a name.
            unnamed: unnamed.ok(),
        }
    }

    /// Leases the address; false if it is leased already.
    pub(super) fn reserve(&mut self, draft: &Draft<'_>, ip: IpAddr) -> Result<bool, FolderError> {
        self.index.begin();
        let path = self.path.join(ip.to_string());
        match draft.name(&path) {
            Ok(()) => {
                self.index.add(ip, draft.holder);
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => Ok(false),
            Err(source) => Err(file("create", &path, source)),
        }
    }

    /// The addresses that are leased.
    pub(super) fn leased(&self) -> Result<HashSet<IpAddr>, FolderError> {
        let mut leased = HashSet::new();
        for entry in self.entries()? {
            leased.extend(entry.parse::<IpAddr>());
        }
        Ok(leased)
    }

    /// The addresses that the holder has.
    pub(super) fn leases_of(&mut self, holder: &Holder) -> Result<Vec<IpAddr>, FolderError> {
        let found = self.find(holder)?;
        Ok(found.into_iter().map(|(ip, _)| ip).collect())
    }

    /// Releases one address.
    pub(super) fn release(&mut self, ip: IpAddr) -> Result<(), FolderError> {
        self.index.begin();
        self.remove(&ip.to_string())
    }

    /// Releases all that the holder has: what is leased to its interface, or else to its container.
    pub(super) fn release_all_of(&mut self, holder: &Holder) -> Result<(), FolderError> {
        let found = self.find(holder)?;
        let wanted = match found.iter().any(|(_, how)| *how == Match::Whole) {
            true => Match::Whole,
            false => Match::Container,
        };
        let mut ours = found.iter().filter(|(_, how)| *how == wanted);
        ours.try_for_each(|(ip, _)| self.release(*ip))
    }

    /// Releases what none of these attachments has.
    pub(super) fn keep_only(&mut self, valid: &[AttachmentId]) -> Result<(), FolderError> {
        let holders = valid
            .iter()
            .map(|id| Holder::new(&id.container_id, &id.ifname));
        let holders: Vec<_> = holders.collect();
        let texts: HashSet<_> = holders.iter().map(Holder::text).collect();
        let containers: HashSet<_> = holders.iter().map(|one| one.container.as_str()).collect();
        self.index.drop_file();
        self.for_each_file(|name, text| {
            let is_valid = texts.contains(text) || containers.contains(text);
            match is_valid || name == LOCK || name.starts_with(LAST_PREFIX) {
                true => Ok(()),
                false => self.remove(name),
            }
        })
    }

    /// To be called when all is done: the index is trusted from then on.
    pub(super) fn close(mut self) {
        self.index.end();
    }

    /// The addresses whose files name the holder. What is in the index is read there again; without one, all files are.
    fn find(&mut self, holder: &Holder) -> Result<Vec<(IpAddr, Match)>, FolderError> {
        if let Some(candidates) = self.index.candidates(holder) {
            let named = candidates.into_iter().filter_map(|ip| {
                let text = fs::read_to_string(self.path.join(ip.to_string())).ok()?;
                Some((ip, holder.is_named(text.trim())?))
            });
            return Ok(named.collect());
        }
        let mut leases = Vec::new();
        self.for_each_file(|name, text| {
            leases.extend(name.parse().map(|ip: IpAddr| (ip, text.to_owned())));
            Ok(())
        })?;
        self.index.fill(&leases);
        let named = leases
            .iter()
            .filter_map(|(ip, text)| Some((*ip, holder.is_named(text)?)));
        Ok(named.collect())
    }

    fn for_each_file(
        &self,
        mut visit: impl FnMut(&str, &str) -> Result<(), FolderError>,
    ) -> Result<(), FolderError> {
        for name in self.entries()? {
            // What cannot be read names nobody.
            if let Ok(text) = fs::read_to_string(self.path.join(&name)) {
                visit(&name, text.trim())?;
            }
        }
        Ok(())
    }

    /// The names of all files.
    fn entries(&self) -> Result<Vec<String>, FolderError> {
        let failed = |source| file("list", &self.path, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(file("remove", &path, source))
            }
            _ => Ok(()),
        }
    }
}

/// A file with the text of a lease and without a name. A name makes it a lease: a plugin that is killed leaves no lease
/// without a holder. Each lease of an ADD is one more name.
pub(super) struct Draft<'h> {
    holder: &'h Holder,
    unnamed: Option<File>,
}

impl Draft<'_> {
    /// Names the file; EEXIST if another file has the name.
    fn name(&self, path: &Path) -> io::Result<()> {
        let Some(unnamed) = &self.unnamed else {
            return self.create(path);
        };
        let from = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
        let flags = AtFlags::AT_SYMLINK_FOLLOW;
        Ok(linkat(AT_FDCWD, from.as_str(), AT_FDCWD, path, flags)?)
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path)?;
        let text = self.holder.text();
        file.write_all(text.as_bytes()).inspect_err(|_| {
            // What could not be written is no lease.
            let _ = fs::remove_file(path);
        })
    }
}

fn file(doing: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
