//! What sled and the file system say, as [`StoreError`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::{StoreError, named};

/// Less free room than this, and a failed write is for want of room: sled does not always keep the cause.
const ROOM: u64 = 256 << 10;

/// An error of sled.
pub(super) fn of(path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            StoreError::Locked { store: named(path) }
        }
        sled::Error::Io(source) => io(path, source),
        sled::Error::Corruption { at, .. } => corrupt(path, format!("{at:?}")),
        other if is_full(path) => {
            tracing::debug!(error = %other, "taken for a want of room");
            StoreError::Full { store: named(path) }
        }
        other => corrupt(path, other.to_string()),
    }
}

/// An error of the file system.
pub(in crate::store) fn io(path: &Path, source: io::Error) -> StoreError {
    let store = named(path);
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { store },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            StoreError::ReadOnly { store }
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            corrupt(path, source.to_string())
        }
        _ if is_full(path) => StoreError::Full { store },
        _ => StoreError::Io {
            store,
            source: Arc::new(source),
        },
    }
}

/// sled panics on some damage and on some failed writes.
pub(super) fn panicked(path: &Path) -> StoreError {
    if is_full(path) {
        return StoreError::Full { store: named(path) };
    }
    corrupt(
        path,
        "sled gave up on it; its message is on standard error".to_owned(),
    )
}

/// The store waits to be opened anew.
pub(super) fn closed(path: &Path) -> StoreError {
    if is_full(path) {
        return StoreError::Full { store: named(path) };
    }
    StoreError::Io {
        store: named(path),
        source: Arc::new(io::Error::other(
            "it failed before and is not open again yet",
        )),
    }
}

/// Its content is not what was written.
pub(super) fn corrupt(path: &Path, what: String) -> StoreError {
    StoreError::Corrupt {
        store: named(path),
        what,
    }
}

fn is_full(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path)
        .is_ok_and(|fs| fs.blocks_available().saturating_mul(fs.fragment_size()) < ROOM)
}
