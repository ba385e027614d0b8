//! A folder that is opened once, by its descriptor. Files are made, read and removed in it whatever becomes of its path, no
//! link is followed, and no file is taken for another one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

/// The most that is read of one file.
const FILE_BYTES: u64 = 64 << 10;

/// A folder that is open.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder `name` below `parent`; nothing if there is none.
    ///
    /// # Errors
    /// What the system says, also if a link is in the place of the folder.
    pub(crate) fn open(parent: &Path, name: &str) -> io::Result<Option<Folder>> {
        let parent = match File::open(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            parent => parent?,
        };
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&parent, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => Ok(None),
            opened => {
                let folder = Folder(opened?);
                folder.tighten()?;
                Ok(Some(folder))
            }
        }
    }

    /// The same; the folder is made if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn make(parent: &Path, name: &str) -> io::Result<Folder> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        match mkdirat(&File::open(parent)?, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let made = Folder::open(parent, name)?;
        made.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// An earlier version may have left it open to others.
    fn tighten(&self) -> io::Result<()> {
        let folder = File::from(self.0.try_clone()?);
        match folder.metadata()?.mode() & 0o077 {
            0 => Ok(()),
            _ => folder.set_permissions(fs::Permissions::from_mode(0o700)),
        }
    }

    /// The names of its files.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        // A descriptor of its own: reading moves the place in it.
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut folder = Dir::openat(&self.0, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in folder.iter() {
            let entry = entry?;
            names.extend(entry.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// Whether it has something of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).is_ok()
    }

    /// What a file holds, and when it was written.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` if it is no regular file or too large.
    pub(crate) fn read(&self, name: &str) -> io::Result<(Vec<u8>, SystemTime)> {
        let file = self.file(name)?;
        let found = file.metadata()?;
        let mut bytes = Vec::new();
        if found.is_file() {
            (&file).take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
        }
        match found.is_file() && bytes.len() as u64 <= FILE_BYTES {
            true => Ok((bytes, found.modified()?)),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file of 64 KiB at most",
            )),
        }
    }

    /// When a file was written; an error if it is no regular file.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn written(&self, name: &str) -> io::Result<SystemTime> {
        let found = self.file(name)?.metadata()?;
        match found.is_file() {
            true => found.modified(),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Writes a file so that it survives a power cut; one of this name is replaced.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.{}.new", std::process::id());
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let make = || openat(&self.0, &*temporary, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let made = match make() {
            // Of an earlier process of this number, which was killed.
            Err(Errno::EEXIST) => {
                self.remove(&temporary)?;
                make()
            }
            made => made,
        };
        let mut file = File::from(made?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| self.rename(&temporary, name)) {
            // What was begun is of no use; that it cannot be removed either adds nothing to the error.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        Ok(fsync(&self.0)?)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// The right to the file `name`, made if there is none: EWOULDBLOCK if somebody else has it.
    pub(crate) fn lock(&self, name: &str) -> Result<Flock<File>, Errno> {
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let locked = Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock);
        locked.map_err(|(_, errno)| errno)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_file_that_is_written_is_private_and_replaces_what_has_its_name() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        assert!(Folder::open(&state, "releases").unwrap().is_none());
        let folder = Folder::make(&state, "releases").unwrap();
        let victim = place.path().join("victim");
        fs::write(&victim, "as it was").unwrap();
        let path = |name: &str| state.join("releases").join(name);
        symlink(&victim, path("a.json")).unwrap();
        let temporary = format!("b.json.{}.new", std::process::id());
        symlink(&victim, path(&temporary)).unwrap();
        for name in ["a.json", "b.json"] {
            folder.write(name, name.as_bytes()).unwrap();
            assert_eq!(folder.read(name).unwrap().0, name.as_bytes());
            let mode = fs::symlink_metadata(path(name)).unwrap().mode();
            assert_eq!(mode & 0o177_777, 0o100_600, "{name}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
        let mut names = folder.names().unwrap();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        assert_eq!(names, ["a.json", "b.json"]);
    }

    #[test]
    fn links_are_not_followed_and_nothing_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, place.path().join("releases")).unwrap();
        assert!(Folder::open(place.path(), "releases").is_err());
        assert!(Folder::make(place.path(), "releases").is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        let folder = Folder::make(&elsewhere, "releases").unwrap();
        let path = |name: &str| elsewhere.join("releases").join(name);
        fs::write(place.path().join("secret"), "secret").unwrap();
        symlink(place.path().join("secret"), path("link")).unwrap();
        symlink(place.path().join("secret"), path("lock")).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        for name in ["link", "fifo"] {
            assert!(folder.read(name).is_err(), "{name}");
        }
        assert!(folder.lock("lock").is_err());
    }

    #[test]
    fn what_happens_stays_in_the_folder_and_an_open_one_is_tightened() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("releases");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = Folder::open(place.path(), "releases").unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let moved = place.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        folder.write("a", b"a").unwrap();
        assert!(moved.join("a").exists() && !path.join("a").exists());
    }
}
