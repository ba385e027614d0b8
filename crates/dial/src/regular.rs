//! Reading a file that a configuration names: regular, small, and never waited for. A FIFO, a device or an endless file
//! must not hold up a process of root.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

/// The most that is read of one file.
pub const FILE_BYTES: u64 = 1 << 20;

/// Opens a regular file to read it. Links are followed: Kubernetes keeps the files of secrets behind them.
///
/// # Errors
/// What the system says; `InvalidInput` if it is no regular file, or larger than [`FILE_BYTES`].
pub fn open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let found = file.metadata()?;
    let kind = found.file_type();
    if !kind.is_file() {
        let what = match () {
            () if kind.is_fifo() => "a FIFO",
            () if kind.is_dir() => "a folder",
            () => "a device or socket",
        };
        return Err(refused(format!("it is {what}, not a regular file")));
    }
    if found.len() > FILE_BYTES {
        return Err(too_large());
    }
    Ok(file)
}

/// Reads a regular file whole.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_open(&open(path)?)
}

/// Reads an open file whole.
///
/// # Errors
/// What the system says; `InvalidInput` if it is larger than [`FILE_BYTES`].
pub fn read_open(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

fn too_large() -> io::Error {
    refused("it is larger than 1 MiB".to_owned())
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_regular_small_files_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("good"), "good").unwrap();
        std::os::unix::fs::symlink("good", path("link")).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        File::create(path("large"))
            .unwrap()
            .set_len(FILE_BYTES + 1)
            .unwrap();
        for (name, expected) in [
            ("good", Ok("good")),
            ("link", Ok("good")),
            ("fifo", Err("FIFO")),
            ("folder", Err("folder")),
            ("large", Err("larger than 1 MiB")),
            ("missing", Err("No such file")),
            ("/dev/zero", Err("a device")),
        ] {
            let read = read(&path(name)).map_err(|error| error.to_string());
            match expected {
                Ok(text) => assert_eq!(read.unwrap(), text.as_bytes(), "{name}"),
                Err(words) => assert!(read.unwrap_err().contains(words), "{name}"),
            }
        }
    }
}
