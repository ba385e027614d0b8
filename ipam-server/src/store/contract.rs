//! What every store must do: one suite, run on each. `store::tests` runs the suite on memory and sled, `tests/etcd` on etcd.

use std::sync::Arc;

use ipam_core::event::{Change, Event, EventType};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Append, Extent, Group, Origin, OriginChange, Position, Store};
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;

fn lease(number: u64, pool: &str) -> Lease {
    let address = format!("10.0.{}.{}/16", number / 256, number % 256);
    Lease {
        id: LeaseId(number),
        pool: pool.into(),
        ipv4: address.parse().ok(),
        ..Lease::default()
    }
}

/// A pool with a network of its own.
fn pool(name: &str) -> Pool {
    let network = "10.0.0.0/16".parse().unwrap();
    Pool {
        name: name.into(),
        vrf: "default".into(),
        ipv4: Some(ipam_core::pool::Subnet::of(network)),
        ..Pool::default()
    }
}

/// What an event says of a lease, before and after it.
fn change(revision: u64, before: Option<Lease>, after: Option<Lease>) -> Event {
    let kind = match (&before, &after) {
        (None, _) => EventType::Created,
        (_, Some(_)) => EventType::Updated,
        (_, None) => EventType::Freed,
    };
    Event {
        revision,
        kind,
        change: Change::lease(before.map(Arc::new), after.map(Arc::new)),
        ..Event::default()
    }
}

fn of(events: impl IntoIterator<Item = Event>) -> Group {
    Group {
        events: events.into_iter().collect(),
        ..Group::default()
    }
}

/// Leases `from..=to`, each made by the revision of its number.
fn leases(from: u64, to: u64) -> Group {
    of((from..=to).map(|number| change(number, None, Some(lease(number, "blue")))))
}

/// Appends where the log ends.
fn append(store: &dyn Store, group: &Group) {
    let at = store.extent().unwrap().position;
    let appended = store.append(at, group).unwrap();
    assert_eq!(appended, Append::Appended(Position(at.0 + 1)));
}

fn numbers(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.id.0).collect()
}

fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.revision).collect()
}

/// The head and the oldest revision.
fn extent(store: &dyn Store) -> (u64, u64) {
    let Extent {
        revision,
        oldest_revision,
        ..
    } = store.extent().unwrap();
    (revision, oldest_revision)
}

fn a_new_store_is_empty(store: &dyn Store) {
    assert_eq!(extent(store), (0, 1));
    assert!(store.pools().unwrap().is_empty() && store.leases(LeaseId(0), 10).unwrap().is_empty());
}

fn a_group_is_there_whole(store: &dyn Store) {
    let reservation = Reservation {
        name: "db-0".into(),
        ..Reservation::default()
    };
    let made = |revision, change| Event {
        revision,
        change,
        ..Event::default()
    };
    let mut group = leases(1, 3);
    let blue = Arc::new(pool("blue"));
    group
        .events
        .push(made(4, Change::pool(None, Some(blue.clone()))));
    let kept = Some(Arc::new(reservation.clone()));
    group.events.push(made(5, Change::reservation(None, kept)));
    append(store, &group);
    assert_eq!(store.pools().unwrap(), [Pool::clone(&blue)]);
    assert_eq!(store.reservations().unwrap(), [reservation]);
    assert_eq!(store.events(0, 10).unwrap(), group.events);
    assert_eq!(store.lease(LeaseId(2)).unwrap(), Some(lease(2, "blue")));
    assert_eq!(store.lease(LeaseId(4)).unwrap(), None);
    assert_eq!(extent(store), (5, 1));
}

fn the_last_event_about_a_lease_or_pool_counts(store: &dyn Store) {
    let blue = lease(1, "blue");
    let pool = || Some(Arc::new(pool("blue")));
    let made = Event {
        revision: 4,
        change: Change::pool(None, pool()),
        ..Event::default()
    };
    let deleted = Event {
        revision: 5,
        change: Change::pool(pool(), None),
        ..Event::default()
    };
    append(
        store,
        &of([
            change(1, None, Some(blue.clone())),
            change(2, Some(blue), None),
            change(3, None, Some(lease(1, "red"))),
            made,
            deleted,
        ]),
    );
    assert_eq!(store.lease(LeaseId(1)).unwrap(), Some(lease(1, "red")));
    assert!(store.pools().unwrap().is_empty());
}

fn leases_come_in_pages_in_order_of_number(store: &dyn Store) {
    append(store, &leases(1, 300));
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
    append(store, &leases(1, 300));
    assert_eq!(revisions(&store.events(0, 3).unwrap()), [1, 2, 3]);
    assert_eq!(revisions(&store.events(298, 10).unwrap()), [299, 300]);
    assert_eq!(
        revisions(&store.events_back(u64::MAX, 2).unwrap()),
        [300, 299]
    );
    assert_eq!(revisions(&store.events_back(3, 10).unwrap()), [2, 1]);
    let group = Group {
        forget_events_to: Some(299),
        ..leases(301, 301)
    };
    append(store, &group);
    assert_eq!(extent(store), (301, 300));
    assert_eq!(revisions(&store.events(0, 10).unwrap()), [300, 301]);
    assert_eq!(
        numbers(&store.leases(LeaseId(0), 400).unwrap()).len(),
        301,
        "leases stay"
    );
}

