use std::sync::Arc;

use ipam_core::event::{Change, Event};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Append, Group, Log as _, Position, Store as _};
use prost::Message as _;

use super::values::Kind;
use super::*;
use crate::store::salvage::salvage;

mod damage;
mod migration;

fn store(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, 1 << 24)
}

fn lease(number: u64) -> Lease {
    Lease {
        id: LeaseId(number),
        pool: "blue".into(),
        ..Lease::default()
    }
}

/// A group with one change of a lease.
fn change(revision: u64, before: Option<Lease>, after: Option<Lease>) -> Group {
    Group {
        events: vec![Event {
            revision,
            change: Change::lease(before.map(Arc::new), after.map(Arc::new)),
            ..Event::default()
        }],
        ..Group::default()
    }
}

fn group(number: u64) -> Group {
    change(number, None, Some(lease(number)))
}

/// Appends where the journal ends.
fn commit(store: &SledStore, group: &Group) -> Result<Append, StoreError> {
    let at = Position(store.writer().journal.sequence);
    store.append(at, group)
}

#[test]
fn what_was_committed_is_there_after_it_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    commit(&first, &group(1)).unwrap();
    drop(first);
    let second = store(dir.path()).unwrap();
    assert_eq!(second.lease(LeaseId(1)).unwrap(), Some(lease(1)));
}

#[test]
fn a_store_that_is_open_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let _first = store(dir.path()).unwrap();
    assert!(matches!(
        store(dir.path()).err(),
        Some(StoreError::Locked { .. })
    ));
}

#[test]
fn a_value_that_its_event_states_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let note = ("note".to_owned(), "x".repeat(2000));
    let fat = Lease {
        labels: Arc::new([note].into()),
        ..lease(1)
    };
    let one = change(1, None, Some(fat.clone()));
    let first = store(dir.path()).unwrap();
    commit(&first, &one).unwrap();
    drop(first);
    let found = journal::read(dir.path()).unwrap();
    assert!(found.bytes() < 3000, "{} bytes", found.bytes());
    // The index is made anew from the journal alone.
    index::remove(dir.path()).unwrap();
    let second = store(dir.path()).unwrap();
    assert_eq!(second.lease(LeaseId(1)).unwrap(), Some(fat));
    assert_eq!(second.events(0, 10).unwrap(), one.events);
}

#[test]
fn a_copy_that_a_killed_process_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("ipam-server-salvage-7");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("db"), [7]).unwrap();
    drop(store(dir.path()).unwrap());
    assert!(!copy.exists());
}

#[test]
fn neighbours_stay_when_a_lease_changes_or_ends() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    for number in 1..=33 {
        commit(&first, &group(number)).unwrap();
    }
    let renewed = Lease {
        generation: 2,
        ..lease(17)
    };
    commit(&first, &change(34, Some(lease(17)), Some(renewed.clone()))).unwrap();
    commit(&first, &change(35, Some(lease(18)), None)).unwrap();
    let expected: Vec<Lease> = (1..=33)
        .filter(|number| *number != 18)
        .map(|number| match number {
            17 => renewed.clone(),
            number => lease(number),
        })
        .collect();
    assert_eq!(first.leases(LeaseId(0), 100).unwrap(), expected);
    assert_eq!(first.lease(LeaseId(17)).unwrap(), Some(renewed));
    assert_eq!(first.lease(LeaseId(18)).unwrap(), None);
    assert_eq!(first.leases(LeaseId(17), 1).unwrap(), [lease(19)]);
    drop(first);
    let again = store(dir.path()).unwrap();
    assert_eq!(again.leases(LeaseId(0), 100).unwrap(), expected);
}

#[test]
fn an_append_that_failed_is_not_there_after_the_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).unwrap();
    commit(&store, &group(1)).unwrap();
    let before = store.writer().journal.status;
    // As if the write had come through and only the answer had been lost.
    {
        let mut writer = store.writer();
        let entries = values::changed(&group(2), 1..=1).entries;
        writer.journal.append(entries, before).unwrap();
        writer.journal.roll_back(before);
        writer.failed = Failed::Journal;
    }
    assert!(commit(&store, &group(3)).is_err());
    store.recover().unwrap();
    assert_eq!(store.lease(LeaseId(2)).unwrap(), None);
    assert_eq!(store.extent().unwrap().revision, 1);
    commit(&store, &group(2)).unwrap();
    assert_eq!(store.lease(LeaseId(2)).unwrap(), Some(lease(2)));
    drop(store);
    let again = self::store(dir.path()).unwrap();
    assert_eq!(again.leases(LeaseId(0), 10).unwrap(), [lease(1), lease(2)]);
}

