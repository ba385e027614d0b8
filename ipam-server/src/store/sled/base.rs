//! Bases of the journal: all values as they are behind a group, so that older records can go.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tree::Tree;
use super::values::{self, Kind, is_content};
use super::{SledStore, Writer, block, failure};
use crate::store::StoreError;
use crate::store::journal::{self, BaseWriter};

/// Values of the tree that are read at once.
const PAGE: usize = 100;

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
    // Else a start after a kill -9 would lack what the journal begins behind, and make the index anew.
    tree.with(|db| {
        db.flush()
            .map(drop)
            .map_err(|error| failure::of(path, error))
    })?;
    let mut base = BaseWriter::create(path, due.0, due.1).map_err(io)?;
    let mut add = |key: &[u8], value: &[u8]| {
        if closing.load(Ordering::SeqCst) {
            return Err(failure::closed(path));
        }
        base.add(key.to_vec(), value.to_vec()).map_err(io)
    };
    let others = [Kind::Meta, Kind::Pool, Kind::Reservation];
    for mut values in others.map(|kind| Values::of(path, tree, kind)) {
        while let Some((key, value)) = values.next()? {
            if is_content(&key) {
                add(&key, &value)?;
            }
        }
    }
    // Most leases are a part of the event that made them, and compressed beside it they take next to nothing.
    let mut events = Values::of(path, tree, Kind::Events);
    let mut leases = Values::of(path, tree, Kind::Leases);
    loop {
        let next = match (events.number()?, leases.number()?) {
            (None, None) => break,
            (Some(event), lease) if lease.is_none_or(|lease| event <= lease) => events.next()?,
            _ => leases.next()?,
        };
        if let Some((key, value)) = next {
            block::contents(path, &key, &value, &mut add)?;
        }
    }
    base.finish(path, tree.newest()?).map_err(io)
}

/// All values of a kind, in order of key, read page by page.
struct Values<'a> {
    path: &'a Path,
    tree: &'a Tree,
    /// Where the next page begins, and before which key the last one ends.
    from: Vec<u8>,
    until: [u8; 1],
    page: VecDeque<(sled::IVec, sled::IVec)>,
}

impl Values<'_> {
    fn of<'a>(path: &'a Path, tree: &'a Tree, kind: Kind) -> Values<'a> {
        Values {
            path,
            tree,
            from: vec![kind.prefix()],
            until: [kind.prefix() + 1],
            page: VecDeque::new(),
        }
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        while self.page.is_empty() {
            let mut last = None;
            self.tree.with(|db| {
                let entries = db.range(self.from.as_slice()..self.until.as_slice());
                for entry in entries.take(PAGE) {
                    last = entry.as_ref().ok().map(|(key, _)| key.clone());
                    // What is removed meanwhile is not needed.
                    self.page.extend(super::read::whole(self.path, db, entry)?);
                }
                Ok(())
            })?;
            let Some(last) = last else {
                break;
            };
            // The key that follows.
            self.from = [last.as_ref(), &[0]].concat();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(sled::IVec, sled::IVec)>, StoreError> {
        self.fill()?;
        Ok(self.page.pop_front())
    }

    /// The number of the next block.
    fn number(&mut self) -> Result<Option<u64>, StoreError> {
        self.fill()?;
        let next = self.page.front();
        Ok(next.and_then(|(key, _)| values::number_of(key)))
    }
}
