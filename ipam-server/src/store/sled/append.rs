//! What is appended: a group becomes a record of the journal, and changes of the tree that are put in behind it.

use ipam_core::log::{Append, Group, Log, Position, StoreError};

use super::{Failed, SledStore, Writer, batch, failure, index, schema, values};
use crate::store::journal::{self, Entry, Journal, Status};

/// A group on its way into the journal.
struct Prepared {
    entries: Vec<Entry>,
    /// What the store holds afterwards.
    status: Status,
}

impl SledStore {
    /// Appends a group to the journal, and hands its changes to the thread that puts them into the tree.
    fn write(&self, writer: &mut Writer, group: &Group) -> Result<(), StoreError> {
        // sled keeps an error of its own, and fails from then on.
        writer.failed = Failed::Tree;
        let prepared = self.prepare(&writer.journal, group)?;
        writer.failed = Failed::Journal;
        let appended = writer.journal.append(prepared.entries, prepared.status);
        let entries = appended.map_err(|error| failure::io(&self.path, error))?;
        if let Err(error) = self.folder.check() {
            writer.failed = Failed::Split;
            return Err(error);
        }
        writer.failed = Failed::Nothing;
        self.tree.hand_over(writer.journal.sequence, entries);
        Ok(())
    }

    /// Makes the tree anew of the journal.
    fn replace_tree(&self, journal: &Journal) -> Result<(), StoreError> {
        let path = &self.path;
        // The index may be the only copy of what the journal has lost.
        let found = journal::read(path).map_err(|hole| schema::corrupt(path, &hole))?;
        if (found.sequence, found.status) != (journal.sequence, journal.status) {
            let what = format!(
                "its journal ends with commit {}, and {} were answered",
                found.sequence, journal.sequence
            );
            return Err(failure::corrupt(path, what));
        }
        self.tree.close();
        index::remove(path)?;
        let db = index::settle(path, self.cache_bytes, &found)?;
        self.tree.replace(db, journal.sequence);
        Ok(())
    }

    /// What a group changes, and what the store holds with it, by what it held before.
    fn prepare(&self, journal: &Journal, group: &Group) -> Result<Prepared, StoreError> {
        let before = journal.status;
        let values::Changed { entries, made } = values::changed(group, before.oldest..=before.head);
        let status = batch::status_after(&self.path, &self.tree, &entries, &made, before)?;
        Ok(Prepared {
            status: with_extent(status, before, group),
            entries,
        })
    }
}

/// What a store holds, with the oldest and the newest revision after a group.
fn with_extent(mut status: Status, before: Status, group: &Group) -> Status {
    if let (0, Some(first)) = (before.events, group.events.first()) {
        status.oldest = first.revision;
    }
    if let Some(to) = group.forget_events_to {
        status.oldest = status.oldest.max(to + 1);
    }
    if let Some(last) = group.events.last() {
        status.head = last.revision;
    }
    status
}

impl Log for SledStore {
    fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError> {
        let mut writer = self.writer();
        let path = &self.path;
        if writer.failed == Failed::Nothing
            && let Err(error) = self.tree.newest()
        {
            writer.failed = Failed::Tree;
            return Err(error);
        }
        // There is no other writer.
        if group.is_empty() {
            return Ok(Append::Appended(at));
        }
        if writer.failed != Failed::Nothing {
            return Err(failure::closed(path));
        }
        if at != Position(writer.journal.sequence) {
            let what = format!(
                "an append behind group {} of {}",
                at.0, writer.journal.sequence
            );
            return Err(failure::corrupt(path, what));
        }
        self.folder.check()?;
        if let Err(error) = writer.journal.void() {
            writer.failed = Failed::Journal;
            return Err(failure::io(path, error));
        }
        self.write(&mut writer, group)?;
        let end = Position(writer.journal.sequence);
        if writer.failed == Failed::Nothing {
            self.write_base_if_due(&mut writer);
        }
        Ok(Append::Appended(end))
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let path = &self.path;
        self.folder.check()?;
        match writer.failed {
            Failed::Nothing => return Ok(()),
            Failed::Journal => {
                let void = writer.journal.void();
                void.map_err(|error| failure::io(path, error))?;
            }
            Failed::Tree => self.replace_tree(&writer.journal)?,
            Failed::Split => {
                let text = "the store's folder was not in its place while a change was written; start ipam-server again, which reads \
                            whether it has the change";
                return Err(failure::io(path, std::io::Error::other(text)));
            }
        }
        writer.failed = Failed::Nothing;
        Ok(())
    }
}
