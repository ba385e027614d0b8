//! Two ledgers over one log.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::fixture::{Bench, ask, dual};
use super::*;

/// The addresses of all leases, each once.
fn addresses(leases: &[ipam::Lease]) -> BTreeSet<(String, String)> {
    let pairs: BTreeSet<_> = leases
        .iter()
        .map(|lease| (lease.ipv4.clone(), lease.ipv6.clone()))
        .collect();
    assert_eq!(pairs.len(), leases.len(), "an address was given twice");
    pairs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_lease_a_pool_to_its_last_pair_and_none_twice() {
    let one = Bench::new();
    let two = one.beside();
    // 254 pairs without the gateway.
    one.pool(dual("blue", "10.0.0.0/24", "fd00::/120")).await;
    let pairs = 254;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..pairs + 6 {
        let api = [&one, &two][n % 2].api.clone();
        asking.spawn(async move { api.allocate(&caller(), ask("blue", n)).await });
    }
    let mut leases = Vec::new();
    let mut exhausted = 0;
    while let Some(answer) = asking.join_next().await {
        match answer.unwrap() {
            Ok(answer) => leases.extend(answer.lease),
            Err(Error::Refused(Refusal::PoolExhausted { .. })) => exhausted += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(exhausted, pairs + 6 - leases.len());
    let given = addresses(&leases);
    // A server hears of the last groups of another one when it appends itself.
    for bench in [&one, &two] {
        let lease = bench.leases().await[0].clone();
        bench.end(&lease).await.unwrap();
    }
    one.give(ask("blue", 900)).await.unwrap();
    two.give(ask("blue", 901)).await.unwrap();
    assert_eq!(addresses(&one.leases().await).len(), given.len());
    assert_eq!(one.leases().await, two.leases().await);
    one.end(&one.leases().await[0]).await.unwrap();
    two.end(&two.leases().await[0]).await.unwrap();
    two.assert_consistent().await;
}

#[tokio::test]
async fn what_another_server_changed_is_taken_in_before_the_next_decision() {
    let one = Bench::new();
    let two = one.beside();
    one.pool(dual("blue", "10.0.0.0/24", "fd00::/64")).await;
    let lease = one.give(ask("blue", 1)).await.unwrap();
    // The same attachment is asked for at the other server: it has not seen the pool yet.
    assert_eq!(two.give(ask("blue", 1)).await.unwrap(), lease);
    two.end(&lease).await.unwrap();
    let other = one.give(ask("blue", 2)).await.unwrap();
    assert_eq!(one.leases().await, std::slice::from_ref(&other));
    assert_eq!(two.leases().await, [other]);
    one.api
        .set_pool_state(&caller(), "blue".into(), PoolState::Cordoned)
        .await
        .unwrap();
    let refused = two.give(ask("blue", 3)).await.unwrap_err();
    assert!(
        matches!(refused, Error::Refused(Refusal::PoolNotActive { .. })),
        "{refused}"
    );
}

#[tokio::test]
async fn who_is_never_first_is_asked_to_come_again_and_nothing_is_kept() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    bench.store.overtakes.store(true, Ordering::SeqCst);
    let refused = bench.give(ask("blue", 1)).await.unwrap_err();
    let contended = matches!(
        refused,
        Error::Refused(Refusal::Store(StoreError::Contended { times: 20, .. }))
    );
    assert!(contended, "{refused}");
    assert_eq!(bench.leases().await, []);
    bench.store.overtakes.store(false, Ordering::SeqCst);
    // The store is well: there is no waiting for a recovery.
    bench.give(ask("blue", 1)).await.unwrap();
    bench.assert_consistent().await;
}
