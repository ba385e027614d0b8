mod beside;
mod check;
mod history;
mod import;
mod pools;
mod reservations;
mod restore;
mod two;
mod wishes;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipam_core::family::Family;
use ipam_core::lease::LeaseId;
use ipam_core::pool::PoolState;
use proto::ipam::v1 as ipam;

use super::fixture::{Bench, ask, ask_for_claim, caller, dual, seconds};
use super::*;
use crate::api::Api;
use crate::error::Refusal;
use crate::wire::time;

fn plain(text: &str) -> &str {
    text.split_once('/').map_or(text, |(address, _)| address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_parallel_requests_get_the_ten_thousand_pairs_of_a_pool() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/16", "fd00::/64");
    pool.ipv4.as_mut().unwrap().ranges = vec!["10.0.1.0-10.0.40.15".into()];
    pool.ipv6.as_mut().unwrap().ranges = vec!["fd00::1:0-fd00::1:270f".into()];
    let made = bench.pool(pool).await;
    assert_eq!(
        (made.ipv4_usage.unwrap().free, made.ipv6_usage.unwrap().free),
        ("10000".into(), "10000".into())
    );
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10_000 {
        let api = bench.api.clone();
        tasks.spawn(async move {
            api.allocate(&caller(), ask("blue", n))
                .await
                .unwrap()
                .lease
                .unwrap()
        });
    }
    let mut seen = BTreeSet::new();
    while let Some(lease) = tasks.join_next().await {
        let lease = lease.unwrap();
        assert!(
            seen.insert(lease.ipv4.clone()) && seen.insert(lease.ipv6.clone()),
            "{lease:?}"
        );
    }
    assert_eq!(seen.len(), 20_000);
    match bench.give(ask("blue", 10_000)).await {
        Err(Error::Refused(Refusal::PoolExhausted { pool, family, .. })) => {
            assert_eq!((pool.as_str(), family), ("blue", Family::V4));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        bench.store.commits.lock().unwrap().len() < 10_000,
        "they were not written in groups"
    );
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_pod_whose_ipv6_pool_is_exhausted_leaves_the_ipv4_pool_exactly_as_it_was() {
    let bench = Bench::new();
    bench.pool(dual("four", "10.0.0.0/24", "")).await;
    bench.pool(dual("six", "", "fd00::1/128")).await;
    bench.give(ask("six", 1)).await.unwrap();
    let before = bench.get_pool("four").await;
    let requests = vec![ask("four", 2), ask("six", 3)];
    let request = ipam::BatchAllocateRequest {
        requests,
        ..ipam::BatchAllocateRequest::default()
    };
    let refused = bench.api.batch_allocate(&caller(), request).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason(), "POOL_EXHAUSTED");
    assert!(
        refused.to_string().starts_with("requests[1]: "),
        "{refused}"
    );
    assert_eq!(bench.get_pool("four").await, before);
    let next = bench.give(ask("four", 4)).await.unwrap();
    assert_eq!(next.ipv4, "10.0.0.1/24", "the cursor has not moved either");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_lease_and_another_one_is_refused() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    let one = bench.give(ask("blue", 1)).await.unwrap();
    assert_eq!(bench.give(ask("blue", 1)).await.unwrap(), one);
    let other = ipam::AllocateRequest {
        ips: vec!["10.0.0.99".into()],
        ..ask("blue", 1)
    };
    match bench.give(other).await {
        Err(Error::Refused(Refusal::RequestMismatch { difference, .. })) => {
            assert_eq!(difference, "ips")
        }
        other => panic!("{other:?}"),
    }
    let named = || ipam::AllocateRequest {
        pools: vec!["blue".into()],
        request_id: "r1".into(),
        ..Default::default()
    };
    let two = bench.give(named()).await.unwrap();
    assert_eq!(bench.give(named()).await.unwrap(), two);
    bench.end(&one).await.unwrap();
    assert_ne!(bench.give(ask("blue", 1)).await.unwrap().id, one.id);
}

#[tokio::test]
async fn requested_addresses_are_given_or_refused_with_the_reason() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "fd00::/64");
    let four = pool.ipv4.as_mut().unwrap();
    four.gateway = "10.0.0.1".into();
    four.ranges = vec!["10.0.0.1-10.0.0.99".into()];
    four.excludes = vec!["10.0.0.50".into()];
    bench.pool(pool).await;
    let wish = |n, ip: &str| ipam::AllocateRequest {
        ips: vec![ip.into()],
        ..ask("blue", n)
    };
    let lease = bench.give(wish(1, "10.0.0.7/24")).await.unwrap();
    assert_eq!(
        (lease.ipv4.as_str(), lease.ipv6.as_str()),
        ("10.0.0.7/24", "fd00::1/64")
    );
    for (ip, reason) in [
        ("10.0.0.7", "ADDRESS_IN_USE"),
        ("10.0.0.1", "ADDRESS_RESERVED"),
        ("10.0.0.50", "ADDRESS_RESERVED"),
        ("10.0.0.255", "ADDRESS_RESERVED"),
        ("10.0.0.100", "ADDRESS_NOT_IN_POOL"),
        ("10.9.0.1", "ADDRESS_NOT_IN_POOL"),
        ("fd00::", "ADDRESS_RESERVED"),
        ("10.0.0.07", "INVALID_FIELD"),
        ("10.0.0.9/33", "INVALID_FIELD"),
        ("10.0.0.9/", "INVALID_FIELD"),
        ("fd00::9/129", "INVALID_FIELD"),
    ] {
        assert_eq!(
            bench.give(wish(2, ip)).await.unwrap_err().reason(),
            reason,
            "{ip}"
        );
    }
}

