//! The history, as it is read from the blocks of the index (see `block`).

use std::ops::RangeInclusive;
use std::path::Path;

use proto::ipam::v1::Event;

use super::super::StoreError;
use super::block::{Entries, key_at, last_key};
use super::values::{self, Kind};

/// The revision in the key of an event.
pub(super) fn revision(key: &[u8]) -> Option<u64> {
    values::number_of(key).filter(|_| key.first() == Some(&Kind::Event.prefix()))
}

/// Gives `visit` the events of these revisions, in order.
pub(super) fn visit(
    path: &Path,
    tree: &sled::Tree,
    revisions: RangeInclusive<u64>,
    mut visit: impl FnMut(u64, &[u8]),
) -> Result<(), StoreError> {
    let (from, until) = (*revisions.start(), *revisions.end());
    for entry in tree.range(key_at(Kind::Events, from)..=key_at(Kind::Events, until)) {
        let events = read(path, tree, entry)?;
        let wanted = events
            .iter()
            .filter(|(number, _)| revisions.contains(number));
        wanted.for_each(|(revision, event)| visit(revision, event));
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
    let mut events = Vec::new();
    let Some(first) = after.checked_add(1) else {
        return Ok(events);
    };
    for entry in tree.range(key_at(Kind::Events, first)..=last_key(Kind::Events)) {
        let found = read(path, tree, entry)?;
        let wanted = found.iter().filter(|(revision, _)| *revision >= first);
        for event in wanted.take(limit - events.len()) {
            events.push(decode(path, event)?);
        }
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
    let mut events = Vec::new();
    let (from, until) = (Kind::Events.number(0), key_at(Kind::Events, before));
    for entry in tree.range(from..=until).rev() {
        let found = read(path, tree, entry)?;
        let wanted = found
            .iter()
            .rev()
            .filter(|(revision, _)| *revision < before);
        for event in wanted.take(limit - events.len()) {
            events.push(decode(path, event)?);
        }
        if events.len() == limit {
            break;
        }
    }
    Ok(events)
}

/// The entries of a block; none if it is removed meanwhile.
fn read(
    path: &Path,
    tree: &sled::Tree,
    entry: sled::Result<(sled::IVec, sled::IVec)>,
) -> Result<Entries, StoreError> {
    match super::read::whole(path, tree, entry)? {
        Some((key, value)) => Entries::read(path, &key, &value),
        None => Ok(Entries::default()),
    }
}

fn decode(path: &Path, (revision, event): (u64, &[u8])) -> Result<Event, StoreError> {
    super::read::decode(path, &Kind::Event.number(revision), event)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::tree::{Changes, put_in};
    use super::*;

    /// A change of the history: an event of about `length` bytes, or that one is forgotten.
    fn entry(revision: u64, length: Option<usize>) -> (Vec<u8>, Option<Vec<u8>>) {
        let event = |length| Event {
            revision,
            actor: "x".repeat(length),
            ..Event::default()
        };
        (
            Kind::Event.number(revision).to_vec(),
            length.map(|length| event(length).encode_to_vec()),
        )
    }

    fn index() -> (tempfile::TempDir, sled::Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::open(folder.path()).unwrap();
        (folder, db)
    }

    fn change(path: &Path, db: &sled::Db, revisions: RangeInclusive<u64>, length: Option<usize>) {
        let changes: Changes = revisions.map(|number| entry(number, length)).collect();
        put_in(path, db, 7, &changes).unwrap();
    }

    fn revisions(events: Vec<Event>) -> Vec<u64> {
        events.iter().map(|event| event.revision).collect()
    }

    #[test]
    fn events_are_read_from_any_revision_in_both_directions() {
        let (folder, db) = index();
        let path = folder.path();
        // One at a time, many at once, and too long for a value.
        for revision in 3..=5 {
            change(path, &db, revision..=revision, Some(10));
        }
        change(path, &db, 6..=60, Some(200));
        change(path, &db, 61..=62, Some(900_000));
        change(path, &db, 63..=63, Some(10));
        assert_eq!(db.scan_prefix("E").count(), 4, "blocks");
        for from in 0..=64_u64 {
            for limit in [1, 2, 30, 100] {
                let wanted: Vec<_> = (3..=63).filter(|r| *r > from).take(limit).collect();
                let found = after(path, &db, from, limit).unwrap();
                assert_eq!(revisions(found), wanted, "after {from}");
                let back = (3..=63).rev().filter(|r| *r < from);
                let found = before(path, &db, from, limit).unwrap();
                assert_eq!(revisions(found), back.take(limit).collect::<Vec<_>>());
            }
        }
        assert_eq!(revisions(before(path, &db, u64::MAX, 1).unwrap()), [63]);
        assert!(after(path, &db, u64::MAX, 1).unwrap().is_empty());
    }

    #[test]
    fn the_oldest_events_are_removed_whatever_they_share_a_block_with() {
        let (folder, db) = index();
        let path = folder.path();
        change(path, &db, 1..=30, Some(200));
        change(path, &db, 31..=31, Some(900_000));
        change(path, &db, 32..=40, Some(200));
        for until in [1, 5, 16, 31, 33, 40] {
            let oldest = after(path, &db, 0, 1).unwrap()[0].revision;
            let mut visited = Vec::new();
            visit(path, &db, oldest..=until, |revision, event| {
                assert_eq!(Event::decode(event).unwrap().revision, revision);
                visited.push(revision);
            })
            .unwrap();
            assert_eq!(visited, (oldest..=until).collect::<Vec<_>>());
            // What is done twice changes nothing.
            for _ in 0..2 {
                change(path, &db, oldest..=until, None);
            }
            let left = revisions(after(path, &db, 0, 100).unwrap());
            assert_eq!(left, (until + 1..=40).collect::<Vec<_>>());
        }
        let left: Vec<_> = db.iter().keys().flatten().collect();
        assert_eq!(left, [Kind::Meta.key(values::APPLIED)], "pieces are left");
    }
}
