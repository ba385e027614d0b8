//! Pools: which one serves, and how they may change.

use super::*;

#[tokio::test]
async fn the_next_pool_serves_when_one_is_full_or_cordoned() {
    let bench = Bench::new();
    bench.pool(dual("first", "10.0.0.1/32", "")).await;
    bench.pool(dual("second", "10.0.1.0/24", "")).await;
    let both = |n| ipam::AllocateRequest {
        pools: vec!["first".into(), "second".into()],
        ..ask("first", n)
    };
    assert_eq!(bench.give(both(1)).await.unwrap().pool, "first");
    assert_eq!(bench.give(both(2)).await.unwrap().pool, "second");
    bench
        .ledger
        .cordon_pool(&caller(), "second".into(), true)
        .await
        .unwrap();
    assert!(matches!(
        bench.give(both(3)).await,
        Err(Error::PoolNotActive { .. })
    ));
    bench
        .ledger
        .cordon_pool(&caller(), "second".into(), false)
        .await
        .unwrap();
    assert_eq!(bench.give(both(3)).await.unwrap().pool, "second");
}

#[tokio::test]
async fn ranges_change_as_far_as_leases_allow() {
    let bench = Bench::new();
    let made = bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    for n in 0..3 {
        bench.give(ask("blue", n)).await.unwrap();
    }
    let update = |ranges: &[&str], etag: &str| {
        let mut pool = dual("blue", "10.0.0.0/24", "");
        pool.ipv4.as_mut().unwrap().ranges = ranges.iter().map(|&range| range.into()).collect();
        pool.etag = etag.into();
        ipam::UpdatePoolRequest {
            pool: Some(pool),
            update_mask: vec!["ipv4.ranges".into()],
            validate_only: false,
        }
    };
    let refused = bench
        .ledger
        .update_pool(&caller(), update(&["10.0.0.2-10.0.0.9"], ""))
        .await;
    assert!(
        matches!(refused, Err(Error::PoolInUse { .. })),
        "{refused:?}"
    );
    let changed = bench
        .ledger
        .update_pool(&caller(), update(&["10.0.0.1-10.0.0.4"], &made.etag))
        .await
        .unwrap();
    assert_eq!(changed.ipv4_usage.unwrap().free, "1");
    let stale = bench
        .ledger
        .update_pool(&caller(), update(&[], &made.etag))
        .await;
    assert!(matches!(stale, Err(Error::Stale { .. })), "{stale:?}");
    bench.assert_consistent().await;
    let delete = ipam::DeletePoolRequest {
        name: "blue".into(),
        ..Default::default()
    };
    assert!(matches!(
        bench.ledger.delete_pool(&caller(), delete).await,
        Err(Error::PoolInUse { .. })
    ));
}

#[tokio::test]
async fn pools_of_one_vrf_do_not_overlap() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let make = |vrf: &str| ipam::CreatePoolRequest {
        pool: Some(ipam::Pool {
            vrf: vrf.into(),
            ..dual("red", "10.0.0.128/25", "")
        }),
        ..Default::default()
    };
    let refused = bench.ledger.create_pool(&caller(), make("")).await;
    assert!(
        matches!(refused, Err(Error::PoolOverlap { .. })),
        "{refused:?}"
    );
    bench
        .ledger
        .create_pool(&caller(), make("other"))
        .await
        .unwrap();
}
