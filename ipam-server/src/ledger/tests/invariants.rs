//! The nine invariants of the address service, by number.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proto::ipam::v1::{self as ipam, EventType};

use super::fixture::{Bench, ask, caller, dual, seconds};
use super::*;
use crate::error::Refusal;
use crate::wire::lease;

#[derive(Clone, Debug)]
enum Step {
    Give(usize, bool),
    Batch(usize, usize),
    Release(usize),
    Fail,
    Recover,
    Later(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_usize, any::<bool>()).prop_map(|(n, check)| Step::Give(n, check)),
        2 => (0..12_usize, 0..12_usize).prop_map(|(a, b)| Step::Batch(a, b)),
        5 => (0..12_usize).prop_map(Step::Release),
        1 => Just(Step::Fail),
        2 => Just(Step::Recover),
        2 => (0..40_i64).prop_map(Step::Later),
        1 => Just(Step::Restart),
    ]
}

/// Does anything, in any order, on pools that are too small; whatever it answers is right.
async fn live(steps: Vec<Step>) -> Bench {
    let mut bench = Bench::new();
    let mut small = dual("small", "10.0.0.0/29", "fd00::/125");
    small.quarantine = seconds(20);
    bench.pool(small).await;
    let mut other = dual("other", "10.0.1.0/29", "fd01::/125");
    other.set_pairing(ipam::Pairing::Aligned);
    bench.pool(other).await;
    for step in steps {
        match step {
            Step::Give(n, validate_only) => {
                let pool = if n % 3 == 0 { "other" } else { "small" };
                let request = ipam::AllocateRequest {
                    validate_only,
                    ..ask(pool, n)
                };
                let _ = bench.give(request).await;
            }
            Step::Batch(a, b) => {
                let requests = vec![ask("small", 100 + a), ask("other", 200 + b)];
                let request = ipam::BatchAllocateRequest {
                    requests,
                    ..ipam::BatchAllocateRequest::default()
                };
                let _ = bench.api.batch_allocate(&caller(), request).await;
            }
            Step::Release(n) => {
                let leases = bench.leases().await;
                if let Some(lease) = leases.get(n) {
                    let _ = bench.end(lease).await;
                }
            }
            Step::Fail => bench.store.fails.store(true, Ordering::SeqCst),
            Step::Recover => {
                bench.store.fails.store(false, Ordering::SeqCst);
                bench.restart().await;
            }
            Step::Later(by) => bench.clock.advance(by),
            Step::Restart => bench.restart().await,
        }
    }
    bench.store.fails.store(false, Ordering::SeqCst);
    // A ledger that is still waiting to try its store again ends no lease.
    bench.restart().await;
    bench
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn invariant_1_an_address_is_in_at_most_one_active_or_quarantined_lease_of_its_vrf(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(async {
            let bench = live(steps).await;
            let mut seen = BTreeSet::new();
            for lease in bench.leases().await {
                for address in [&lease.ipv4, &lease.ipv6] {
                    assert!(seen.insert((lease.vrf.clone(), address.clone())), "{address} is there twice");
                }
            }
        });
    }

    #[test]
    fn invariant_2_a_pair_is_all_or_nothing(steps in proptest::collection::vec(step(), 1..60)) {
        run(async {
            for lease in live(steps).await.leases().await {
                assert!(!lease.ipv4.is_empty() && !lease.ipv6.is_empty(), "{lease:?}");
            }
        });
    }

    #[test]
    fn invariant_3_indexes_and_counters_equal_a_scan_after_any_crash(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(async {
            let mut bench = live(steps).await;
            bench.assert_consistent().await;
            let before = bench.api.list_pools(&caller()).await.unwrap();
            bench.restart().await;
            bench.assert_consistent().await;
            assert_eq!(bench.api.list_pools(&caller()).await.unwrap(), before);
        });
    }
}

#[tokio::test]
async fn invariant_4_a_release_with_an_old_generation_frees_nothing() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    let lease = bench
        .give(ipam::AllocateRequest {
            ttl: seconds(60),
            ..ask("blue", 1)
        })
        .await
        .unwrap();
    let renew = ipam::RenewRequest {
        id: lease.id.clone(),
        generation: 0,
        ttl: None,
    };
    let renewed = bench.api.renew(&caller(), renew).await.unwrap();
    assert!(matches!(
        bench.end(&lease).await,
        Err(Error::Refused(Refusal::Stale { .. }))
    ));
    assert_eq!(bench.leases().await, std::slice::from_ref(&renewed));
    bench.end(&renewed).await.unwrap();
    assert_eq!(bench.leases().await, []);
}

