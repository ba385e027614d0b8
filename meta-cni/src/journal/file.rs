//! The files: `operations.jsonl`, to which whole lines are appended, and `operations.1.jsonl`, which it becomes once it
//! is large. Nobody waits for anybody: a line is one write(2) with O_APPEND, without fsync.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Operation;
use crate::private::private_folder;

/// The size from which on a file is full: about as much again may be in the one before it.
pub const FULL_BYTES: u64 = 4 << 20;

/// How far before the end the newest line is searched.
const TAIL_BYTES: u64 = 16 << 10;

/// The journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{} {}", .doing, .path.display())]
pub struct JournalError {
    /// `reading` or `appending to`.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// The journal of a node.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
    full: u64,
}

impl Journal {
    /// The journal in `state_dir`. Nothing is read or made yet.
    pub fn new(state_dir: &Path) -> Journal {
        Journal {
            folder: state_dir.to_owned(),
            full: FULL_BYTES,
        }
    }

    fn now(&self) -> PathBuf {
        self.folder.join("operations.jsonl")
    }

    fn before(&self) -> PathBuf {
        self.folder.join("operations.1.jsonl")
    }

    /// Appends a line, which has no line end of its own.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append(&self, line: &[u8]) -> Result<(), JournalError> {
        self.write(line).map_err(|source| JournalError {
            doing: "appending to",
            path: self.now(),
            source,
        })
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        let mut size = file.metadata()?.len();
        if size >= self.full {
            self.rotate(&file)?;
            file = self.open()?;
            size = file.metadata()?.len();
        }
        let mut bytes = Vec::with_capacity(line.len() + 2);
        let mut last = [b'\n'];
        // What a full disk cut off must not spoil the line behind it.
        if size > 0 && file.read_exact_at(&mut last, size - 1).is_ok() && last != [b'\n'] {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        match file.write(&bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn open(&self) -> io::Result<File> {
        let open = || {
            File::options()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(self.now())
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                private_folder(&self.folder)?;
                open()
            }
            opened => opened,
        }
    }

    /// Makes `file` the earlier one, unless somebody else did, or is just doing so.
    fn rotate(&self, file: &File) -> io::Result<()> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Only who has the lock of the file that is there now may rename it.
        let is_there = fs::metadata(self.now())
            .is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()));
        if is_there {
            fs::rename(self.now(), self.before())?;
        }
        Ok(())
    }

    /// The newest line that can be read, if it is not too long.
    pub(super) fn last(&self) -> Option<Operation> {
        let file = File::open(self.now()).ok()?;
        let size = file.metadata().ok()?.len();
        let searched = size.min(TAIL_BYTES);
        let mut tail = vec![0; usize::try_from(searched).ok()?];
        file.read_exact_at(&mut tail, size - searched).ok()?;
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        lines.find_map(|line| serde_json::from_slice(line).ok())
    }

    /// The files that are there, the earlier one first, as they were at one moment: of a file that was renamed between the
    /// two, a follower would forget how far it was read.
    fn files(
        &self,
        mut open: impl FnMut(&Path) -> io::Result<Option<File>>,
    ) -> io::Result<Vec<File>> {
        loop {
            let now = open(&self.now())?;
            let before = open(&self.before())?;
            let opened = now.as_ref().map(|file| file.metadata()).transpose()?;
            let is_there = fs::metadata(self.now()).ok();
            // A file for 4 MiB of operations: nobody renames them faster than they are opened.
            if opened.is_none_or(|opened| is_there.is_some_and(|there| there.ino() == opened.ino()))
            {
                return Ok(before.into_iter().chain(now).collect());
            }
        }
    }

    /// What is in the journal, the newest first; lines that cannot be read are left out. A journal that is not there is
    /// empty.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn recent(&self) -> Result<Vec<Operation>, JournalError> {
        let mut all = Vec::new();
        for path in [self.now(), self.before()] {
            let text = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(|source| JournalError {
                    doing: "reading",
                    path,
                    source,
                })?,
            };
            let lines = text.rsplit(|byte| *byte == b'\n');
            all.extend(lines.filter_map(|line| serde_json::from_slice::<Operation>(line).ok()));
        }
        Ok(all)
    }
}

/// Reads what is appended to a journal.
#[derive(Debug)]
pub struct Follower {
    journal: Journal,
    /// How far each file, by its inode, was read.
    read: BTreeMap<u64, u64>,
}

impl Follower {
    /// Begins behind what is there now.
    pub fn at_end(journal: Journal) -> Follower {
        let files = journal.files(open_if_there).unwrap_or_default();
        let sizes = files.iter().filter_map(|file| file.metadata().ok());
        let read = sizes.map(|file| (file.ino(), file.len())).collect();
        Follower { journal, read }
    }

    /// What was appended since the last poll, in order. The end of a line that is just being written is left for the next
    /// poll.
    ///
    /// # Errors
    /// As the files have them; what was read before is given the next time.
    pub fn read_new(&mut self) -> io::Result<Vec<Operation>> {
        self.read_from(open_if_there)
    }

    fn read_from(
        &mut self,
        open: impl FnMut(&Path) -> io::Result<Option<File>>,
    ) -> io::Result<Vec<Operation>> {
        let mut seen = BTreeMap::new();
        let mut operations = Vec::new();
        // The earlier one, too: whoever opened it before it was renamed may still append.
        for mut file in self.journal.files(open)? {
            let (inode, size) = (file.metadata()?.ino(), file.metadata()?.len());
            let known = self.read.get(&inode).copied().unwrap_or_default();
            let mut offset = if known > size { 0 } else { known };
            file.seek(SeekFrom::Start(offset))?;
            let mut lines = BufReader::new(file.take(size - offset));
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
                offset += line.len() as u64;
                operations.extend(serde_json::from_slice::<Operation>(&line).ok());
                line.clear();
            }
            seen.insert(inode, offset);
        }
        self.read = seen;
        Ok(operations)
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

#[cfg(test)]
mod tests;