#[tokio::test]
async fn aligned_pairs_have_one_offset_also_when_addresses_come_back() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/29", "fd00::/64");
    pool.set_pairing(ipam::Pairing::Aligned);
    bench.pool(pool).await;
    let mut leases = Vec::new();
    for n in 0..6 {
        leases.push(bench.give(ask("blue", n)).await.unwrap());
    }
    assert!(matches!(
        bench.give(ask("blue", 6)).await,
        Err(Error::Refused(Refusal::PoolExhausted { .. }))
    ));
    bench.end(&leases[3]).await.unwrap();
    leases[3] = bench.give(ask("blue", 7)).await.unwrap();
    for lease in &leases {
        let last = |text: &str, by: char| plain(text).rsplit(by).next().unwrap().to_owned();
        assert_eq!(last(&lease.ipv4, '.'), last(&lease.ipv6, ':'), "{lease:?}");
    }
}

#[tokio::test]
async fn strategies_choose_as_they_say() {
    for (strategy, expected) in [
        (ipam::Strategy::NextFit, Some("10.0.0.3/24")),
        (ipam::Strategy::Lowest, Some("10.0.0.1/24")),
        (ipam::Strategy::Random, None),
    ] {
        let bench = Bench::new();
        let mut pool = dual("blue", "10.0.0.0/24", "");
        pool.set_strategy(strategy);
        bench.pool(pool).await;
        let one = bench.give(ask("blue", 1)).await.unwrap();
        bench.give(ask("blue", 2)).await.unwrap();
        bench.end(&one).await.unwrap();
        let three = bench.give(ask("blue", 3)).await.unwrap();
        if let Some(expected) = expected {
            assert_eq!(three.ipv4, expected, "{strategy:?}");
        }
    }
}

#[tokio::test]
async fn random_addresses_of_small_ranges_in_a_large_network_do_not_follow_each_other() {
    let bench = Bench::new();
    let mut pool = dual("blue", "", "fd00::/64");
    pool.ipv6.as_mut().unwrap().ranges = vec![
        "fd00::1:0-fd00::1:ffff".into(),
        "fd00:0:0:0:f::-fd00:0:0:0:f::ffff".into(),
    ];
    pool.set_strategy(ipam::Strategy::Random);
    bench.pool(pool).await;
    let mut addresses = Vec::new();
    for n in 0..32 {
        let lease = bench.give(ask("blue", n)).await.unwrap();
        let address: std::net::Ipv6Addr = plain(&lease.ipv6).parse().unwrap();
        addresses.push(u128::from(address));
    }
    let neighbours = |pair: &[u128]| pair[0] + 1 == pair[1];
    let following = addresses.windows(2).filter(|pair| neighbours(pair)).count();
    assert!(following < 8, "{addresses:x?}");
    let low = addresses
        .iter()
        .filter(|&&at| at & 0xf_0000_0000_0000 == 0)
        .count();
    assert!(
        (1..32).contains(&low),
        "both ranges are used: {addresses:x?}"
    );
}

