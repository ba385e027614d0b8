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
        .api
        .set_pool_state(&caller(), "second".into(), PoolState::Cordoned)
        .await
        .unwrap();
    assert!(matches!(
        bench.give(both(3)).await,
        Err(Error::Refused(Refusal::PoolNotActive { .. }))
    ));
    bench
        .api
        .set_pool_state(&caller(), "second".into(), PoolState::Active)
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
        .api
        .update_pool(&caller(), update(&["10.0.0.2-10.0.0.9"], ""))
        .await;
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::PoolInUse { .. }))),
        "{refused:?}"
    );
    let changed = bench
        .api
        .update_pool(&caller(), update(&["10.0.0.1-10.0.0.4"], &made.etag))
        .await
        .unwrap();
    assert_eq!(changed.ipv4_usage.unwrap().free, "1");
    let stale = bench
        .api
        .update_pool(&caller(), update(&[], &made.etag))
        .await;
    assert!(
        matches!(stale, Err(Error::Refused(Refusal::Stale { .. }))),
        "{stale:?}"
    );
    bench.assert_consistent().await;
    let delete = ipam::DeletePoolRequest {
        name: "blue".into(),
        ..Default::default()
    };
    assert!(matches!(
        bench.api.delete_pool(&caller(), delete).await,
        Err(Error::Refused(Refusal::PoolInUse { .. }))
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
    let refused = bench.api.create_pool(&caller(), make("")).await;
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::PoolOverlap { .. }))),
        "{refused:?}"
    );
    bench
        .api
        .create_pool(&caller(), make("other"))
        .await
        .unwrap();
}

#[tokio::test]
async fn addresses_rest_on_when_their_pool_is_deleted_and_made_anew() {
    let mut bench = Bench::new();
    let resting = |name: &str, cidr: &str| {
        let mut pool = dual(name, cidr, "");
        pool.quarantine = seconds(600);
        pool
    };
    let delete = |name: &str| ipam::DeletePoolRequest {
        name: name.into(),
        ..Default::default()
    };
    let wish = |pool: &str, n| ipam::AllocateRequest {
        ips: vec!["10.0.0.1".into()],
        ..ask(pool, n)
    };
    bench.pool(resting("blue", "10.0.0.0/29")).await;
    let lease = bench.give(ask("blue", 1)).await.unwrap();
    assert_eq!(lease.ipv4, "10.0.0.1/29");
    bench.end(&lease).await.unwrap();
    let deleted = bench.api.delete_pool(&caller(), delete("blue")).await;
    deleted.unwrap();
    bench.assert_consistent().await;
    bench.restart().await;
    bench.assert_consistent().await;
    let made = bench.pool(resting("blue", "10.0.0.0/29")).await;
    assert_eq!(made.ipv4_usage.unwrap().quarantined, "1");
    assert!(matches!(
        bench.give(wish("blue", 2)).await,
        Err(Error::Refused(Refusal::AddressQuarantined { .. }))
    ));
    bench.assert_consistent().await;
    // Also under another name and with another prefix length, and after a restart.
    bench
        .api
        .delete_pool(&caller(), delete("blue"))
        .await
        .unwrap();
    bench.pool(resting("red", "10.0.0.0/24")).await;
    bench.restart().await;
    assert!(matches!(
        bench.give(wish("red", 3)).await,
        Err(Error::Refused(Refusal::AddressQuarantined { .. }))
    ));
    assert_eq!(bench.leases().await[0].ipv4, "10.0.0.1/24");
    bench.assert_consistent().await;
    // Without any pool the quarantine ends in its time.
    bench
        .api
        .delete_pool(&caller(), delete("red"))
        .await
        .unwrap();
    bench.clock.advance(601);
    bench
        .wait_for("the end of the quarantine", <[_]>::is_empty)
        .await;
    bench.pool(resting("red", "10.0.0.0/24")).await;
    bench.give(wish("red", 4)).await.unwrap();
    bench.assert_consistent().await;
}

#[tokio::test]
async fn an_address_that_rests_in_one_vrf_is_free_in_a_pool_of_the_same_name_in_another() {
    let mut bench = Bench::new();
    let pool = |vrf: &str| ipam::Pool {
        vrf: vrf.into(),
        quarantine: seconds(600),
        ..dual("blue", "10.0.0.0/29", "")
    };
    bench.pool(pool("red")).await;
    let lease = bench.give(ask("blue", 1)).await.unwrap();
    bench.end(&lease).await.unwrap();
    let delete = ipam::DeletePoolRequest {
        name: "blue".into(),
        ..Default::default()
    };
    bench.api.delete_pool(&caller(), delete).await.unwrap();
    bench.pool(pool("green")).await;
    let wish = |n| ipam::AllocateRequest {
        ips: vec!["10.0.0.1".into()],
        ..ask("blue", n)
    };
    let held = bench.give(wish(2)).await.unwrap();
    bench.restart().await;
    bench.assert_consistent().await;
    bench.clock.advance(601);
    bench
        .wait_for("the end of the quarantine", |leases| leases.len() == 1)
        .await;
    assert_eq!(bench.leases().await, [held]);
    let refused = bench.give(wish(3)).await;
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::AddressInUse { .. }))),
        "{refused:?}"
    );
    bench.assert_consistent().await;
}
