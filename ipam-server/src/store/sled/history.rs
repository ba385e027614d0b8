//! How the history lies in the index: the events that a commit adds are packed together, a few KiB of them in one value,
//! since each value of its own costs sled a copy of a node.
//!
//! The key is that of the last event in the value, so that the first key that is not below a revision has it. A packed
//! value is `1` and then the events, each with its length before it; a value that begins otherwise is one event.

use std::ops::RangeInclusive;
use std::path::Path;

use prost::encoding::{decode_varint, encode_varint};
use proto::ipam::v1::Event;

use super::super::StoreError;
use super::failure;
use super::values::{self, Kind, PIECE};

/// The first byte of a value that is packed: no encoded message begins with it.
const PACKED: u8 = 1;

/// A key of a store's content with its value.
pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// Events on their way into the index, in order of revision.
#[derive(Default)]
pub(super) struct Packer {
    value: Vec<u8>,
    last: u64,
    count: usize,
    /// The one event of `value`, if it is one, is `value[single..]`.
    single: usize,
}

impl Packer {
    /// Adds the next event; what is full is put into `writes`.
    pub(super) fn add(
        &mut self,
        writes: &mut sled::Batch,
        commit: u64,
        revision: u64,
        event: &[u8],
    ) {
        // The length takes less than 10 bytes.
        let is_next = self.count > 0 && revision == self.last + 1;
        if !is_next || self.value.len() + event.len() + 10 > PIECE {
            self.finish(writes, commit);
        }
        if self.value.is_empty() {
            self.value.push(PACKED);
        }
        encode_varint(event.len() as u64, &mut self.value);
        self.single = self.value.len();
        self.value.extend_from_slice(event);
        self.last = revision;
        self.count += 1;
    }

    /// Puts what is left into `writes`.
    pub(super) fn finish(&mut self, writes: &mut sled::Batch, commit: u64) {
        let key = Kind::Event.number(self.last);
        match self.count {
            0 => {}
            1 => values::put(
                writes,
                commit,
                &key,
                self.value.get(self.single..).unwrap_or_default(),
            ),
            _ => values::put(writes, commit, &key, &self.value),
        }
        self.value.clear();
        self.count = 0;
    }
}

/// The revision in the key of an event, or of a value that ends with it.
pub(super) fn revision(key: &[u8]) -> Option<u64> {
    values::number_of(key).filter(|_| key.first() == Some(&Kind::Event.prefix()))
}

/// The events of a value, each with its revision, in order; `key` is the value's.
///
/// # Errors
/// [`StoreError::Corrupt`] if the value is not as it was written.
pub(super) fn unpack<'a>(
    path: &Path,
    key: &[u8],
    value: &'a [u8],
) -> Result<Vec<(u64, &'a [u8])>, StoreError> {
    let corrupt = || {
        let what = format!("the value of key {} is not whole", values::shown(key));
        failure::corrupt(path, what)
    };
    let last = values::number_of(key).ok_or_else(corrupt)?;
    let Some(mut rest) = value.strip_prefix(&[PACKED]) else {
        return Ok(vec![(last, value)]);
    };
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = decode_varint(&mut rest).map_err(|_| corrupt())?;
        let length = usize::try_from(length).map_err(|_| corrupt())?;
        let (event, behind) = rest.split_at_checked(length).ok_or_else(corrupt)?;
        events.push((0, event));
        rest = behind;
    }
    let first = (last + 1)
        .checked_sub(events.len() as u64)
        .ok_or_else(corrupt)?;
    for (revision, event) in (first..).zip(&mut events) {
        event.0 = revision;
    }
    Ok(events)
}

/// What a value of the index holds: the events that lie in it, each with its key, or itself.
///
/// # Errors
/// As [`unpack`].
pub(super) fn contents(path: &Path, key: &[u8], value: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
    if revision(key).is_none() {
        return Ok(vec![(key.to_vec(), value.to_vec())]);
    }
    let events = unpack(path, key, value)?.into_iter();
    let keyed =
        |(revision, event): (u64, &[u8])| (Kind::Event.number(revision).to_vec(), event.to_vec());
    Ok(events.map(keyed).collect())
}

/// Whether the index has an event.
pub(super) fn has(path: &Path, tree: &sled::Tree, revision: u64) -> Result<bool, StoreError> {
    let from = Kind::Event.number(revision);
    let until = Kind::Event.number(u64::MAX);
    let Some(entry) = tree.range(from..=until).next() else {
        return Ok(false);
    };
    let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
    let Some(value) = values::whole(path, tree, &key, stored)? else {
        return Ok(false);
    };
    let first = unpack(path, &key, &value)?.first().map(|(first, _)| *first);
    Ok(first.is_some_and(|first| first <= revision))
}

/// Removes events; `removed` is called with each one. What else lies in their values is kept.
pub(super) fn remove(
    path: &Path,
    tree: &sled::Tree,
    writes: &mut sled::Batch,
    revisions: RangeInclusive<u64>,
    mut removed: impl FnMut(u64, &[u8]),
) -> Result<(), StoreError> {
    let from = Kind::Event.number(*revisions.start());
    let until = Kind::Event.number(u64::MAX);
    for entry in tree.range(from..=until) {
        let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
        let value = values::whole(path, tree, &key, stored.clone())?;
        let value = value.ok_or_else(|| values::piece_gone(path, &key))?;
        let events = unpack(path, &key, &value)?;
        if events
            .first()
            .is_none_or(|(first, _)| first > revisions.end())
        {
            break;
        }
        values::remove(writes, &key, &stored);
        let mut kept = Packer::default();
        for (revision, event) in events {
            match revisions.contains(&revision) {
                true => removed(revision, event),
                // Its value is shorter than it was: no pieces.
                false => kept.add(writes, 0, revision, event),
            }
        }
        kept.finish(writes, 0);
    }
    Ok(())
}

