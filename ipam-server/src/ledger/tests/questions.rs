//! Who has and who had what, and what Allocate would do.

use super::*;

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
    let explanation = bench.api.explain(&caller(), explain).await.unwrap();
    assert!(
        explanation
            .steps
            .iter()
            .any(|step| step.reason == "POOL_EXHAUSTED"),
        "{explanation:?}"
    );
    assert_eq!(*bench.ledger.revision().borrow(), before);
    let lease = bench.give(request).await.unwrap();
    assert_eq!(
        explanation.would_give.unwrap().lease.unwrap().ipv4,
        lease.ipv4
    );
}
