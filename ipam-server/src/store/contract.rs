//! What every store must do: one suite, run on each.

use proto::ipam::v1::{Event, EventType, Lease, Pool, Reservation, Subject, subject};

use super::durable::Durable;
use super::memory::MemoryStore;
use super::sled::SledStore;
use super::{Batch, Extent, LeaseId, Origin, OriginChange, Store};

fn lease(number: u64, pool: &str) -> Lease {
    Lease {
        id: LeaseId(number).to_string(),
        pool: pool.into(),
        ipv4: format!("10.0.{}.{}/16", number / 256, number % 256),
        ..Lease::default()
    }
}

fn made(number: u64) -> Event {
    let wrap = |lease| Subject {
        subject: Some(subject::Subject::Lease(lease)),
    };
    Event {
        revision: number,
        r#type: EventType::Created.into(),
        after: Some(wrap(lease(number, "blue"))),
        ..Event::default()
    }
}

/// Leases `from..=to`, each with its event.
fn leases(from: u64, to: u64) -> Batch {
    Batch {
        leases: (from..=to)
            .map(|number| (LeaseId(number), Some(lease(number, "blue"))))
            .collect(),
        events: (from..=to).map(made).collect(),
        ..Batch::default()
    }
}

fn numbers(leases: &[Lease]) -> Vec<u64> {
    leases
        .iter()
        .map(|lease| lease.id.parse::<LeaseId>().unwrap().0)
        .collect()
}

fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.revision).collect()
}

fn a_new_store_is_empty(store: &dyn Store) {
    let extent = Extent {
        revision: 0,
        oldest_revision: 1,
    };
    assert_eq!(store.extent().unwrap(), extent);
    assert!(store.pools().unwrap().is_empty() && store.leases(LeaseId(0), 10).unwrap().is_empty());
}

fn a_commit_is_there_whole(store: &dyn Store) {
    let named = |name: &str| name.to_owned();
    let pool = Pool {
        name: "blue".into(),
        ..Pool::default()
    };
    let reservation = Reservation {
        name: "db-0".into(),
        ..Reservation::default()
    };
    let mut batch = leases(1, 3);
    batch.pools.push((named("blue"), Some(pool.clone())));
    batch
        .reservations
        .push((named("db-0"), Some(reservation.clone())));
    store.commit(&batch).unwrap();
    assert_eq!(store.pools().unwrap(), [pool]);
    assert_eq!(store.reservations().unwrap(), [reservation]);
    assert_eq!(store.lease(LeaseId(2)).unwrap(), Some(lease(2, "blue")));
    assert_eq!(store.lease(LeaseId(4)).unwrap(), None);
    let extent = Extent {
        revision: 3,
        oldest_revision: 1,
    };
    assert_eq!(store.extent().unwrap(), extent);
}

fn the_last_entry_for_a_key_counts(store: &dyn Store) {
    let mut batch = leases(1, 1);
    batch.leases.push((LeaseId(1), None));
    batch.leases.push((LeaseId(1), Some(lease(1, "red"))));
    batch.pools.push(("blue".into(), Some(Pool::default())));
    batch.pools.push(("blue".into(), None));
    store.commit(&batch).unwrap();
    assert_eq!(store.lease(LeaseId(1)).unwrap(), Some(lease(1, "red")));
    assert!(store.pools().unwrap().is_empty());
}

fn leases_come_in_pages_in_order_of_number(store: &dyn Store) {
    store.commit(&leases(1, 300)).unwrap();
    assert_eq!(numbers(&store.leases(LeaseId(0), 2).unwrap()), [1, 2]);
    assert_eq!(
        numbers(&store.leases(LeaseId(254), 4).unwrap()),
        [255, 256, 257, 258]
    );
    assert_eq!(numbers(&store.leases(LeaseId(299), 10).unwrap()), [300]);
    assert!(store.leases(LeaseId(300), 10).unwrap().is_empty());
    assert!(store.leases(LeaseId(u64::MAX), 10).unwrap().is_empty());
}

