//! The checker of what callers of several servers saw: a history that one log explains is right, and each kind of violation is found.

use e2e::history::{Answer, Call, History};
use proto::ipam::v1::{Event, Lease, Subject, lease::State, subject};

fn lease(id: u64, address: u8) -> Lease {
    Lease {
        id: format!("l{id}"),
        ipv4: format!("10.0.0.{address}/24"),
        ipv6: format!("fd00::{address}/64"),
        state: State::Active.into(),
        ..Lease::default()
    }
}

fn event(revision: u64, before: Option<Lease>, after: Option<Lease>) -> Event {
    let side = |lease: Option<Lease>| {
        let subject = lease.map(subject::Subject::Lease);
        subject.map(|subject| Subject {
            subject: Some(subject),
        })
    };
    Event {
        revision,
        before: side(before),
        after: side(after),
        ..Event::default()
    }
}

fn call((began, ended): (u64, u64), answer: Answer) -> Call {
    Call {
        began,
        ended,
        retries: 0,
        answer,
    }
}

/// Two leases, of which the first one is released.
fn right() -> History {
    let (one, two) = (lease(1, 1), lease(2, 2));
    let log = vec![
        event(1, None, Some(one.clone())),
        event(2, None, Some(two.clone())),
        event(3, Some(one.clone()), None),
    ];
    History {
        calls: vec![
            call((10, 20), Answer::Allocated(vec![one.clone()])),
            call((15, 30), Answer::Allocated(vec![two.clone()])),
            call((32, 45), Answer::Read("l1".into(), Some(one.into()))),
            call((40, 50), Answer::Released("l1".into())),
            call((60, 70), Answer::Read("l1".into(), None)),
        ],
        watched: vec![log.clone(), log],
        listed: vec![vec![two.clone()], vec![two]],
        ..History::default()
    }
}

#[track_caller]
fn assert_violated(change: impl FnOnce(&mut History), expected: &str) {
    let mut history = right();
    change(&mut history);
    let violations = history.violations().join("\n");
    assert!(violations.contains(expected), "{violations}");
}

#[test]
fn what_one_log_explains_is_right() {
    assert_eq!(right().violations(), [""; 0]);
}

#[test]
fn an_address_that_two_leases_have_is_found() {
    let twice = |history: &mut History| {
        for log in &mut history.watched {
            log[1] = event(2, None, Some(lease(2, 1)));
        }
    };
    assert_violated(
        twice,
        "revision 2 gives 10.0.0.1/24 to lease l2, which lease l1 has",
    );
}

#[test]
fn an_acknowledged_change_that_is_lost_is_found() {
    let lost = |history: &mut History| {
        let lease = lease(9, 9);
        history
            .calls
            .push(call((80, 90), Answer::Allocated(vec![lease])));
    };
    assert_violated(lost, "an acknowledged change is not in the log");
    let released = |history: &mut History| {
        history
            .calls
            .push(call((80, 90), Answer::Released("l2".into())));
    };
    assert_violated(released, "an acknowledged change is not in the log");
}

#[test]
fn a_change_before_one_that_was_acknowledged_earlier_is_found() {
    let swapped = |history: &mut History| {
        history.calls[1].began = 1;
        history.calls[1].ended = 5;
    };
    assert_violated(
        swapped,
        "revision 1 was asked for when revision 2 had been acknowledged",
    );
}

#[test]
fn an_old_read_and_one_of_the_future_are_found() {
    let old = |history: &mut History| {
        history.calls[4].answer = Answer::Read("l1".into(), Some(lease(1, 1).into()));
    };
    assert_violated(
        old,
        "lease l1 was read as it was at no revision from 3 to 3",
    );
    let future = |history: &mut History| {
        history.calls[2].began = 21;
        history.calls[2].ended = 35;
        history.calls[2].answer = Answer::Read("l1".into(), None);
    };
    assert_violated(
        future,
        "lease l1 was read as it was at no revision from 1 to 2",
    );
}

#[test]
fn half_a_pair_a_gap_another_log_and_another_list_are_found() {
    let half = |history: &mut History| {
        let mut lease = lease(2, 2);
        lease.ipv6.clear();
        history.watched[0][1] = event(2, None, Some(lease));
    };
    assert_violated(half, "revision 2 makes half a pair of lease l2");
    let gap = |history: &mut History| drop(history.watched[0].remove(1));
    assert_violated(gap, "a watcher saw revision 3 behind 1");
    let late = |history: &mut History| drop(history.watched[0].remove(0));
    assert_violated(late, "a watcher saw revision 2 behind 0");
    let other = |history: &mut History| drop(history.watched[1].pop());
    assert_violated(other, "watcher 1 saw another log than watcher 0");
    let list = |history: &mut History| history.listed[1].clear();
    assert_violated(list, "server 1 lists 0 leases at the end");
}

#[test]
fn a_lease_that_two_callers_have_and_a_batch_in_parts_are_found() {
    let shared = |history: &mut History| {
        history
            .calls
            .push(call((16, 29), Answer::Allocated(vec![lease(2, 2)])));
    };
    assert_violated(shared, "lease l2 was answered to two callers");
    let parts = |history: &mut History| {
        let third = lease(4, 4);
        for log in &mut history.watched {
            log.push(event(4, None, Some(third.clone())));
        }
        history.calls[1] = call((15, 90), Answer::Allocated(vec![lease(2, 2), third]));
    };
    assert_violated(
        parts,
        "a batch was not made at once, but from revision 2 to 4",
    );
}

#[test]
fn a_read_that_is_older_than_a_read_before_is_found() {
    let back = |history: &mut History| {
        // The release is not acknowledged before both reads are over.
        history.calls[3].ended = 80;
        history.calls[4] = call((60, 65), Answer::Read("l1".into(), None));
        history.calls.push(call(
            (66, 70),
            Answer::Read("l1".into(), Some(lease(1, 1).into())),
        ));
    };
    assert_violated(
        back,
        "lease l1 was read as it was at no revision from 3 to 3",
    );
}
