//! What a node reports, and what becomes of it.

use super::*;

#[tokio::test]
async fn a_report_that_nobody_waits_for_takes_no_more_than_a_request_may() {
    let bench = Bench::new();
    let mut closed = dual("closed", "10.1.0.0/24", "");
    closed.allowed_namespaces = vec!["other".into()];
    bench.pool(closed).await;
    let mut pool = dual("blue", "10.0.0.0/24", "");
    pool.namespace_quota = 1;
    pool.quarantine = seconds(3600);
    bench.pool(pool).await;
    let kept = ipam::Reservation {
        name: "kept".into(),
        pool: "blue".into(),
        ipv4: "10.0.0.50".into(),
        identity: Some(ipam::Identity {
            namespace: "ns".into(),
            pod: "pod-9".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = ipam::CreateReservationRequest {
        reservation: Some(kept),
        ..Default::default()
    };
    let made = bench.api.create_reservation(&caller(), request).await;
    made.unwrap();
    // An address of node n1 that rests.
    let resting = bench.give(ask("blue", 1)).await.unwrap();
    let release = ipam::ReleaseRequest {
        id: resting.id.clone(),
        ..Default::default()
    };
    bench.api.release(&caller(), release).await.unwrap();
    let of_node = Caller {
        node: Some("n2".into()),
        ..caller()
    };
    let report = |held| {
        let request = ipam::ReportHeldRequest {
            node: "n2".into(),
            store: Some(mark(&bench.id(), 0)),
            held: vec![held],
        };
        bench.api.report_held(&of_node, request)
    };
    let of_pool = |pool: &str, n, ip: &str| ipam::HeldLease {
        request: Some(ask(pool, n)),
        ips: vec![ip.to_owned()],
    };
    for (held, words) in [
        (
            of_pool("closed", 2, "10.1.0.7"),
            "pool closed does not exist",
        ),
        (held(2, "10.0.0.50"), "reserved for another owner"),
        (held(2, &resting.ipv4), "a lease of another node"),
    ] {
        let done = report(held).await.unwrap();
        assert_eq!((done.adopted, done.conflicts), (0, 1), "{words}");
        assert!(done.conflict_details[0].contains(words), "{done:?}");
    }
    let done = report(held(2, "10.0.0.60")).await.unwrap();
    assert_eq!(done.adopted, 1);
    let done = report(held(4, "10.0.0.61")).await.unwrap();
    assert!(
        done.conflict_details[0].contains("has 1 leases of pool blue"),
        "{done:?}"
    );
    bench.assert_consistent().await;
}

#[tokio::test]
async fn what_a_node_holds_is_adopted_if_nobody_else_has_it() {
    let bench = Bench::blue().await;
    for n in 0..4 {
        bench.give(ask("blue", n)).await.unwrap();
    }
    let leases = bench.leases().await;
    bench.end(&leases[3]).await.unwrap();
    let mut bad = held(20, "10.0.0.20");
    bad.request.as_mut().unwrap().pools.clear();
    for (what, node, reported, expected) in [
        ("free", "n0", held(10, "10.0.0.10"), (1, 0, 0)),
        ("reported again", "n0", held(10, "10.0.0.10/24"), (0, 1, 0)),
        ("in quarantine", "n0", held(11, "10.0.0.4"), (1, 0, 0)),
        (
            "of a pod that the node does not have",
            "n0",
            held(12, "10.0.0.1"),
            (1, 0, 0),
        ),
        (
            "of a pod of another node",
            "n0",
            held(14, "10.0.0.2"),
            (0, 0, 1),
        ),
        (
            "another one than is leased",
            "n1",
            held(1, "10.0.0.30"),
            (0, 0, 1),
        ),
        (
            "in none of the pools",
            "n0",
            held(16, "10.9.0.1"),
            (0, 0, 1),
        ),
        ("no request", "n0", bad, (0, 0, 1)),
        ("no address", "n0", held(18, ""), (0, 0, 1)),
    ] {
        let done = bench.report(node, vec![reported]).await.unwrap();
        assert_eq!(
            (done.adopted, done.unchanged, done.conflicts),
            expected,
            "{what}: {done:?}"
        );
        assert_eq!(done.conflict_details.len() as u64, done.conflicts);
    }
    let mut early = held(20, "10.0.0.40");
    early.request.as_mut().unwrap().pools = vec!["green".to_owned()];
    let done = bench.report("n0", vec![early]).await.unwrap();
    assert_eq!((done.conflicts, done.missing_pools), (1, 1), "{done:?}");
    let adopted = bench.give(ask("blue", 12)).await.unwrap();
    assert_eq!(adopted.ipv4, "10.0.0.1/24");
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_report_says_which_node_and_store_it_is_about() {
    let bench = Bench::blue().await;
    let request = |node: &str, store| ipam::ReportHeldRequest {
        node: node.to_owned(),
        store,
        held: vec![held(1, "10.0.0.9")],
    };
    for (request, expected) in [
        (request("", Some(mark(&bench.id(), 0))), "INVALID_FIELD"),
        (request("n1", None), "INVALID_FIELD"),
        (request("n1", Some(mark("another", 0))), "REPORT_FIRST"),
    ] {
        let refused = bench.api.report_held(&caller(), request).await;
        assert_eq!(refused.unwrap_err().reason(), expected);
    }
    assert_eq!(bench.leases().await, []);
    let many = (0..600).map(|n| held(n, &format!("10.0.{}.{}", n / 256, n % 256)));
    let done = bench.report("n1", many.collect()).await.unwrap();
    assert_eq!(done.adopted, 254, "several groups");
    assert_eq!((done.conflicts, done.conflict_details.len()), (346, 100));
}
