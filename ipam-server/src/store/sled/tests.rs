use proto::ipam::v1::subject::Subject as Content;
use proto::ipam::v1::{EventType, ExportItem, Subject, export_item::Item};

use super::*;
use crate::store::salvage::salvage;

fn store(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(path, 1 << 24)
}

fn lease(number: u64) -> Lease {
    Lease {
        id: LeaseId(number).to_string(),
        pool: "blue".into(),
        ..Lease::default()
    }
}

fn batch(number: u64) -> Batch {
    let after = Subject {
        subject: Some(Content::Lease(lease(number))),
    };
    Batch {
        leases: vec![(LeaseId(number), Some(lease(number)))],
        events: vec![Event {
            revision: number,
            r#type: EventType::Created.into(),
            after: Some(after),
            ..Event::default()
        }],
        ..Batch::default()
    }
}

#[test]
fn what_was_committed_is_there_after_it_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    first.commit(&batch(1)).unwrap();
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
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    first.commit(&batch(1)).unwrap();
    first
        .with(|open| {
            open.db
                .insert(Kind::Meta.key(b"schema"), &7_u32.to_be_bytes())
                .unwrap();
            sync(dir.path(), open)
        })
        .unwrap();
    drop(first);
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = store(&path).unwrap();
    first.commit(&batch(1)).unwrap();
    first
        .with(|open| {
            open.db.remove(Kind::Meta.key(b"schema")).unwrap();
            sync(&path, open)
        })
        .unwrap();
    drop(first);
    let second = store(&path).unwrap();
    assert_eq!(second.lease(LeaseId(1)).unwrap(), Some(lease(1)));
    let export = std::fs::read_to_string(dir.path().join("store.before-schema-1.jsonl")).unwrap();
    let item: ExportItem = serde_json::from_str(export.trim()).unwrap();
    assert_eq!(item.item, Some(Item::Lease(lease(1))));
}

#[test]
fn a_value_that_is_damaged_is_told_and_the_rest_is_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    first.commit(&batch(1)).unwrap();
    first.commit(&batch(2)).unwrap();
    first
        .with(|open| {
            open.db
                .insert(Kind::Lease.number(1), b"\xff\xff\xff")
                .unwrap();
            sync(dir.path(), open)
        })
        .unwrap();
    assert!(matches!(
        first.lease(LeaseId(1)),
        Err(StoreError::Corrupt { .. })
    ));
    drop(first);
    let mut items = Vec::new();
    let lost = salvage(dir.path(), |item| items.push(item.item)).unwrap();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(items, [Some(Item::Lease(lease(2)))]);
}

#[test]
fn a_log_of_garbage_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path()).unwrap();
    for number in 1..100 {
        first.commit(&batch(number)).unwrap();
    }
    drop(first);
    let log = dir.path().join("db");
    let mut bytes = std::fs::read(&log).unwrap();
    for byte in bytes.iter_mut().take(4096) {
        *byte ^= 0x5a;
    }
    std::fs::write(&log, bytes).unwrap();
    match store(dir.path()) {
        Ok(store) => panic!("{} leases", store.leases(LeaseId(0), 1000).unwrap().len()),
        Err(StoreError::Corrupt { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_batch_that_failed_is_not_there_after_the_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).unwrap();
    store.commit(&batch(1)).unwrap();
    // As if the write had come through and only the answer had been lost.
    store.commit(&batch(2)).unwrap();
    *store.failed.lock().unwrap() = Some(batch(2));
    assert!(store.commit(&batch(3)).is_err());
    store.recover().unwrap();
    assert_eq!(store.lease(LeaseId(2)).unwrap(), None);
    assert_eq!(store.extent().unwrap().revision, 1);
    store.commit(&batch(2)).unwrap();
    assert_eq!(store.lease(LeaseId(2)).unwrap(), Some(lease(2)));
}
