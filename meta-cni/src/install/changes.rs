//! The one place that changes files of the node; in a dry run it only reports. A file is replaced by a temporary file in
//! the same folder, fsync, rename, and fsync of the folder: a reader sees the old file or the new one, a running
//! executable stays what it is, and a container runtime, which ignores what comes from other folders, loads a new
//! configuration at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::InstallError;
use super::report::{Action, Report};
use crate::private::private_folder;
use crate::random;

/// How names of temporary files begin: container runtimes read only names that end in .conf, .conflist or .json.
const TEMPORARY: &str = ".meta-cni-new-";

/// Whether something is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is.
    Apply,
    /// It is only reported.
    Pretend,
}

/// Changes files and reports what it did.
pub(super) struct Changes<'w> {
    mode: Mode,
    /// Where each change is reported.
    pub(super) report: Report<'w>,
}

impl<'w> Changes<'w> {
    pub(super) fn new(mode: Mode, report: Report<'w>) -> Changes<'w> {
        Changes { mode, report }
    }

    pub(super) fn is_pretended(&self) -> bool {
        self.mode == Mode::Pretend
    }

    /// Puts a text into a file.
    pub(super) fn write(
        &mut self,
        path: &Path,
        text: &[u8],
        mode: u32,
        why: &str,
    ) -> Result<(), InstallError> {
        if !self.is_pretended() {
            replace(path, mode, |file| file.write_all(text)).map_err(InstallError::write(path))?;
        }
        self.report.change(Action::Write, path, why)
    }

    /// Puts a copy of a file in the place of another.
    pub(super) fn copy(
        &mut self,
        from: &Path,
        to: &Path,
        mode: u32,
        why: &str,
    ) -> Result<(), InstallError> {
        if !self.is_pretended() {
            copy(from, to, mode)?;
        }
        self.report.change(Action::Write, to, why)
    }

    /// Renames a file.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, why: &str) -> Result<(), InstallError> {
        if !self.is_pretended() {
            let renamed = fs::rename(from, to).and_then(|()| {
                sync_folder(from)?;
                sync_folder(to)
            });
            renamed.map_err(InstallError::write(from))?;
        }
        self.report.change(Action::Move, from, why)
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&mut self, path: &Path, why: &str) -> Result<(), InstallError> {
        if !path.exists() {
            return Ok(());
        }
        if !self.is_pretended() {
            let removed = fs::remove_file(path).and_then(|()| sync_folder(path));
            removed.map_err(InstallError::write(path))?;
        }
        self.report.change(Action::Remove, path, why)
    }

    /// Writes a note of our own, which is not reported.
    pub(super) fn note(&self, path: &Path, text: &[u8]) -> Result<(), InstallError> {
        self.private_folder(path.parent().unwrap_or(path))?;
        self.unreported(path, || replace(path, 0o600, |file| file.write_all(text)))
    }

    /// Removes a note of our own.
    pub(super) fn forget(&self, path: &Path) -> Result<(), InstallError> {
        self.unreported(path, || if_there(fs::remove_file(path)))
    }

    /// Keeps a copy of a file in a folder of our own.
    pub(super) fn keep(&self, from: &Path, to: &Path) -> Result<(), InstallError> {
        self.private_folder(to.parent().unwrap_or(to))?;
        if self.is_pretended() {
            return Ok(());
        }
        let mode = fs::metadata(from).map_err(InstallError::read(from))?;
        copy(from, to, mode.permissions().mode() & 0o777)
    }

    /// Makes a private folder, if it does not exist.
    pub(super) fn private_folder(&self, path: &Path) -> Result<(), InstallError> {
        self.unreported(path, || private_folder(path))
    }

    /// Makes a folder that everybody may read, if it does not exist.
    pub(super) fn folder(&self, path: &Path) -> Result<(), InstallError> {
        self.unreported(path, || fs::create_dir_all(path))
    }

    /// Makes a change of which nobody needs to hear.
    fn unreported(
        &self,
        path: &Path,
        change: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), InstallError> {
        match self.mode {
            Mode::Apply => change().map_err(InstallError::write(path)),
            Mode::Pretend => Ok(()),
        }
    }

    /// Removes what a killed installer left half written in a folder.
    pub(super) fn sweep(&self, folder: &Path) {
        let entries = match self.mode {
            Mode::Apply => fs::read_dir(folder),
            Mode::Pretend => return,
        };
        for entry in entries.into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // Another installer may have done it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes a folder of our own with what it holds; one that does not exist is as good as removed.
    pub(super) fn remove_folder(&self, path: &Path) -> Result<(), InstallError> {
        self.unreported(path, || if_there(fs::remove_dir_all(path)))
    }

    /// Removes a folder if it is empty.
    pub(super) fn remove_empty_folder(&self, path: &Path) {
        if self.mode == Mode::Apply {
            // What others keep there stays.
            let _ = fs::remove_dir(path);
        }
    }
}

/// The end of a removal: what does not exist is as good as removed.
fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), InstallError> {
    let mut source = File::open(from).map_err(InstallError::read(from))?;
    replace(to, mode, |file| io::copy(&mut source, file).map(drop)).map_err(InstallError::write(to))
}

/// Makes the file anew beside its place and puts it there.
fn replace(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary(path);
    let made = make(&temporary, mode, write).and_then(|()| fs::rename(&temporary, path));
    if made.is_err() {
        // The failure that is reported is the first one.
        let _ = fs::remove_file(&temporary);
    }
    made?;
    sync_folder(path)
}

fn make(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    write(&mut file)?;
    // Not as the umask would have it.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn temporary(path: &Path) -> PathBuf {
    path.with_file_name(format!("{TEMPORARY}{:016x}", random::number()))
}

fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().unwrap_or(of);
    File::open(folder)?.sync_all()
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            length => context.update(&chunk[..length]),
        }
    }
    Ok(hexadecimal(context.finish().as_ref()))
}

/// The SHA-256 of a text, in hexadecimal.
pub(super) fn digest_of(text: &[u8]) -> String {
    hexadecimal(ring::digest::digest(&SHA256, text).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
