//! Reservations where pods move and have several interfaces.

use super::fixture::{Bench, ask, caller, dual, seconds};
use super::*;

/// Keeps addresses of `pool` for pod `ns/pod-1`.
async fn keep(bench: &Bench, name: &str, pool: &str, ipv4: &str, ipv6: &str) {
    let reservation = ipam::Reservation {
        name: name.into(),
        pool: pool.into(),
        ipv4: ipv4.into(),
        ipv6: ipv6.into(),
        identity: Some(ipam::Identity {
            namespace: "ns".into(),
            pod: "pod-1".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = ipam::CreateReservationRequest {
        reservation: Some(reservation),
        ..Default::default()
    };
    let made = bench.api.create_reservation(&caller(), request).await;
    made.unwrap();
}

/// What pod-1 asks in a container and for an interface.
fn of(container: &str, ifname: &str) -> ipam::AllocateRequest {
    let mut wish = ask("blue", 1);
    let owner = wish.owner.as_mut().unwrap();
    (owner.container_id, owner.ifname) = (container.into(), ifname.into());
    wish
}

#[tokio::test]
async fn a_new_container_of_the_pod_takes_its_addresses_over() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "fd00::/64");
    pool.quarantine = seconds(60);
    bench.pool(pool).await;
    keep(&bench, "pod-1", "blue", "10.0.0.50", "fd00::50").await;
    let before = bench.give(of("old", "net1")).await.unwrap();
    assert_eq!(before.ipv4, "10.0.0.50/24");
    let after = bench.give(of("new", "net1")).await.unwrap();
    assert_eq!(
        (after.ipv4.as_str(), after.ipv6.as_str()),
        ("10.0.0.50/24", "fd00::50/64")
    );
    let late = ipam::ReleaseAttachmentRequest {
        network: "blue".into(),
        container_id: "old".into(),
        ifname: "net1".into(),
    };
    let answer = bench.api.release_attachment(&caller(), late).await;
    assert_eq!(answer.unwrap().lease, None, "a late DEL frees only its own");
    assert_eq!(bench.leases().await, [after]);
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_node_takes_an_address_of_another_node_by_the_claim_of_all_three_only() {
    let of_node = |node: &str| Caller {
        node: Some(node.into()),
        ..caller()
    };
    let of = |container: &str, claim: &str| {
        let mut wish = of(container, "net1");
        claim.clone_into(&mut wish.owner.as_mut().unwrap().claim);
        wish
    };
    for (kept, holder, asked, is_taken) in [
        ("", "", "", false),
        ("", "", "x", false),
        ("", "data-0", "data-0", false),
        ("data-0", "data-0", "data-0", true),
    ] {
        let bench = Bench::new();
        bench.pool(dual("blue", "10.0.0.0/24", "")).await;
        let identity = ipam::Identity {
            namespace: "ns".into(),
            pod: if kept.is_empty() { "pod-1" } else { "" }.into(),
            claim: kept.into(),
            ..Default::default()
        };
        let request = ipam::CreateReservationRequest {
            reservation: Some(ipam::Reservation {
                name: "kept".into(),
                pool: "blue".into(),
                ipv4: "10.0.0.50".into(),
                identity: Some(identity),
                ..Default::default()
            }),
            ..Default::default()
        };
        let made = bench.api.create_reservation(&caller(), request).await;
        made.unwrap();
        let (one, two) = (of_node("n1"), of_node("n2"));
        let first = bench.api.allocate(&one, of("old", holder)).await;
        let first = first.unwrap().lease.unwrap();
        assert_eq!(first.ipv4, "10.0.0.50/24");
        let other = bench.api.allocate(&two, of("new", asked)).await;
        let what = format!("{kept} {holder} {asked}");
        match other {
            Ok(_) => assert!(is_taken, "{what}"),
            Err(error) => {
                assert!(!is_taken, "{what}: {error}");
                assert!(!error.to_string().contains("pod-1"), "{error}");
            }
        }
        let near = bench.api.allocate(&one, of("next", holder)).await;
        assert!(near.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn a_full_quota_does_not_keep_a_new_container_from_the_address_of_the_old_one() {
    let bench = Bench::new();
    let mut pool = dual("blue", "10.0.0.0/24", "");
    pool.namespace_quota = 1;
    bench.pool(pool).await;
    keep(&bench, "pod-1", "blue", "10.0.0.50", "").await;
    bench.give(of("old", "net1")).await.unwrap();
    let next = bench.give(of("new", "net1")).await.unwrap();
    assert_eq!(next.ipv4, "10.0.0.50/24");
    let refused = bench.give(ask("blue", 2)).await.unwrap_err();
    assert!(matches!(
        refused,
        Error::Refused(Refusal::NamespaceQuota { quota: 1, .. })
    ));
    // An owner without a namespace is counted as one.
    let nobody = |n| {
        let mut wish = ask("blue", n);
        wish.owner.as_mut().unwrap().namespace.clear();
        wish
    };
    bench.give(nobody(3)).await.unwrap();
    assert!(bench.give(nobody(4)).await.is_err());
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_stranger_takes_nothing_over() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let identity = ipam::Identity {
        namespace: "ns".into(),
        mac: "02:00:00:00:00:09".into(),
        ..Default::default()
    };
    let request = ipam::CreateReservationRequest {
        reservation: Some(ipam::Reservation {
            name: "card".into(),
            pool: "blue".into(),
            ipv4: "10.0.0.50".into(),
            identity: Some(identity),
            ..Default::default()
        }),
        ..Default::default()
    };
    bench
        .api
        .create_reservation(&caller(), request)
        .await
        .unwrap();
    let with_mac = |n| ipam::AllocateRequest {
        mac: "02:00:00:00:00:09".into(),
        ..ask("blue", n)
    };
    bench.give(with_mac(1)).await.unwrap();
    // The same MAC in another pod is no successor.
    let other = bench.give(with_mac(2)).await;
    assert!(
        matches!(other, Err(Error::Refused(Refusal::AddressInUse { .. }))),
        "{other:?}"
    );
}

#[tokio::test]
async fn the_second_interface_of_a_pod_gets_the_second_reservation_or_any_address() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    keep(&bench, "a", "blue", "10.0.0.50", "").await;
    keep(&bench, "b", "blue", "10.0.0.51", "").await;
    for (ifname, expected) in [
        ("net1", "10.0.0.50/24"),
        ("net2", "10.0.0.51/24"),
        ("net3", "10.0.0.1/24"),
    ] {
        let lease = bench.give(of("c", ifname)).await.unwrap();
        assert_eq!(lease.ipv4, expected, "{ifname}");
    }
    // The next container gets the same, in whatever order it asks.
    for (ifname, expected) in [("net2", "10.0.0.51/24"), ("net1", "10.0.0.50/24")] {
        let lease = bench.give(of("d", ifname)).await.unwrap();
        assert_eq!(lease.ipv4, expected, "{ifname}");
    }
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_pool_with_a_reservation_comes_before_those_that_are_named_first() {
    let bench = Bench::new();
    bench.pool(dual("first", "10.0.1.0/24", "")).await;
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    keep(&bench, "pod-1", "blue", "10.0.0.50", "").await;
    let both = |n| ipam::AllocateRequest {
        pools: vec!["first".into(), "blue".into()],
        ..ask("first", n)
    };
    assert_eq!(bench.give(both(1)).await.unwrap().ipv4, "10.0.0.50/24");
    assert_eq!(bench.give(both(2)).await.unwrap().pool, "first");
}

#[tokio::test]
async fn an_import_keeps_to_reservations_and_knows_an_attachment_again() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    keep(&bench, "pod-1", "blue", "10.0.0.50", "").await;
    let item = |n, address: &str, node: &str| ipam::ExportItem {
        item: Some(ipam::export_item::Item::Lease(ipam::Lease {
            pool: "blue".into(),
            ipv4: address.into(),
            owner: ask("blue", n).owner.map(|owner| ipam::Owner {
                node: node.into(),
                ..owner
            }),
            ..Default::default()
        })),
    };
    for (items, expected) in [
        (item(2, "10.0.0.50", "n1"), (0, 0, 1)),
        (item(1, "10.0.0.50", "n1"), (1, 0, 0)),
        (item(3, "10.0.0.7", ""), (1, 0, 0)),
        // The node is new to it.
        (item(3, "10.0.0.7", "n1"), (1, 0, 0)),
        (item(3, "10.0.0.7", "n1"), (0, 1, 0)),
        (item(4, "10.0.0.7", "n1"), (0, 0, 1)),
    ] {
        let answer = bench.api.import(&caller(), vec![items], false).await;
        let answer = answer.unwrap();
        let counts = (answer.imported, answer.unchanged, answer.conflicts);
        assert_eq!(counts, expected, "{answer:?}");
    }
}