/// Up to `limit` events with a revision above `after`, in order.
pub(super) fn after(
    path: &Path,
    tree: &sled::Tree,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let from = Kind::Event.number(after.saturating_add(1));
    let until = Kind::Event.number(u64::MAX);
    let mut events = Vec::new();
    for entry in tree.range(from..=until) {
        let read = read(path, tree, entry)?;
        let wanted = read.into_iter().filter(|event| event.revision > after);
        events.extend(wanted.take(limit - events.len()));
        if events.len() == limit {
            break;
        }
    }
    Ok(events)
}

/// Up to `limit` events with a revision below `before`, newest first.
pub(super) fn before(
    path: &Path,
    tree: &sled::Tree,
    before: u64,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let (from, at) = (Kind::Event.number(0), Kind::Event.number(before));
    let until = Kind::Event.number(u64::MAX);
    // The value that ends with that revision or above it may begin below.
    let around = tree.range(at..=until).next();
    let mut events = Vec::new();
    for entry in around.into_iter().chain(tree.range(from..at).rev()) {
        let read = read(path, tree, entry)?;
        let wanted = read.into_iter().rev();
        let wanted = wanted.filter(|event| event.revision < before);
        events.extend(wanted.take(limit - events.len()));
        if events.len() == limit {
            break;
        }
    }
    Ok(events)
}

/// The events of an entry; none if its value is removed meanwhile.
fn read(
    path: &Path,
    tree: &sled::Tree,
    entry: sled::Result<(sled::IVec, sled::IVec)>,
) -> Result<Vec<Event>, StoreError> {
    let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
    let value = match values::whole(path, tree, &key, stored)? {
        Some(value) => Some(value),
        None => values::get(path, tree, &key)?,
    };
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let events = unpack(path, &key, &value)?;
    let decode =
        |(revision, event)| super::read::decode(path, &Kind::Event.number(revision), event);
    events.into_iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// An event of about `length` bytes.
    fn event(revision: u64, length: usize) -> Vec<u8> {
        let actor = "x".repeat(length);
        Event {
            revision,
            actor,
            ..Event::default()
        }
        .encode_to_vec()
    }

    fn index() -> (tempfile::TempDir, sled::Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::open(folder.path()).unwrap();
        (folder, db)
    }

    fn add(db: &sled::Db, revisions: RangeInclusive<u64>, length: usize) {
        let (mut writes, mut events) = (sled::Batch::default(), Packer::default());
        for revision in revisions {
            events.add(&mut writes, 7, revision, &event(revision, length));
        }
        events.finish(&mut writes, 7);
        db.apply_batch(writes).unwrap();
    }

    fn revisions(events: Vec<Event>) -> Vec<u64> {
        events.iter().map(|event| event.revision).collect()
    }

    #[test]
    fn events_are_read_from_any_revision_in_both_directions() {
        let (folder, db) = index();
        // As older versions kept them, then packed, then too long for a value.
        for revision in 3..=5 {
            let key = Kind::Event.number(revision);
            db.insert(key, event(revision, 10)).unwrap();
        }
        add(&db, 6..=60, 200);
        add(&db, 61..=62, 9_000);
        add(&db, 63..=63, 10);
        assert!(db.scan_prefix("e").count() < 12, "they are not packed");
        let path = folder.path();
        for from in 0..=64_u64 {
            for limit in [1, 2, 30, 100] {
                let wanted: Vec<_> = (3..=63).filter(|r| *r > from).take(limit).collect();
                let found = after(path, &db, from, limit).unwrap();
                assert_eq!(revisions(found), wanted, "after {from}");
                let back = (3..=63).rev().filter(|r| *r < from);
                let found = before(path, &db, from, limit).unwrap();
                assert_eq!(revisions(found), back.take(limit).collect::<Vec<_>>());
            }
            assert_eq!(has(path, &db, from).unwrap(), (3..=63).contains(&from));
        }
    }

    #[test]
    fn the_oldest_events_are_removed_whatever_they_share_a_value_with() {
        let (folder, db) = index();
        let path = folder.path();
        add(&db, 1..=30, 200);
        add(&db, 31..=31, 9_000);
        add(&db, 32..=40, 200);
        for until in [1, 5, 16, 31, 33, 40] {
            let (mut writes, mut removed) = (sled::Batch::default(), Vec::new());
            let oldest = after(path, &db, 0, 1).unwrap()[0].revision;
            remove(path, &db, &mut writes, oldest..=until, |revision, event| {
                assert_eq!(Event::decode(event).unwrap().revision, revision);
                removed.push(revision);
            })
            .unwrap();
            db.apply_batch(writes).unwrap();
            assert_eq!(removed, (oldest..=until).collect::<Vec<_>>());
            let left = revisions(after(path, &db, 0, 100).unwrap());
            assert_eq!(left, (until + 1..=40).collect::<Vec<_>>());
        }
        assert_eq!(db.len(), 0, "pieces are left");
    }

    #[test]
    fn a_value_that_is_cut_off_is_refused() {
        let (folder, db) = index();
        add(&db, 1..=5, 100);
        let (key, value) = db.first().unwrap().unwrap();
        for length in 1..value.len() {
            let Ok(events) = unpack(folder.path(), &key, &value[..length]) else {
                continue;
            };
            // Cut between two events: the sum of all values does not fit then.
            assert!(events.len() < 5);
        }
    }
}