fn what_is_removed_is_gone(store: &dyn Store) {
    append(store, &leases(1, 3));
    append(store, &of([change(4, Some(lease(2, "blue")), None)]));
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
        let group = Group {
            origin: Some(OriginChange {
                before,
                after: after.clone(),
            }),
            ..Group::default()
        };
        append(store, &group);
        store.recover().unwrap();
        assert_eq!(store.origin().unwrap().as_ref(), Some(&after));
        before = Some(after);
    }
}

fn it_goes_on_after_a_recovery(store: &dyn Store) {
    append(store, &leases(1, 3));
    store.recover().unwrap();
    append(store, &leases(4, 5));
    assert_eq!(
        numbers(&store.leases(LeaseId(0), 10).unwrap()),
        [1, 2, 3, 4, 5]
    );
}

fn readers_beside_a_writer_see_each_group_whole(store: &dyn Store) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for group in 0..50 {
                append(store, &leases(group * 10 + 1, group * 10 + 10));
            }
        });
        while !writer.is_finished() {
            let seen = store.events_back(u64::MAX, 1).unwrap();
            let revision = seen.first().map_or(0, |event| event.revision);
            assert_eq!(revision % 10, 0, "half a group is visible");
            assert!(store.leases(LeaseId(0), 1000).unwrap().len() as u64 >= revision);
        }
    });
}

/// Takes in what other writers have appended.
fn follow(store: &dyn Store) {
    loop {
        let at = store.extent().unwrap().position;
        let asked = store.append(at, &Group::default()).unwrap();
        if asked == Append::Appended(at) {
            return;
        }
    }
}

fn who_is_behind_gets_the_groups_that_others_appended_and_appends_nothing(
    one: &dyn Store,
    two: &dyn Store,
) {
    append(one, &leases(1, 2));
    append(one, &leases(3, 3));
    let renamed = of([change(4, Some(lease(1, "blue")), Some(lease(1, "red")))]);
    append(one, &renamed);
    let late = leases(3, 4);
    let behind = |at, groups: &[Group]| {
        let expected = Append::Behind(groups.to_vec(), Position(3));
        assert_eq!(two.append(Position(at), &late).unwrap(), expected);
        assert_eq!(two.extent().unwrap().revision, 4);
    };
    behind(0, &[leases(1, 2), leases(3, 3), renamed.clone()]);
    behind(1, &[leases(3, 3), renamed.clone()]);
    behind(2, &[renamed]);
    append(two, &leases(5, 5));
    follow(one);
    assert_eq!(one.lease(LeaseId(5)).unwrap(), Some(lease(5, "blue")));
    // Too far behind: the answer is another one, and no answer lacks groups.
    for revision in 6..600 {
        append(one, &leases(revision, revision));
    }
    let late = two.append(Position(4), &leases(6, 6)).unwrap();
    assert_eq!(late, Append::Compacted);
    assert_eq!(two.extent().unwrap(), one.extent().unwrap());
}

fn two_writers_see_the_same_and_append_in_turns(one: &dyn Store, two: &dyn Store) {
    for turn in 0..10 {
        let writer = [one, two][turn % 2];
        follow(writer);
        let begin = turn as u64 * 30;
        append(writer, &leases(begin + 1, begin + 30));
        if turn == 7 {
            let removed = change(begin + 31, Some(lease(1, "blue")), None);
            let at = writer.extent().unwrap().position;
            let group = of([removed]);
            // The next turn's revisions follow on the last one: this group is not appended.
            let other = [two, one][turn % 2];
            follow(other);
            assert!(matches!(
                other.append(Position(at.0 - 1), &group).unwrap(),
                Append::Behind(missed, end) if missed.len() == 1 && end == at
            ));
        }
    }
    follow(one);
    follow(two);
    let all = |store: &dyn Store| {
        let events = store.events(0, 1000).unwrap();
        assert_eq!(revisions(&events), Vec::from_iter(1..=300));
        (store.leases(LeaseId(0), 1000).unwrap(), events)
    };
    assert_eq!(all(one), all(two));
}

/// A name, and what checks a store that is empty.
pub(crate) type Requirement = (&'static str, fn(&dyn Store));

/// The same of two writers of one empty log.
pub(crate) type RequirementOfTwo = (&'static str, fn(&dyn Store, &dyn Store));

macro_rules! named {
    ($($name:ident)*) => { &[$((stringify!($name), $name)),*] };
}

/// What every store must do.
pub(crate) const REQUIREMENTS: &[Requirement] = named! {
    a_new_store_is_empty
    a_group_is_there_whole
    the_last_event_about_a_lease_or_pool_counts
    leases_come_in_pages_in_order_of_number
    the_history_is_read_both_ways_and_forgotten_from_its_start
    what_is_removed_is_gone
    which_store_it_is_is_kept
    it_goes_on_after_a_recovery
    readers_beside_a_writer_see_each_group_whole
};

/// What a store with several writers must do.
pub(crate) const REQUIREMENTS_OF_TWO: &[RequirementOfTwo] = named! {
    who_is_behind_gets_the_groups_that_others_appended_and_appends_nothing
    two_writers_see_the_same_and_append_in_turns
};
