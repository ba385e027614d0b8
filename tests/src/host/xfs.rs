//! An XFS whose power can be cut. XFS may have a file's name on the disk, and not its bytes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::sweep;

/// The smallest XFS has 300 MiB; what is not written takes no room.
const BYTES: u64 = 400 << 20;

/// An XFS in a file. Dropping it unmounts it and removes the file.
#[derive(Debug)]
pub struct XfsImage {
    image: PathBuf,
    path: PathBuf,
}

impl XfsImage {
    /// Makes one in the file `image`, and mounts it at the folder `path`.
    ///
    /// # Panics
    /// When it cannot be made or mounted.
    pub fn mount(image: PathBuf, path: PathBuf) -> XfsImage {
        XfsImage::try_mount(image, path).unwrap_or_else(|command| panic!("failed: {command}"))
    }

    /// # Errors
    /// The command that failed; its standard error says why.
    fn try_mount(image: PathBuf, path: PathBuf) -> Result<XfsImage, String> {
        let file = File::create(&image).and_then(|file| file.set_len(BYTES));
        file.unwrap_or_else(|error| panic!("{}: {error}", image.display()));
        run("mkfs.xfs", &["-q".as_ref(), &image])?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &path])?;
        Ok(XfsImage { image, path })
    }

    /// Cuts the power when all names are on the disk, and mounts what is left.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn cut_power(&self) {
        let (image, path) = (self.image.as_path(), self.path.as_path());
        let cut = run(
            "xfs_io",
            &["-x".as_ref(), "-c".as_ref(), "shutdown -f".as_ref(), path],
        );
        let cut = cut.and_then(|()| run("umount", &[path]));
        let mounted =
            cut.and_then(|()| run("mount", &["-o".as_ref(), "loop".as_ref(), image, path]));
        mounted.unwrap_or_else(|command| panic!("failed: {command}"));
    }
}

impl Drop for XfsImage {
    fn drop(&mut self) {
        // A test that fails reports its own reason.
        if let Err(command) = run("umount", &["--lazy".as_ref(), &self.path]) {
            eprintln!("failed: {command}");
        }
        let _ = fs::remove_file(&self.image);
    }
}

/// Whether this machine can make one.
pub(crate) fn can_mount() -> bool {
    let folder = sweep::temporary_folder();
    let path = folder.path().join("mounted");
    fs::create_dir(&path).expect("make a folder");
    XfsImage::try_mount(folder.path().join("image"), path).is_ok()
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {arguments:?}: {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
