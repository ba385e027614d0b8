//! One sandbox under its lock: its record is read, written and removed here.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, fstatfs};

use super::lock::Lock;
use super::store::read_record;
use super::{Record, RecordError, Records};
use crate::limits::RECORD_BYTES;
use crate::private::private_file;

/// One sandbox, which nobody else works on as long as this value lives.
#[derive(Debug)]
pub struct Sandbox<'a> {
    pub(super) records: &'a Records,
    pub(super) container_id: String,
    pub(super) lock: Option<Lock>,
}

impl Sandbox<'_> {
    /// The sandbox's record, if it has one.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Corrupt`], [`RecordError::Newer`].
    pub fn load(&self) -> Result<Option<Record>, RecordError> {
        read_record(&self.records.file(&self.container_id))
    }

    /// Writes the record so that it survives a power cut from when this returns.
    ///
    /// # Errors
    /// [`RecordError::Write`]; the earlier record, if there was one, is then still there.
    pub fn save_durably(&self, record: &Record) -> Result<(), RecordError> {
        self.write(record, true)
    }

    /// Writes the record so that it survives the death of any process; after a power cut an earlier
    /// one, if there is one, may be there instead, which serves a DEL as well.
    ///
    /// # Errors
    /// As [`save_durably`](Self::save_durably).
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        self.write(record, false)
    }

    fn write(&self, record: &Record, durably: bool) -> Result<(), RecordError> {
        let path = self.records.file(&self.container_id);
        let temporary = self.records.temporary(&self.container_id);
        let write = || -> io::Result<()> {
            let bytes = serde_json::to_vec(record)?;
            if bytes.len() > RECORD_BYTES {
                let what = format!("the record has {} bytes", bytes.len());
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
            }
            let mut file = private_file(&temporary)?;
            file.write_all(&bytes)?;
            let is_kept = || {
                path.exists() && fstatfs(&file).is_ok_and(|on| keeps_order(on.filesystem_type()))
            };
            if durably || !is_kept() {
                file.sync_all()?;
            }
            fs::rename(&temporary, &path)?;
            if durably {
                File::open(&self.records.attachments)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|source| {
            // What was begun is of no use; that it cannot be removed either adds nothing to the error.
            let _ = fs::remove_file(&temporary);
            RecordError::Write { path, source }
        })
    }

    /// Forgets the sandbox: its record, its mark, and the lock's file. Nothing there is success.
    ///
    /// # Errors
    /// [`RecordError::Remove`].
    pub fn forget(mut self) -> Result<(), RecordError> {
        for path in [
            self.records.file(&self.container_id),
            self.records.temporary(&self.container_id),
        ] {
            match fs::remove_file(&path) {
                // A read-only file system refuses this before it finds the file.
                Err(source) if fs::exists(&path).unwrap_or(true) => {
                    return Err(RecordError::Remove { path, source });
                }
                _ => {}
            }
        }
        self.records.orphans.unmark(&self.container_id)?;
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
        Ok(())
    }

    /// Moves a record that cannot be read out of the way, and says where to.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn set_aside(&self) -> Result<PathBuf, RecordError> {
        let path = self.records.file(&self.container_id);
        let aside = (1..)
            .map(|n: u32| {
                self.records
                    .attachments
                    .join(format!("{}.unreadable-{n}", self.container_id))
            })
            .find(|aside| !aside.exists())
            .unwrap_or_else(|| path.with_extension("unreadable"));
        fs::rename(&path, &aside).map_err(|source| RecordError::Write { path, source })?;
        Ok(aside)
    }
}

/// Whether a power cut leaves an existing file or the one that replaced it, without a sync of the latter. ext4 writes the bytes
/// before the name, unless its mount options say otherwise (`auto_da_alloc` and `data=ordered` are its defaults;
/// Documentation/admin-guide/ext4.rst in Linux). XFS and others may lose both: the file of that name is empty then.
fn keeps_order(file_system: FsType) -> bool {
    file_system == EXT4_SUPER_MAGIC
}

impl Drop for Sandbox<'_> {
    /// A sandbox of which nothing is recorded leaves no lock behind.
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take()
            && !self.records.file(&self.container_id).exists()
        {
            lock.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC};

    use super::*;

    #[test]
    fn a_record_is_replaced_without_a_sync_only_where_a_power_cut_leaves_one_of_both() {
        assert!(keeps_order(EXT4_SUPER_MAGIC));
        for other in [BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC] {
            assert!(!keeps_order(other), "{other:?}");
        }
    }
}