#[tokio::test]
async fn a_reservation_is_for_its_identity_only() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/30", "fd00::/64")).await;
    let reservation = ipam::Reservation {
        name: "pod-7".into(),
        pool: "blue".into(),
        ipv4: "10.0.0.1".into(),
        identity: Some(ipam::Identity {
            namespace: "ns".into(),
            pod: "pod-7".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = ipam::CreateReservationRequest {
        reservation: Some(reservation),
        ..Default::default()
    };
    bench
        .api
        .create_reservation(&caller(), request)
        .await
        .unwrap();
    assert_eq!(
        bench.give(ask("blue", 1)).await.unwrap().ipv4,
        "10.0.0.2/30"
    );
    assert!(matches!(
        bench.give(ask("blue", 2)).await,
        Err(Error::Refused(Refusal::PoolExhausted { .. }))
    ));
    let wish = ipam::AllocateRequest {
        ips: vec!["10.0.0.1".into()],
        ..ask("blue", 2)
    };
    assert!(matches!(
        bench.give(wish).await,
        Err(Error::Refused(Refusal::AddressReserved { .. }))
    ));
    let usage = bench.get_pool("blue").await.ipv4_usage.unwrap();
    assert_eq!((usage.reserved.as_str(), usage.free.as_str()), ("1", "0"));
    let lease = bench.give(ask("blue", 7)).await.unwrap();
    assert_eq!(lease.ipv4, "10.0.0.1/30");
    bench.end(&lease).await.unwrap();
    assert!(matches!(
        bench.give(ask("blue", 2)).await,
        Err(Error::Refused(Refusal::PoolExhausted { .. }))
    ));
    bench
        .api
        .delete_reservation(&caller(), "pod-7".into())
        .await
        .unwrap();
    assert_eq!(
        bench.give(ask("blue", 2)).await.unwrap().ipv4,
        "10.0.0.1/30"
    );
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_lease_with_a_ttl_ends_by_itself_and_a_renewal_puts_it_off() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "");
    (pool.default_ttl, pool.max_ttl) = (seconds(60), seconds(100));
    bench.pool(pool).await;
    let one = bench.give(ask_for_claim("blue", 1)).await.unwrap();
    let two = bench
        .give(ipam::AllocateRequest {
            ttl: seconds(9999),
            ..ask("blue", 2)
        })
        .await
        .unwrap();
    let until = |lease: &ipam::Lease| {
        lease.expire_time.unwrap().seconds - lease.create_time.unwrap().seconds
    };
    assert_eq!((until(&one), until(&two)), (60, 100));
    bench.clock.advance(50);
    let renew = ipam::RenewRequest {
        id: one.id.clone(),
        generation: 1,
        ttl: None,
    };
    bench.api.renew(&caller(), renew.clone()).await.unwrap();
    bench.clock.advance(55);
    bench
        .wait_for("the second lease's end", |leases| leases.len() == 1)
        .await;
    assert_eq!(bench.leases().await[0].id, one.id);
    bench.clock.advance(10);
    bench
        .wait_for("the first lease's end", <[_]>::is_empty)
        .await;
    assert!(matches!(
        bench.api.renew(&caller(), renew.clone()).await,
        Err(Error::Refused(Refusal::LeaseExpired { .. }))
    ));
    let never = ipam::RenewRequest {
        id: "l9999".into(),
        ..renew
    };
    assert!(matches!(
        bench.api.renew(&caller(), never).await,
        Err(Error::Refused(Refusal::LeaseNotFound { .. }))
    ));
}

#[tokio::test]
async fn a_lease_of_an_attachment_ends_by_itself_only_if_its_caller_named_a_time() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "");
    (pool.default_ttl, pool.max_ttl) = (seconds(60), seconds(100));
    bench.pool(pool).await;
    let pod = bench.give(ask("blue", 1)).await.unwrap();
    assert_eq!(pod.expire_time, None);
    let timed = ipam::AllocateRequest {
        ttl: seconds(50),
        ..ask("blue", 2)
    };
    let timed = bench.give(timed).await.unwrap();
    assert!(timed.expire_time.is_some());
    let renew = |lease: &ipam::Lease, ttl| ipam::RenewRequest {
        id: lease.id.clone(),
        generation: 0,
        ttl,
    };
    for (lease, ttl, ends) in [
        (&pod, None, false),
        (&timed, seconds(50), true),
        (&timed, None, false),
        (&timed, seconds(50), true),
    ] {
        let renewed = bench.api.renew(&caller(), renew(lease, ttl)).await;
        assert_eq!(renewed.unwrap().expire_time.is_some(), ends);
    }
    // What a node's record holds loses the time that an older server gave it.
    let store = bench.ledger.origin().borrow().id.clone();
    let report = ipam::ReportHeldRequest {
        node: "n0".into(),
        store: Some(ipam::StoreMark {
            proof: String::new(),
            id: store,
            revision: 0,
        }),
        held: vec![ipam::HeldLease {
            request: Some(ask("blue", 2)),
            ips: vec![timed.ipv4.clone()],
        }],
    };
    let reported = bench.api.report_held(&caller(), report).await.unwrap();
    assert_eq!((reported.unchanged, reported.conflicts), (1, 0));
    bench.clock.advance(10_000);
    bench.give(ask_for_claim("blue", 3)).await.unwrap();
    let held: Vec<_> = bench
        .leases()
        .await
        .into_iter()
        .map(|lease| lease.id)
        .collect();
    assert!(
        held.contains(&pod.id) && held.contains(&timed.id),
        "{held:?}"
    );
    bench.assert_consistent().await;
}

