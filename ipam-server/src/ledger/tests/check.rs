//! CheckConsistency finds every disagreement of memory and store.

use std::sync::Arc;

use ipam_core::allocator::{Draft, State, load};
use ipam_core::event::{Change, Event};
use ipam_core::lease::{Lease, LeaseId, Owner};
use ipam_core::log::{Group, Log, Position, Store};
use ipam_core::pool::{Pool, Subnet};
use jiff::Timestamp;

use crate::store::memory::MemoryStore;

fn stored(id: u64) -> Lease {
    Lease {
        id: LeaseId(id),
        pool: "blue".into(),
        vrf: "default".into(),
        ipv4: format!("10.0.{}.{}/16", id / 256, id % 256).parse().ok(),
        ipv6: format!("fd00::{id:x}/64").parse().ok(),
        owner: Some(Arc::new(Owner {
            namespace: "ns".into(),
            pod: format!("pod-{id}"),
            container_id: format!("c{id}"),
            ifname: "net1".into(),
            network: "blue".into(),
            ..Owner::NONE
        })),
        generation: 1,
        expire_time: Some(Timestamp::MAX),
        ..Lease::default()
    }
}

/// A pool with leases in more than two pages, and what is remembered of them.
fn loaded() -> (MemoryStore, State) {
    let store = MemoryStore::default();
    let subnet = |cidr: &str| cidr.parse().ok().map(Subnet::of);
    let pool = Pool {
        name: "blue".into(),
        vrf: "default".into(),
        ipv4: subnet("10.0.0.0/16"),
        ipv6: subnet("fd00::/64"),
        ..Pool::default()
    };
    let made = |(revision, change)| Event {
        revision,
        change,
        ..Event::default()
    };
    let leases = (1..=2500).map(|id| Change::lease(None, Some(Arc::new(stored(id)))));
    let changes = std::iter::once(Change::pool(None, Some(Arc::new(pool)))).chain(leases);
    let group = Group {
        events: (1..).zip(changes).map(made).collect(),
        ..Group::default()
    };
    store.append(Position(0), &group).unwrap();
    let mut state = load(&store).unwrap();
    store.set_history([]);
    state.revision = 2500;
    state.oldest_revision = 2501;
    (store, state)
}

fn problems(store: &dyn Store, state: &mut State) -> Vec<String> {
    let draft = Draft::new(state, store, Timestamp::UNIX_EPOCH);
    let mut cursor = Some(draft.check_begin());
    let (mut leases, mut pools, mut steps, mut problems) = (0, 0, 0, Vec::new());
    while let Some(at) = cursor {
        let step = draft.check(at).unwrap();
        leases += step.leases;
        pools += step.pools;
        steps += 1;
        problems.extend(step.problems);
        cursor = step.next;
    }
    assert!(steps >= 9, "{steps} steps are too large");
    assert!(
        leases >= 2499 && pools == 1,
        "{leases} leases, {pools} pools"
    );
    problems
}

#[test]
fn what_agrees_has_no_problem() {
    let (store, mut state) = loaded();
    assert_eq!(problems(&store, &mut state), [""; 0]);
}

#[test]
fn every_disagreement_is_reported() {
    type Spoil = fn(&MemoryStore, &mut State);
    let cases: [(&str, Spoil, &[&str]); 8] = [
        (
            "a lease that is stored only",
            |_, state| {
                let lost = state.leases.remove(&LeaseId(1500));
                assert!(lost.is_some());
            },
            &[
                "lease l1500: is stored, but not remembered",
                "pool blue: 10.0.5.220 is not held by lease l1500",
                "pool blue: fd00::5dc is not held by lease l1500",
            ],
        ),
        (
            "a lease that is remembered only",
            |store, _| {
                store.lose_lease(LeaseId(7));
            },
            &["lease l7: is remembered, but not stored"],
        ),
        (
            "another generation",
            |_, state| {
                state.leases.get_mut(&LeaseId(7)).unwrap().generation = 9;
            },
            &["lease l7: is not remembered as it is stored"],
        ),
        (
            "a lost attachment",
            |_, state| {
                let key = state.leases.get(&LeaseId(7)).unwrap().keys.attachment;
                state.by_attachment.remove(key, LeaseId(7));
            },
            &["lease l7: is not found by its attachment"],
        ),
        (
            "a lost end",
            |_, state| {
                state.deadlines.pop_first();
            },
            &["lease l1: has an end that would be missed"],
        ),
        (
            "an address that is free and held",
            |_, state| {
                let pool = state.pools.values_mut().next().unwrap();
                let addresses = pool.ipv4.as_mut().unwrap();
                assert!(addresses.free.add(addresses.held.keys().next().unwrap()));
            },
            &[
                "lease l1: its address 10.0.0.1 counts as free",
                "pool blue: 65535 of 65534 IPv4 addresses are accounted for",
            ],
        ),
        (
            "an address that another lease has",
            |_, state| {
                let pool = state.pools.values_mut().next().unwrap();
                let addresses = pool.ipv6.as_mut().unwrap();
                *addresses.held.values_mut().next().unwrap() = LeaseId(2);
            },
            &[
                "lease l1: lease l2 has its address fd00::1, too",
                "pool blue: fd00::1 is not held by lease l2",
            ],
        ),
        (
            "a wrong count",
            |_, state| {
                let pool = state.pools.values_mut().next().unwrap();
                pool.ipv4.as_mut().unwrap().quarantined = 3;
            },
            &["pool blue: 0 IPv4 addresses are in quarantine, 3 are counted"],
        ),
    ];
    for (name, spoil, expected) in cases {
        let (store, mut state) = loaded();
        spoil(&store, &mut state);
        assert_eq!(problems(&store, &mut state), expected, "{name}");
    }
}

#[test]
fn a_revision_that_the_history_lacks_is_named_the_newest_too() {
    let (store, mut state) = loaded();
    let event = |revision| Event {
        revision,
        ..Event::default()
    };
    let kept = (101..=2490).filter(|revision| !(1500..1510).contains(revision));
    store.set_history(kept.map(event));
    state.oldest_revision = 101;
    assert_eq!(
        problems(&store, &mut state),
        [
            "the history lacks revisions 1500 to 1509",
            "the history lacks revisions 2491 to 2500"
        ]
    );
}
