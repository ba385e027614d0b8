//! The executables in the folder of plugins: put there when their content differs, and left alone else.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::InstallError;
use super::changes::{Changes, digest};
use super::place::Places;
use super::receipt::Receipt;

/// What container runtimes and CNI plugins execute.
const NAMES: [&str; 2] = ["meta-cni", "meta-ipam"];
const MODE: u32 = 0o755;

/// The executables to install.
pub(super) struct Executables {
    from: PathBuf,
    /// The files in place when their content was last compared: it is not compared again while these stay the same.
    seen: [Option<Identity>; NAMES.len()],
}

/// What changes when a file is replaced or written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    mode: u32,
}

impl Executables {
    /// Those of a folder, as this process sees it.
    pub(super) fn of(from: PathBuf) -> Executables {
        Executables {
            from,
            seen: [None; NAMES.len()],
        }
    }

    /// Installs those that differ.
    pub(super) fn install(
        &mut self,
        places: &Places,
        receipt: &mut Receipt,
        changes: &mut Changes<'_>,
    ) -> Result<(), InstallError> {
        for (name, seen) in NAMES.iter().zip(&mut self.seen) {
            let on_node = places.bin_dir.join(name);
            let here = places.here(&on_node);
            if identity(&here).is_some_and(|now| Some(now) == *seen) {
                continue;
            }
            let from = self.from.join(name);
            if !is_installed(&from, &here)? {
                let digest = digest(&from).map_err(InstallError::read(&from))?;
                changes.folder(&places.here(&places.bin_dir))?;
                receipt.note_file(places, changes, &on_node, &digest)?;
                let version = env!("CARGO_PKG_VERSION");
                let why = format!("{name} {version}, SHA-256 {}", &digest[..12]);
                changes.copy(&from, &here, MODE, &why)?;
            }
            *seen = identity(&here);
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let of = |file: Metadata| Identity {
        device: file.dev(),
        inode: file.ino(),
        changed: (file.ctime(), file.ctime_nsec()),
        mode: file.mode(),
    };
    fs::metadata(path).ok().map(of)
}

/// Whether the file in place is the one to install, and may be executed.
fn is_installed(from: &Path, to: &Path) -> Result<bool, InstallError> {
    let source = fs::metadata(from).map_err(InstallError::read(from))?;
    match fs::symlink_metadata(to) {
        Ok(target) if !target.is_file() => Ok(false),
        Ok(target) if target.permissions().mode() & 0o7777 != MODE => Ok(false),
        Ok(target) if target.len() != source.len() => Ok(false),
        Ok(_) => same_content(from, to),
        Err(_) => Ok(false),
    }
}

fn same_content(one: &Path, other: &Path) -> Result<bool, InstallError> {
    let mut ones = File::open(one).map_err(InstallError::read(one))?;
    let mut others = File::open(other).map_err(InstallError::read(other))?;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        chunk(&mut ones, &mut a).map_err(InstallError::read(one))?;
        chunk(&mut others, &mut b).map_err(InstallError::read(other))?;
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}

fn chunk(from: &mut File, to: &mut Vec<u8>) -> io::Result<()> {
    to.clear();
    from.take(64 << 10).read_to_end(to).map(drop)
}
