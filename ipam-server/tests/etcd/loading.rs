//! What a server that starts loads, at any moment.

use ipam_core::event::{Change, Event};
use ipam_core::lease::LeaseId;
use ipam_core::log::{Group, Log as _, Store as _, StoreError};
use ipam_server::store::etcd::EtcdStore;
use serde_json::json;

use crate::member::{Member, append, follow, leases, numbers, open, wait_for};

#[test]
fn a_server_that_starts_while_others_write_loads_a_whole_state() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let (one, two) = (open(&settings), open(&settings));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..300_u64 {
                let begin = turn * 20;
                append(&one, &leases(begin + 1, begin + 20)).unwrap();
            }
        });
        let mut before = 0;
        while !writer.is_finished() {
            let late = open(&settings);
            let revision = late.extent().unwrap().revision;
            assert_eq!(numbers(&late), Vec::from_iter(1..=revision));
            assert!(
                revision >= before && revision.is_multiple_of(20),
                "{revision}"
            );
            before = revision;
        }
    });
    follow(&two);
    assert_eq!(numbers(&two), Vec::from_iter(1..=6_000));
}

#[test]
fn of_servers_that_all_append_one_writes_the_keys_and_each_about_once() {
    const LEASES: u64 = 40_000;
    let member = Member::start(&[]);
    let settings = member.settings();
    let stores = [(); 3].map(|()| open(&settings));
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                loop {
                    let end = store.extent().unwrap();
                    if end.revision == LEASES {
                        return;
                    }
                    let group = leases(end.revision + 1, end.revision + 40);
                    // Who is behind takes in what the others have appended.
                    store.append(end.position, &group).unwrap();
                }
            });
        }
    });
    let position = stores[0].extent().unwrap().position.0;
    wait_for("the keys are written", || {
        (member.applied(&settings) == Some(position)).then_some(())
    });
    let written: u64 = member.versions(&settings, "leases/").iter().sum();
    assert!(
        (LEASES..LEASES * 11 / 10).contains(&written),
        "{LEASES} leases are written {written} times"
    );
}

#[test]
fn the_log_is_trimmed_and_what_there_is_stays() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let store = open(&settings);
    for number in 1..=50 {
        append(&store, &leases(number, number)).unwrap();
    }
    let gone = Event {
        revision: 51,
        change: Change::lease(store.lease(LeaseId(7)).unwrap().map(Into::into), None),
        ..Event::default()
    };
    let forgets = Group {
        events: vec![gone],
        forget_events_to: Some(40),
        ..Group::default()
    };
    append(&store, &forgets).unwrap();
    let expected: Vec<u64> = (1..=50).filter(|number| *number != 7).collect();
    wait_for("the groups are trimmed", || {
        let groups = member.keys(&settings, "groups/");
        (groups.len() == 11).then_some(())
    });
    wait_for("the keys are written", || {
        (member.keys(&settings, "leases/").len() == expected.len()).then_some(())
    });
    for store in [&store, &open(&settings)] {
        assert_eq!(numbers(store), expected);
        let revisions = store.events(0, 100).unwrap();
        let revisions: Vec<_> = revisions.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, Vec::from_iter(41..=51));
        assert_eq!(store.extent().unwrap().oldest_revision, 41);
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_so_is_one_with_a_gap() {
    let member = Member::start(&[]);
    let settings = member.settings();
    {
        let store = open(&settings);
        append(&store, &leases(1, 3)).unwrap();
        append(&store, &leases(4, 5)).unwrap();
        wait_for("the keys are written", || {
            (member.applied(&settings) == Some(2)).then_some(())
        });
        append(&store, &leases(6, 6)).unwrap();
        append(&store, &leases(7, 7)).unwrap();
    }
    let head = member.get(&settings, "head").unwrap();
    let opened = || EtcdStore::open(&settings).map(|_| ());
    member.put(&settings, "head", &json!({"schema": 9}).to_string());
    let newer = opened().unwrap_err();
    assert!(
        matches!(newer, StoreError::NewerSchema { found: 9, .. }),
        "{newer}"
    );
    member.put(&settings, "head", "not JSON");
    let damaged = opened().unwrap_err();
    assert!(matches!(damaged, StoreError::Corrupt { .. }), "{damaged}");
    member.put(&settings, "head", &head);
    opened().unwrap();
    let groups = member.keys(&settings, "groups/");
    member.delete(&groups[2]);
    let gap = opened().unwrap_err();
    assert!(matches!(gap, StoreError::Corrupt { .. }), "{gap}");
}

#[test]
fn people_read_leases_and_pools_as_json() {
    let member = Member::start(&[]);
    let settings = member.settings();
    let store = open(&settings);
    append(&store, &leases(1, 2)).unwrap();
    let text = wait_for("the keys are written", || {
        member.get(&settings, "leases/l2")
    });
    let lease: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&lease["id"], &lease["ipv4"]),
        (&json!("l2"), &json!("10.0.0.2/8"))
    );
}
