//! What goes on beside something that takes long.

use std::sync::atomic::Ordering;

use super::fixture::{Bench, ask, caller, dual, seconds};
use super::*;

#[tokio::test]
async fn a_check_goes_on_beside_what_else_is_decided() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/16", "fd00::/64")).await;
    let mut leases = Vec::new();
    for n in 0..2500 {
        leases.push(bench.give(ask("blue", n)).await.unwrap());
    }
    let mut steps = 0;
    let mut step = bench.ledger.check_step(None).await.unwrap();
    while let Some(next) = step.next {
        assert_eq!(step.problems, [""; 0]);
        // One that was checked, one that was not, one that is new.
        bench.end(&leases[steps]).await.unwrap();
        bench.end(&leases[2499 - steps]).await.unwrap();
        bench.give(ask("blue", 3000 + steps)).await.unwrap();
        steps += 1;
        step = bench.ledger.check_step(Some(next)).await.unwrap();
    }
    assert!(steps >= 7, "{steps} steps are too large");
    bench.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_change_before_it_is_durable() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let lease = bench.give(ask("blue", 1)).await.unwrap();
    let seen = async || {
        let ledger = &bench.ledger;
        (
            bench.leases().await,
            ledger.events(0, 100).await.unwrap(),
            ledger.events_back(u64::MAX, 1).await.unwrap(),
            *ledger.revision().borrow(),
        )
    };
    let before = seen().await;
    let mut held = bench.store.hold();
    let ending = tokio::spawn({
        let (api, id) = (bench.api.clone(), lease.id.clone());
        async move {
            let release = ipam::ReleaseRequest {
                id,
                ..Default::default()
            };
            api.release(&caller(), release).await
        }
    });
    held.reached().await;
    assert_eq!(
        seen().await,
        before,
        "the release is decided, but not durable"
    );
    held.go();
    ending.await.unwrap().unwrap();
    assert_eq!(bench.leases().await, []);
}

#[tokio::test]
async fn a_store_that_failed_shows_what_was_before() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "");
    pool.quarantine = seconds(60);
    bench.pool(pool).await;
    let lease = bench.give(ask("blue", 1)).await.unwrap();
    bench.store.fails.store(true, Ordering::SeqCst);
    assert!(matches!(
        bench.end(&lease).await,
        Err(Error::Refused(Refusal::Store(_)))
    ));
    assert_eq!(bench.leases().await, std::slice::from_ref(&lease));
    let one = bench.api.get_lease(&caller(), lease.id.clone()).await;
    assert_eq!(one.unwrap(), lease);
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_lease_whose_end_is_late_is_not_given_again_as_it_was() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/16", "");
    pool.max_ttl = seconds(60);
    bench.pool(pool).await;
    let ask = |pool: &str, n| ipam::AllocateRequest {
        ttl: seconds(60),
        ..ask(pool, n)
    };
    let mut last = None;
    for n in 0..1100 {
        last = Some(bench.give(ask("blue", n)).await.unwrap());
    }
    let last = last.unwrap();
    bench.clock.advance(61);
    // More end at once than one group takes.
    let again = bench.give(ask("blue", 1099)).await.unwrap();
    assert_ne!(again.id, last.id);
    bench
        .wait_for("the end of the others", |leases| leases.len() == 1)
        .await;
    bench.assert_consistent().await;
}

#[tokio::test]
async fn many_leases_end_in_more_than_one_group() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/16", "")).await;
    for n in 0..2200 {
        let mut wish = ask("blue", n);
        wish.owner.as_mut().unwrap().node = "n0".into();
        bench.give(wish).await.unwrap();
    }
    let request = ipam::ReleaseUnlistedRequest {
        network: "blue".into(),
        node: "n0".into(),
        attachments: vec![ipam::Attachment {
            container_id: "c7".into(),
            ifname: "net1".into(),
        }],
        validate_only: false,
    };
    let before = bench.store.commits.lock().unwrap().len();
    let answer = bench.api.release_unlisted(&caller(), request).await;
    assert_eq!(answer.unwrap().leases.len(), 2199);
    let commits = bench.store.commits.lock().unwrap().split_off(before);
    assert!(commits.iter().all(|group| group.len() <= 1024));
    assert_eq!(bench.leases().await.len(), 1);
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_lease_ends_in_its_time_though_the_clock_is_hours_behind_the_store() {
    let bench = Bench::new();
    // Of the store; the test's clock is not that of this machine.
    let future = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(5);
    let ahead = future.as_second() - bench.clock.now().as_second();
    bench.clock.advance(ahead);
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    bench.ledger.stop().await;
    let clock = Arc::new(crate::clock::SystemClock::default());
    let store = bench.store.clone();
    let ledger = Ledger::start(store, clock.clone(), Limits::default(), None).unwrap();
    let timed = ipam::AllocateRequest {
        ttl: seconds(1),
        ..ask("blue", 1)
    };
    let api = Api::new(ledger.clone());
    api.allocate(&caller(), timed).await.unwrap();
    assert!(clock.behind() > Duration::from_secs(4 * 3600));
    let ends = async {
        let mut revision = ledger.revision();
        let made = *revision.borrow_and_update();
        revision.wait_for(|now| *now > made).await.map(drop)
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ends).await;
    ended.expect("it ends").unwrap();
    assert!(ledger.leases(LeaseId(0), 9).await.unwrap().is_empty());
}
