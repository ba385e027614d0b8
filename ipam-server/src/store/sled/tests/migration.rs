//! Stores of other schemas: older ones are migrated after an export beside them, newer ones refused.

use proto::ipam::v1::{ExportItem, export_item::Item};

use super::*;
use crate::wire;

/// Writes into the closed store's tree, past the journal.
fn write_past_the_journal(path: &Path, key: &[u8], value: Option<&[u8]>) {
    let db = index::open(path, 1 << 24).unwrap();
    match value {
        Some(value) => db.insert(key, value).unwrap(),
        None => db.remove(key).unwrap(),
    };
    db.flush().unwrap();
}

/// Makes an index of blocks one as schema 2 had it: each lease and event in a value of its own.
fn make_index_of_schema_2(path: &Path) {
    let db = index::open(path, 1 << 24).unwrap();
    let mut writes = sled::Batch::default();
    survey::each(path, &db, |key, value| {
        writes.insert(key, value);
        Ok(())
    })
    .unwrap();
    let blocks = ["L", "E"].into_iter().flat_map(|kind| db.scan_prefix(kind));
    for block in blocks {
        writes.remove(block.unwrap().0);
    }
    writes.insert(Kind::Meta.key(b"schema"), &2_u32.to_be_bytes());
    db.apply_batch(writes).unwrap();
    db.flush().unwrap();
}

/// Makes what the version before the journal would have left.
fn make_old(path: &Path, schema: Option<u32>) {
    make_index_of_schema_2(path);
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

/// The leases of an export.
fn exported(path: &Path) -> Vec<Lease> {
    let text = fs::read_to_string(path).unwrap();
    let items = text.lines().map(|line| {
        let item: ExportItem = serde_json::from_str(line).unwrap();
        match item.item {
            Some(Item::Lease(lease)) => wire::lease::decode(lease).unwrap(),
            other => panic!("{other:?}"),
        }
    });
    items.collect()
}

#[test]
fn an_index_of_schema_2_is_made_anew_after_an_export_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = store(&path).unwrap();
    for number in 1..=40 {
        commit(&first, &group(number)).unwrap();
    }
    commit(&first, &change(41, Some(lease(7)), None)).unwrap();
    drop(first);
    make_index_of_schema_2(&path);
    let second = store(&path).unwrap();
    let left: Vec<Lease> = (1..=40).filter(|number| *number != 7).map(lease).collect();
    assert_eq!(second.leases(LeaseId(0), 100).unwrap(), left);
    assert_eq!(second.events(0, 100).unwrap().len(), 41);
    drop(second);
    let export = dir.path().join("store.before-schema-3.jsonl");
    assert_eq!(exported(&export), left);
    // It is migrated once.
    fs::remove_file(&export).unwrap();
    drop(store(&path).unwrap());
    assert!(!export.exists());
}

#[test]
fn an_index_of_schema_2_gives_what_a_damaged_journal_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = store(&path).unwrap();
    for number in 1..=40 {
        commit(&first, &group(number)).unwrap();
    }
    drop(first);
    make_index_of_schema_2(&path);
    fs::remove_file(path.join("journal-0000000001")).unwrap();
    assert!(matches!(
        store(&path).err(),
        Some(StoreError::Corrupt { .. })
    ));
    let mut items = 0;
    salvage(&path, dir.path(), |_| items += 1).unwrap();
    assert_eq!(items, 40);
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
        assert_eq!(exported(&dir.path().join(export)), [lease(1)]);
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