fn the_history_is_read_both_ways_and_forgotten_from_its_start(store: &dyn Store) {
    store.commit(&leases(1, 300)).unwrap();
    assert_eq!(revisions(&store.events(0, 3).unwrap()), [1, 2, 3]);
    assert_eq!(revisions(&store.events(298, 10).unwrap()), [299, 300]);
    assert_eq!(
        revisions(&store.events_back(u64::MAX, 2).unwrap()),
        [300, 299]
    );
    assert_eq!(revisions(&store.events_back(3, 10).unwrap()), [2, 1]);
    let mut batch = leases(301, 301);
    batch.forget_events_to = Some(299);
    store.commit(&batch).unwrap();
    let extent = Extent {
        revision: 301,
        oldest_revision: 300,
    };
    assert_eq!(store.extent().unwrap(), extent);
    assert_eq!(revisions(&store.events(0, 10).unwrap()), [300, 301]);
    assert_eq!(
        numbers(&store.leases(LeaseId(0), 400).unwrap()).len(),
        301,
        "leases stay"
    );
}

fn what_is_removed_is_gone(store: &dyn Store) {
    store.commit(&leases(1, 3)).unwrap();
    let mut batch = Batch::default();
    batch.leases.push((LeaseId(2), None));
    batch.events.push(Event {
        revision: 4,
        ..Event::default()
    });
    store.commit(&batch).unwrap();
    assert_eq!(numbers(&store.leases(LeaseId(0), 10).unwrap()), [1, 3]);
}

fn which_store_it_is_is_kept(store: &dyn Store) {
    assert_eq!(store.origin().unwrap(), None);
    let mut before = None;
    for (id, awaited) in [("one", vec!["n1", "n2"]), ("two", vec![])] {
        let after = Origin {
            id: id.to_owned(),
            awaited: awaited.into_iter().map(str::to_owned).collect(),
            until: 7,
            ..Origin::default()
        };
        let batch = Batch {
            origin: Some(OriginChange {
                before,
                after: after.clone(),
            }),
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
        store.recover().unwrap();
        assert_eq!(store.origin().unwrap().as_ref(), Some(&after));
        before = Some(after);
    }
}

fn it_goes_on_after_a_recovery(store: &dyn Store) {
    store.commit(&leases(1, 3)).unwrap();
    store.recover().unwrap();
    store.commit(&leases(4, 5)).unwrap();
    assert_eq!(
        numbers(&store.leases(LeaseId(0), 10).unwrap()),
        [1, 2, 3, 4, 5]
    );
}

fn readers_beside_a_writer_see_each_batch_whole(store: &dyn Store) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for group in 0..50 {
                store
                    .commit(&leases(group * 10 + 1, group * 10 + 10))
                    .unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = store.events_back(u64::MAX, 1).unwrap();
            let revision = seen.first().map_or(0, |event| event.revision);
            assert_eq!(revision % 10, 0, "half a batch is visible");
            assert!(store.leases(LeaseId(0), 1000).unwrap().len() as u64 >= revision);
        }
    });
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod memory {
            use super::*;
            $(#[test] fn $name() { super::$name(&MemoryStore::default()) })*
        }
        mod durable {
            use super::*;
            $(#[test] fn $name() {
                super::$name(&Durable::new(std::sync::Arc::new(MemoryStore::default())))
            })*
        }
        mod sled {
            use super::*;
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&SledStore::open(&dir.path().join("store"), 1 << 24).unwrap())
            })*
        }
    };
}

contract! {
    a_new_store_is_empty
    a_commit_is_there_whole
    the_last_entry_for_a_key_counts
    leases_come_in_pages_in_order_of_number
    the_history_is_read_both_ways_and_forgotten_from_its_start
    what_is_removed_is_gone
    which_store_it_is_is_kept
    it_goes_on_after_a_recovery
    readers_beside_a_writer_see_each_batch_whole
}