#[test]
fn an_index_that_fails_behind_its_append_is_made_anew_with_what_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).unwrap();
    commit(&store, &group(1)).unwrap();
    assert_eq!(store.tree.newest().unwrap(), 1);
    // As if sled had failed when the record was in the journal.
    {
        let mut writer = store.writer();
        let mut status = writer.journal.status;
        let entries = values::changed(&group(2), 1..=1).entries;
        for entry in &entries {
            status.add(&entry.key, entry.value.as_deref().unwrap());
        }
        status.head = 2;
        writer.journal.append(entries, status).unwrap();
        store.tree.fail(failure::closed(dir.path()));
    }
    assert!(commit(&store, &group(3)).is_err());
    assert!(store.tree.newest().is_err(), "a base would lack a commit");
    store.recover().unwrap();
    assert_eq!(store.lease(LeaseId(2)).unwrap(), Some(lease(2)));
    commit(&store, &group(3)).unwrap();
    assert_eq!(store.extent().unwrap().revision, 3);
}

#[test]
fn a_long_value_is_kept_in_pieces_that_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).unwrap();
    // Nothing in the text comes twice.
    let text = |length: usize| -> String {
        let mut words =
            (0_u64..).map(|word| format!("{:x}", word.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let mut text = String::new();
        while text.len() < length {
            text.extend(words.next());
        }
        text.truncate(length);
        text
    };
    let fat = |length: usize| Lease {
        pool: text(length).into(),
        ..lease(1)
    };
    let mut before = None;
    for (revision, length) in [(1, 100_000), (2, 9_000), (3, 10), (4, 50_000)] {
        // The history keeps nothing of it.
        let group = Group {
            forget_events_to: Some(revision),
            ..change(revision, before.replace(fat(length)), Some(fat(length)))
        };
        commit(&store, &group).unwrap();
        assert_eq!(store.lease(LeaseId(1)).unwrap(), Some(fat(length)));
        assert_eq!(store.leases(LeaseId(0), 10).unwrap(), [fat(length)]);
        let pieces = store
            .tree
            .with_all(|db| Ok(db.scan_prefix([Kind::Piece.prefix()]).count()));
        let (pieces, bytes) = (pieces.unwrap(), length);
        match length <= 4096 {
            true => assert_eq!(pieces, 0, "{length}"),
            false => assert!(
                (bytes / 4096..bytes / 4096 + 3).contains(&pieces),
                "{length}: {pieces}"
            ),
        }
    }
    let gone = Group {
        forget_events_to: Some(5),
        ..change(5, before, None)
    };
    commit(&store, &gone).unwrap();
    let pieces = store
        .tree
        .with_all(|db| Ok(db.scan_prefix([Kind::Piece.prefix()]).count()));
    assert_eq!(pieces.unwrap(), 0);
    assert!(
        !dir.path()
            .join("blobs")
            .read_dir()
            .is_ok_and(|mut all| all.next().is_some())
    );
}

#[test]
fn bases_keep_the_journal_short_and_hold_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut revision = 0;
    for _ in 0..2 {
        let first = store(dir.path()).unwrap();
        // More than 30 MB of records about 100 leases.
        for _ in 0..200 {
            revision += 1;
            let fat = Lease {
                pool: revision
                    .to_string()
                    .repeat(100_000 / revision.to_string().len())
                    .into(),
                ..lease(revision % 100)
            };
            // An event of the lease before is of the same lease.
            let before = Some(lease(revision % 100)).filter(|_| revision > 100);
            let group = Group {
                forget_events_to: revision.checked_sub(10).filter(|&to| to > 0),
                ..change(revision, before, Some(fat))
            };
            commit(&first, &group).unwrap();
        }
        drop(first);
        let (found, again) = (
            journal::read(dir.path()).unwrap(),
            store(dir.path()).unwrap(),
        );
        assert!(found.bytes() < 40 << 20, "{}", found.bytes());
        assert!(found.begins > 0, "a base was written");
        assert_eq!(again.extent().unwrap().revision, revision);
        for lease in again.leases(LeaseId(0), 200).unwrap() {
            let number = lease.id.0;
            let last = revision - (revision - number) % 100;
            assert!(lease.pool.starts_with(&last.to_string()), "{number}");
        }
        // Of the journal alone, too.
        drop(again);
        index::remove(dir.path()).unwrap();
    }
}
