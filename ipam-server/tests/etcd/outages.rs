//! A member that goes away, hangs, loses everything or is full.

use ipam_core::log::{Append, Group, Log as _, Position, Store as _, StoreError};
use serde_json::json;

use crate::member::{Member, append, leases, numbers, open, wait_for};

/// Waits until the store is well again, as the ledger does.
fn recover(store: &dyn ipam_core::log::Store) {
    wait_for("the store is well", || store.recover().ok());
}

#[test]
fn a_member_that_is_killed_and_comes_back_is_used_again_and_nothing_is_lost_or_twice() {
    let mut member = Member::start(&[]);
    let store = open(&member.settings());
    append(&store, &leases(1, 3)).unwrap();
    member.kill();
    let failed = append(&store, &leases(4, 4)).unwrap_err();
    assert!(matches!(failed, StoreError::Unreachable { .. }), "{failed}");
    let asked = store.append(Position(1), &Group::default()).unwrap_err();
    assert!(matches!(asked, StoreError::Unreachable { .. }), "{asked}");
    assert!(store.recover().is_err());
    assert_eq!(numbers(&store), [1, 2, 3]);
    member.revive();
    recover(&store);
    append(&store, &leases(4, 6)).unwrap();
    assert_eq!(numbers(&store), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn an_append_that_a_hanging_member_makes_later_is_found_and_its_writer_is_behind_by_it() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let (store, other) = (open(&settings), open(&settings));
    append(&store, &leases(1, 1)).unwrap();
    member.stop();
    let unknown = append(&store, &leases(2, 3)).unwrap_err();
    assert!(
        matches!(unknown, StoreError::Unreachable { .. }),
        "{unknown}"
    );
    member.go_on();
    recover(&store);
    // Whether it was made or not: both servers say the same, and no half of it is seen.
    let seen = store.append(Position(1), &Group::default()).unwrap();
    match &seen {
        Append::Appended(at) => assert_eq!(*at, Position(1)),
        Append::Behind(groups, end) => {
            assert_eq!(
                (groups.as_slice(), *end),
                (&[leases(2, 3)][..], Position(2))
            );
        }
        Append::Compacted => panic!("nothing was trimmed"),
    }
    crate::member::follow(&other);
    assert_eq!(numbers(&other), numbers(&store));
    let revision = store.extent().unwrap().revision;
    append(&store, &leases(revision + 1, revision + 2)).unwrap();
    crate::member::follow(&other);
    assert_eq!(numbers(&other), Vec::from_iter(1..=revision + 2));
}

#[test]
fn a_store_that_is_emptied_or_put_back_is_loaded_anew() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let store = open(&settings);
    append(&store, &leases(1, 2)).unwrap();
    let before: Vec<_> = ["head", "applied"]
        .iter()
        .filter_map(|key| Some((*key, member.get(&settings, key)?)))
        .collect();
    append(&store, &leases(3, 4)).unwrap();
    // As if etcd had been restored from a snapshot.
    let groups = member.keys(&settings, "groups/");
    member.delete(&groups[1]);
    member.delete_below(&settings, "applied");
    member.delete_below(&settings, "leases/");
    for (key, value) in &before {
        if *key == "head" {
            member.put(&settings, key, value);
        }
    }
    assert_eq!(
        store.append(Position(2), &leases(5, 5)).unwrap(),
        Append::Compacted
    );
    assert_eq!(store.extent().unwrap().revision, 2);
    assert_eq!(numbers(&store), [1, 2]);
    append(&store, &leases(3, 3)).unwrap();
    // As if somebody had deleted everything.
    member.delete_below(&settings, "");
    assert_eq!(
        store.append(Position(2), &leases(4, 4)).unwrap(),
        Append::Compacted
    );
    assert_eq!(store.extent().unwrap().revision, 0);
    append(&store, &leases(1, 1)).unwrap();
    assert_eq!(numbers(&open(&settings)), [1]);
}

#[test]
fn a_full_database_is_named_and_goes_on_when_there_is_room() {
    let member = Member::start(&["--quota-backend-bytes=2000000"]);
    let settings = member.settings();
    let store = open(&settings);
    append(&store, &leases(1, 1)).unwrap();
    let filler = "x".repeat(300_000);
    for number in 0..20 {
        member.put(&settings, &format!("../filler{number}"), &filler);
    }
    let full = wait_for("the database is full", || {
        let revision = store.extent().unwrap().revision + 1;
        append(&store, &leases(revision, revision)).err()
    });
    assert!(matches!(full, StoreError::Quota { .. }), "{full}");
    let still = store.recover().unwrap_err();
    assert!(matches!(still, StoreError::Quota { .. }), "{still}");
    // Reading goes on.
    let at = store.extent().unwrap().position;
    assert_eq!(
        store.append(at, &Group::default()).unwrap(),
        Append::Appended(at)
    );
    for number in 0..20 {
        member.delete_below(&settings, &format!("../filler{number}"));
    }
    let status = member.call("maintenance/status", &json!({}));
    let revision = status["header"]["revision"].clone();
    member.call(
        "kv/compaction",
        &json!({"revision": revision, "physical": true}),
    );
    member.call("maintenance/defragment", &json!({}));
    let alarm = json!({"action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": status["header"]["member_id"]});
    member.call("maintenance/alarm", &alarm);
    recover(&store);
    let revision = store.extent().unwrap().revision + 1;
    append(&store, &leases(revision, revision)).unwrap();
}
