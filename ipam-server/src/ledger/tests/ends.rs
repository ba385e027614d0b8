//! Leases that end by themselves.

use super::*;

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