#[tokio::test]
async fn invariant_5_no_reuse_before_the_quarantine_ends_unless_nothing_else_is_free_then_the_oldest_first()
 {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/30", "fd00::/126");
    pool.ipv6.as_mut().unwrap().ranges = vec!["fd00::1-fd00::2".into()];
    pool.quarantine = seconds(60);
    bench.pool(pool).await;
    let one = bench.give(ask("blue", 1)).await.unwrap();
    bench.end(&one).await.unwrap();
    bench.clock.advance(1);
    let two = bench.give(ask("blue", 2)).await.unwrap();
    assert_ne!(
        two.ipv4, one.ipv4,
        "the other one is free, so the first one rests"
    );
    bench.end(&two).await.unwrap();
    let three = bench.give(ask("blue", 3)).await.unwrap();
    assert_eq!(
        (&three.ipv4, &three.ipv6),
        (&one.ipv4, &one.ipv6),
        "nothing is free: the oldest goes first"
    );
    let events = bench.events(0, 100).await.unwrap();
    let cut_short = events
        .iter()
        .filter(|event| event.r#type() == EventType::CutShort)
        .count();
    assert_eq!(cut_short, 1, "and it is counted");
    let named = ipam::AllocateRequest {
        ips: vec!["10.0.0.2".into()],
        ..ask("blue", 4)
    };
    assert!(matches!(
        bench.give(named).await,
        Err(Error::Refused(Refusal::AddressQuarantined {
            seconds: 60,
            ..
        }))
    ));
}

#[tokio::test]
async fn invariant_6_orphans_need_two_observations_and_grace_and_gc_stays_in_its_network_and_node()
{
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    for n in 0..4 {
        bench.give(ask("blue", n)).await.unwrap();
    }
    let listed = |container: &str| ipam::Attachment {
        container_id: container.into(),
        ifname: "net1".into(),
    };
    let reclaim = || ipam::ReclaimOrphansRequest {
        attachments: vec![listed("c0"), listed("c1"), listed("c2")],
        ..Default::default()
    };
    for (seconds, reclaimed) in [(0, 0), (59, 0), (1, 1)] {
        bench.clock.advance(seconds);
        let answer = bench
            .api
            .reclaim_orphans(&caller(), reclaim())
            .await
            .unwrap();
        assert_eq!(answer.reclaimed.len(), reclaimed, "after {seconds} s more");
    }
    let gc = |network: &str, node: &str| ipam::ReleaseUnlistedRequest {
        network: network.into(),
        node: node.into(),
        attachments: vec![listed("c0")],
        ..Default::default()
    };
    for (network, node, ended) in [
        ("red", "n0", 0),
        ("blue", "n7", 0),
        ("blue", "n0", 1),
        ("blue", "n0", 0),
    ] {
        let answer = bench
            .api
            .release_unlisted(&caller(), gc(network, node))
            .await
            .unwrap();
        assert_eq!(answer.leases.len(), ended, "{network} {node}");
    }
    let left: Vec<_> = bench
        .leases()
        .await
        .into_iter()
        .map(|lease| lease.owner.unwrap().container_id)
        .collect();
    assert_eq!(left, ["c0", "c1"]);
}

#[tokio::test]
async fn invariant_7_every_change_has_a_revision_and_they_follow_without_a_gap() {
    let bench = live(
        (0..10)
            .map(|n| Step::Give(n, false))
            .chain((0..5).map(Step::Release))
            .collect(),
    )
    .await;
    let events = bench.events(0, 1000).await.unwrap();
    let revisions: Vec<u64> = events.iter().map(|event| event.revision).collect();
    assert_eq!(
        revisions,
        (1..=*bench.ledger.revision().borrow()).collect::<Vec<_>>()
    );
    let committed: Vec<u64> = bench.store.commits.lock().unwrap().concat();
    assert_eq!(committed, revisions, "each was written once, in order");
}

#[tokio::test]
async fn invariant_8_what_was_acknowledged_is_in_the_store_and_a_failed_write_leaves_nothing() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    let one = bench.give(ask("blue", 1)).await.unwrap();
    let stored = bench.store.lease(one.id.parse().unwrap()).unwrap();
    assert_eq!(stored.map(lease::encode), Some(one.clone()));
    let before = bench.get_pool("blue").await;
    bench.store.fails.store(true, Ordering::SeqCst);
    assert!(matches!(
        bench.give(ask("blue", 2)).await,
        Err(Error::Refused(Refusal::Store(StoreError::Full { .. })))
    ));
    assert!(matches!(
        bench.give(ask("blue", 3)).await,
        Err(Error::Refused(Refusal::Store(StoreError::Full { .. })))
    ));
    assert_eq!(
        bench.get_pool("blue").await,
        before,
        "what is there can still be read"
    );
    assert!(bench.ledger.health().borrow().is_err());
    bench.store.fails.store(false, Ordering::SeqCst);
    let mut health = bench.ledger.health();
    health.wait_for(Result::is_ok).await.unwrap();
    bench.give(ask("blue", 2)).await.unwrap();
    assert_eq!(bench.leases().await.len(), 2);
    bench.assert_consistent().await;
}

#[tokio::test]
async fn invariant_9_the_clock_stepping_back_expires_nothing() {
    let mut bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    bench
        .give(ipam::AllocateRequest {
            ttl: seconds(100),
            ..ask("blue", 1)
        })
        .await
        .unwrap();
    bench.clock.advance(-1_000_000);
    bench.give(ask("blue", 2)).await.unwrap();
    bench.restart().await;
    bench.give(ask("blue", 3)).await.unwrap();
    assert_eq!(bench.leases().await.len(), 3);
    let events = bench.events(0, 100).await.unwrap();
    let times: Vec<_> = events
        .iter()
        .map(|event| event.time.unwrap().seconds)
        .collect();
    assert!(
        times.is_sorted(),
        "time goes back in the history: {times:?}"
    );
    bench.clock.advance(1_000_101);
    bench
        .wait_for("the expiry", |leases| leases.len() == 2)
        .await;
}
