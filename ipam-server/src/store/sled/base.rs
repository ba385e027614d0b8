//! Bases of the journal: all values as they are behind a group, so that older records can go.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tree::Tree;
use super::values::{self, is_content};
use super::{SledStore, Writer, failure, history};
use crate::store::StoreError;
use crate::store::journal::{self, BaseWriter};

/// Values of a base that are read at once.
const PAGE: usize = 500;

impl SledStore {
    /// Begins to write a base if one is due.
    pub(super) fn write_base_if_due(&self, writer: &mut Writer) {
        let mut thread = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let due = match writer.journal.base_due() {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                // The next append tries it again.
                tracing::warn!(%error, "a new segment of the journal cannot be made");
                return;
            }
        };
        let (tree, writer) = (self.tree.clone(), self.writer.clone());
        let (path, closing) = (self.path.clone(), self.closing.clone());
        let spawned =
            std::thread::Builder::new()
                .name("base".into())
                .spawn(move || match write_base(&path, &tree, due, &closing) {
                    Ok(bytes) => {
                        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                        writer.journal.has_base(due.0, bytes);
                    }
                    Err(error) => {
                        // On a full disk what is written of it is in the way of everything else.
                        journal::remove_unfinished(&path);
                        if !closing.load(Ordering::SeqCst) {
                            tracing::warn!(%error, "a base of the journal was not written");
                        }
                    }
                });
        match spawned {
            Ok(spawned) => *thread = Some(spawned),
            Err(error) => tracing::warn!(%error, "a base of the journal was not written"),
        }
    }
}

/// Writes all values beside the appends, as base `due.0` for what is behind group `due.1`; returns its length in bytes.
fn write_base(
    path: &Path,
    tree: &Tree,
    due: (u64, u64),
    closing: &AtomicBool,
) -> Result<u64, StoreError> {
    let io = |error| failure::io(path, error);
    // A base holds everything up to the group behind which it begins.
    tree.catch_up()?;
    let mut base = BaseWriter::create(path, due.0, due.1).map_err(io)?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        if closing.load(Ordering::SeqCst) {
            return Err(failure::closed(path));
        }
        let mut page = Vec::new();
        tree.with(|db| {
            let entries = match &after {
                None => db.iter(),
                Some(after) => {
                    let behind = std::ops::Bound::Excluded(after.as_slice());
                    db.range::<&[u8], _>((behind, std::ops::Bound::Unbounded))
                }
            };
            for entry in entries.take(PAGE) {
                let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
                // A value whose pieces are gone was changed a moment ago: the journal has it.
                let value = match is_content(&key) {
                    true => values::whole(path, db, &key, stored)?,
                    false => None,
                };
                page.push((key, value));
            }
            Ok(())
        })?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = Some(last.to_vec());
        for (key, value) in page {
            let Some(value) = value else {
                continue;
            };
            for (key, value) in history::contents(path, &key, &value)? {
                base.add(key, value).map_err(io)?;
            }
        }
    }
    base.finish(path, tree.newest()?).map_err(io)
}
