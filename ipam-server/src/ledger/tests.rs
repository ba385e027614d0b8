mod beside;
mod check;
mod ends;
mod fixture;
mod history;
mod import;
mod invariants;
mod pools;
mod questions;
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

use super::*;
use crate::api::Api;
use crate::error::Refusal;
use crate::wire::time;
use fixture::{Bench, ask, ask_for_claim, caller, dual, seconds};

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