#[tokio::test]
async fn the_history_shows_who_had_an_address() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let wish = |n| ipam::AllocateRequest {
        ips: vec!["10.0.0.9".into()],
        ..ask("blue", n)
    };
    let begin = bench.clock.now();
    bench.clock.advance(10);
    for n in 1..4 {
        let lease = bench.give(wish(n)).await.unwrap();
        bench.clock.advance(10);
        bench.end(&lease).await.unwrap();
        bench.clock.advance(10);
    }
    let held_at = async |after: i64| {
        let at = begin + jiff::SignedDuration::from_secs(after);
        let request = ipam::LookupRequest {
            address: "10.0.0.9".into(),
            at_time: Some(time::encode(at)),
            ..Default::default()
        };
        let leases = bench.api.lookup(&caller(), request).await.unwrap();
        leases
            .into_iter()
            .map(|lease| lease.owner.unwrap().pod)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (after, pod) in [
        (5, ""),
        (15, "pod-1"),
        (25, ""),
        (35, "pod-2"),
        (55, "pod-3"),
        (65, ""),
    ] {
        assert_eq!(held_at(after).await, pod, "after {after} s");
    }
}

#[tokio::test]
async fn leases_are_found_by_address_pod_and_mac() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    let lease = bench
        .give(ipam::AllocateRequest {
            mac: "02:00:00:00:00:0A".into(),
            ..ask("blue", 1)
        })
        .await
        .unwrap();
    bench.give(ask("blue", 2)).await.unwrap();
    let owner = |pod: &str| {
        Some(ipam::Owner {
            namespace: "ns".into(),
            pod: pod.into(),
            ..Default::default()
        })
    };
    for request in [
        ipam::LookupRequest {
            address: "fd00::1".into(),
            ..Default::default()
        },
        ipam::LookupRequest {
            owner: owner("pod-1"),
            ..Default::default()
        },
        ipam::LookupRequest {
            mac: "02-00-00-00-00-0a".into(),
            ..Default::default()
        },
        ipam::LookupRequest {
            owner: Some(ipam::Owner {
                pod: "pod-1".into(),
                ..Default::default()
            }),
            ..Default::default()
        },
    ] {
        assert_eq!(
            bench.api.lookup(&caller(), request).await.unwrap(),
            std::slice::from_ref(&lease)
        );
    }
}

#[tokio::test]
async fn an_explanation_is_what_happens_and_changes_nothing() {
    let bench = Bench::new();
    bench.pool(dual("full", "10.0.0.1/32", "")).await;
    bench.pool(dual("blue", "10.0.1.0/24", "")).await;
    bench.give(ask("full", 1)).await.unwrap();
    let request = ipam::AllocateRequest {
        pools: vec!["full".into(), "blue".into()],
        ..ask("full", 2)
    };
    let before = *bench.ledger.revision().borrow();
    let explain = ipam::ExplainRequest {
        request: Some(request.clone()),
    };
    let explained = bench.api.explain(&caller(), explain).await.unwrap();
    assert!(
        explained
            .steps
            .iter()
            .any(|step| step.reason == "POOL_EXHAUSTED"),
        "{explained:?}"
    );
    assert_eq!(*bench.ledger.revision().borrow(), before);
    let lease = bench.give(request).await.unwrap();
    assert_eq!(
        explained.would_give.unwrap().lease.unwrap().ipv4,
        lease.ipv4
    );
}

