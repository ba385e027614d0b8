use std::sync::Arc;

use ipam_core::event::{Change, Event};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Append, Group, Log as _, Position, Store as _};
use prost::Message as _;
use proto::ipam::v1::{ExportItem, export_item::Item};

use super::values::Kind;
use super::*;
use crate::store::salvage::salvage;
use crate::wire;

mod damage;

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

/// Writes into the closed store's tree, past the journal.
fn write_past_the_journal(path: &Path, key: &[u8], value: Option<&[u8]>) {
    let db = index::open(path, 1 << 24).unwrap();
    match value {
        Some(value) => db.insert(key, value).unwrap(),
        None => db.remove(key).unwrap(),
    };
    db.flush().unwrap();
}

/// Makes what the version before the journal would have left.
fn make_old(path: &Path, schema: Option<u32>) {
    let key = Kind::Meta.key(b"schema");
    let value = schema.map(u32::to_be_bytes);
    write_past_the_journal(path, &key, value.as_ref().map(<[u8; 4]>::as_slice));
    write_past_the_journal(path, &Kind::Meta.key(values::APPLIED), None);
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("journal-") || name.starts_with("base-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::write(path.join("ipam-server.store"), []).unwrap();
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    commit(&first, &group(1)).unwrap();
    drop(first);
    let newer = 7_u32.to_be_bytes();
    write_past_the_journal(dir.path(), &Kind::Meta.key(b"schema"), Some(&newer));
    match store(dir.path()).err() {
        Some(StoreError::NewerSchema {
            found: 7,
            known: schema::SCHEMA,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_older_schema_is_migrated_after_an_export_beside_it() {
    for (schema, export) in [(None, 1), (Some(1), 2)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let first = store(&path).unwrap();
        commit(&first, &group(1)).unwrap();
        drop(first);
        make_old(&path, schema);
        let second = store(&path).unwrap();
        assert_eq!(second.lease(LeaseId(1)).unwrap(), Some(lease(1)));
        commit(&second, &group(2)).unwrap();
        drop(second);
        let export = format!("store.before-schema-{export}.jsonl");
        let export = fs::read_to_string(dir.path().join(export)).unwrap();
        let item: ExportItem = serde_json::from_str(export.trim()).unwrap();
        assert_eq!(item.item, Some(Item::Lease(wire::lease::encode(lease(1)))));
        let third = store(&path).unwrap();
        assert_eq!(third.leases(LeaseId(0), 10).unwrap().len(), 2);
    }
}

#[test]
fn an_older_store_with_a_gap_in_its_history_or_an_old_lease_is_refused() {
    let old = Lease {
        generation: 7,
        ..lease(2)
    };
    let old = wire::lease::encode(old).encode_to_vec();
    for (key, value, what) in [
        (Kind::Event.number(2), None, "revisions 2 to 2 are missing"),
        (
            Kind::Lease.number(2),
            None,
            "l2 is not as revision 2 left it",
        ),
        (
            Kind::Lease.number(2),
            Some(old.as_slice()),
            "l2 is not as revision 2 left it",
        ),
        (
            Kind::Lease.number(2),
            Some(b"\xff\xff\xff".as_slice()),
            "key l2",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let first = store(&path).unwrap();
        for number in 1..=3 {
            commit(&first, &group(number)).unwrap();
        }
        drop(first);
        make_old(&path, Some(1));
        write_past_the_journal(&path, &key, value);
        match store(&path).err() {
            Some(StoreError::Corrupt { what: found, .. }) => {
                assert!(found.contains(what), "{found}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_migration_that_was_killed_at_any_step_is_done_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = store(&path).unwrap();
    for number in 1..=20 {
        commit(&first, &group(number)).unwrap();
    }
    drop(first);
    make_old(&path, Some(1));
    let old = dir.path().join("old");
    damage::copy(&path, &old);
    drop(store(&path).unwrap());
    // What it writes, in order: the export, the base, the first segment, the mark; then sled's own.
    let steps = ["base-0000000001", "journal-0000000001", "ipam-server.store"];
    for done in 0..=steps.len() {
        for half in [false, true] {
            let again = dir.path().join("again");
            damage::copy(&old, &again);
            for step in &steps[..done] {
                fs::copy(path.join(step), again.join(step)).unwrap();
            }
            if half {
                fs::write(again.join("base.tmp"), b"half").unwrap();
                fs::write(again.join("journal.tmp"), b"half").unwrap();
                fs::write(again.join("snap.0000000000000FFF.generating"), b"half").unwrap();
            }
            let migrated = store(&again).unwrap_or_else(|error| panic!("{done}: {error}"));
            assert_eq!(migrated.leases(LeaseId(0), 100).unwrap().len(), 20);
            commit(&migrated, &group(21)).unwrap();
            drop(migrated);
            assert_eq!(store(&again).unwrap().extent().unwrap().revision, 21);
        }
    }
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
        let entries = values::changed(&group(2), 1).entries;
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
        let entries = values::changed(&group(2), 1).entries;
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
    let fat = |length: usize| Lease {
        pool: "x".repeat(length).into(),
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
        let expected = if length <= 4096 {
            0
        } else {
            (length + 10).div_ceil(4096)
        };
        assert_eq!(pieces.unwrap(), expected, "{length}");
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
        // About 60 MB of records about 100 leases.
        for _ in 0..600 {
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
        assert!(found.bytes() < 80 << 20, "{}", found.bytes());
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