#[tokio::test]
async fn an_import_can_be_repeated() {
    let bench = Bench::new();
    let item = |item| ipam::ExportItem { item: Some(item) };
    let lease = |n: usize, ip: &str| ipam::Lease {
        pool: "blue".into(),
        ipv4: ip.into(),
        owner: ask("blue", n).owner,
        ..Default::default()
    };
    let items = || {
        use ipam::export_item::Item;
        vec![
            item(Item::Pool(dual("blue", "10.0.0.0/24", ""))),
            item(Item::Lease(lease(1, "10.0.0.5"))),
            item(Item::Lease(lease(2, "10.0.0.6/24"))),
            item(Item::Lease(lease(3, "10.0.0.6"))),
            item(Item::Lease(lease(4, "10.9.0.6"))),
        ]
    };
    let one = bench.api.import(&caller(), items(), false).await.unwrap();
    assert_eq!(
        (one.imported, one.unchanged, one.conflicts),
        (3, 0, 2),
        "{one:?}"
    );
    let two = bench.api.import(&caller(), items(), false).await.unwrap();
    assert_eq!(
        (two.imported, two.unchanged, two.conflicts),
        (0, 3, 2),
        "{two:?}"
    );
    // An attachment is the same whatever else is said of it, and knows it afterwards.
    let mut known_more = items();
    for item in &mut known_more {
        if let Some(ipam::export_item::Item::Lease(lease)) = &mut item.item {
            lease.owner.as_mut().unwrap().node = "n7".into();
        }
    }
    let three = bench
        .api
        .import(&caller(), known_more, false)
        .await
        .unwrap();
    assert_eq!(
        (three.imported, three.unchanged, three.conflicts),
        (2, 1, 2),
        "{three:?}"
    );
    bench.assert_consistent().await;
}

#[tokio::test]
async fn the_history_is_bounded_and_says_where_it_begins() {
    let bench = Bench::with(Limits {
        history_events: 100,
        ..Limits::default()
    });
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    for _ in 0..700 {
        let lease = bench.give(ask("blue", 1)).await.unwrap();
        bench.end(&lease).await.unwrap();
    }
    assert!(matches!(
        bench.events(0, 10).await,
        Err(Error::Compacted { .. })
    ));
    let oldest = bench.ledger.oldest_revision();
    assert!(oldest > 1 && bench.events(oldest - 1, 10).await.unwrap().len() == 10);
}

#[tokio::test]
async fn a_caller_whose_time_is_over_gets_nothing() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let late = Caller {
        deadline: Some(Instant::now() - Duration::from_secs(1)),
        ..caller()
    };
    let answer = bench.api.allocate(&late, ask("blue", 1)).await;
    assert!(matches!(answer, Err(Error::DeadlineExceeded)), "{answer:?}");
    assert_eq!(bench.leases().await, []);
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_answered_and_what_comes_after_is_refused() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/16", "")).await;
    let api = bench.api.clone();
    let asked = tokio::spawn(async move { api.allocate(&caller(), ask("blue", 1)).await });
    asked.await.unwrap().unwrap();
    bench.ledger.stop().await;
    assert!(matches!(
        bench.give(ask("blue", 2)).await,
        Err(Error::Stopping)
    ));
}

#[tokio::test]
async fn a_request_id_is_of_the_node_that_made_it_up() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let of_node = |node: &str| Caller {
        node: Some(node.into()),
        ..caller()
    };
    let asked = |n| ipam::AllocateRequest {
        request_id: "r1".into(),
        ..ask("blue", n)
    };
    let give = async |node: &str, n| {
        let answer = bench.api.allocate(&of_node(node), asked(n)).await;
        answer.unwrap()
    };
    let first = give("n1", 1).await;
    let other = give("n2", 2).await;
    assert!(!other.existing);
    assert_ne!(other.lease, first.lease);
    let again = give("n1", 1).await;
    assert_eq!((again.existing, again.lease), (true, first.lease));
    bench.assert_consistent().await;
}
