//! Leases of other IPAM plugins: they come without an id, and an import of them is repeated as they change.

use proto::ipam::v1::{self as ipam, export_item::Item};

use super::*;

/// What a lease of an export has beside: an id.
const EXPORTED: &str = "l7";

fn lease(id: &str, ip: &str, network: &str, container: &str) -> ipam::ExportItem {
    ipam::ExportItem {
        item: Some(Item::Lease(ipam::Lease {
            id: id.into(),
            pool: "blue".into(),
            ipv4: ip.into(),
            owner: Some(ipam::Owner {
                network: network.into(),
                container_id: container.into(),
                ifname: "net1".into(),
                ..Default::default()
            }),
            ..Default::default()
        })),
    }
}

/// Imported, unchanged, conflicts.
async fn import(bench: &Bench, item: ipam::ExportItem) -> (u64, u64, u64) {
    let answer = bench.api.import(&caller(), vec![item], false).await;
    let answer = answer.unwrap();
    (answer.imported, answer.unchanged, answer.conflicts)
}

#[tokio::test]
async fn what_another_plugin_holds_ends_the_quarantine_of_its_address_and_an_export_does_not() {
    let bench = Bench::new();
    bench
        .pool(ipam::Pool {
            quarantine: seconds(3600),
            ..dual("blue", "10.0.0.0/24", "")
        })
        .await;
    let first = bench.give(ask("blue", 1)).await.unwrap();
    bench.end(&first).await.unwrap();
    let address = first.ipv4.as_str();
    assert_eq!(
        import(&bench, lease(EXPORTED, address, "blue", "c9")).await,
        (0, 0, 1)
    );
    assert_eq!(
        import(&bench, lease("", address, "blue", "c9")).await,
        (1, 0, 0)
    );
    let leases = bench.leases().await;
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!(leases[0].state(), ipam::lease::State::Active);
    bench.assert_consistent().await;
}

#[tokio::test]
async fn an_import_that_is_repeated_with_a_better_network_files_its_leases_anew() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    assert_eq!(
        import(&bench, lease("", "10.0.0.7", "guess", "c7")).await,
        (1, 0, 0)
    );
    assert_eq!(
        import(&bench, lease("", "10.0.0.7", "ns/nad", "c7")).await,
        (1, 0, 0)
    );
    assert_eq!(
        import(&bench, lease("", "10.0.0.7", "ns/nad", "c7")).await,
        (0, 1, 0)
    );
    assert_eq!(
        import(&bench, lease("", "10.0.0.7", "ns/nad", "c8")).await,
        (0, 0, 1)
    );
    bench.assert_consistent().await;
    let release = |network: &str| ipam::ReleaseAttachmentRequest {
        network: network.into(),
        container_id: "c7".into(),
        ifname: "net1".into(),
    };
    let ended = bench
        .api
        .release_attachment(&caller(), release("guess"))
        .await;
    assert!(ended.unwrap().lease.is_none());
    let ended = bench
        .api
        .release_attachment(&caller(), release("ns/nad"))
        .await;
    assert!(ended.unwrap().lease.is_some());
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_lease_that_somebody_asked_for_is_not_changed_by_an_import() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let given = bench.give(ask("blue", 1)).await.unwrap();
    let owner = given.owner.clone().unwrap();
    let same = lease("", &given.ipv4, "blue", &owner.container_id);
    assert_eq!(import(&bench, same).await, (0, 1, 0));
    let other = lease("", &given.ipv4, "ns/nad", &owner.container_id);
    assert_eq!(import(&bench, other).await, (0, 0, 1));
    assert_eq!(bench.leases().await, [given]);
}

#[tokio::test]
async fn a_lease_with_a_wrong_field_is_left_out_and_the_field_is_named() {
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    type Spoil = fn(&mut ipam::Lease);
    let cases: [(&str, Spoil); 7] = [
        ("lease.mac", |lease| lease.mac = "02:00".into()),
        ("lease.labels", |lease| {
            lease.labels = [("x".repeat(64), String::new())].into();
        }),
        ("lease.state", |lease| lease.state = 9),
        ("lease.requested_families", |lease| {
            lease.requested_families = 9;
        }),
        ("lease.owner.node", |lease| {
            lease.owner.get_or_insert_default().node = "n".repeat(254);
        }),
        ("lease.expire_time", |lease| {
            let seconds = i64::MAX;
            lease.expire_time = Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        }),
        ("lease.create_time", |lease| {
            lease.create_time = Some(pbjson_types::Timestamp {
                seconds: 0,
                nanos: -1_000_000_000,
            });
        }),
    ];
    for (field, spoil) in cases {
        let mut item = lease("", "10.0.0.7", "blue", "c7");
        let Some(Item::Lease(found)) = &mut item.item else {
            unreachable!("it is a lease");
        };
        spoil(found);
        let answer = bench.api.import(&caller(), vec![item], false).await;
        let answer = answer.unwrap();
        let details = answer.conflict_details.concat();
        assert!(details.contains(field), "{field}: {details}");
        assert_eq!((answer.imported, answer.conflicts), (0, 1));
    }
    assert_eq!(bench.leases().await, []);
    bench.assert_consistent().await;
}

#[tokio::test]
async fn an_imported_lease_keeps_its_number_unless_another_one_has_it_and_new_ones_get_higher_ones()
{
    let bench = Bench::new();
    bench.pool(dual("blue", "10.0.0.0/24", "")).await;
    let first = bench.give(ask("blue", 1)).await.unwrap();
    let taken = lease(&first.id, "10.0.0.77/24", "blue", "c7");
    for item in [
        lease("l900", "10.0.0.90/24", "blue", "c90"),
        lease("l40", "10.0.0.40/24", "blue", "c40"),
        lease("l18446744073709551615", "10.0.0.41/24", "blue", "c41"),
        taken,
    ] {
        assert_eq!(import(&bench, item).await, (1, 0, 0));
    }
    let by_address = |leases: &[ipam::Lease], address: &str| {
        let found = leases.iter().find(|lease| lease.ipv4 == address);
        found.expect("a lease").id.clone()
    };
    let leases = bench.leases().await;
    assert_eq!(by_address(&leases, "10.0.0.90/24"), "l900");
    assert_eq!(by_address(&leases, "10.0.0.40/24"), "l40");
    let other = bench.give(ask("blue", 2)).await.unwrap();
    for id in [
        by_address(&leases, "10.0.0.41/24"),
        by_address(&leases, "10.0.0.77/24"),
        other.id.clone(),
    ] {
        let number = id.strip_prefix('l').unwrap().parse::<u64>().unwrap();
        assert!((901..1000).contains(&number), "{id}");
    }
    let numbers: BTreeSet<_> = bench
        .leases()
        .await
        .into_iter()
        .map(|lease| lease.id)
        .collect();
    assert_eq!(numbers.len(), 6, "{numbers:?}");
    bench.assert_consistent().await;
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
    let mut told_more = items();
    for item in &mut told_more {
        if let Some(ipam::export_item::Item::Lease(lease)) = &mut item.item {
            lease.owner.as_mut().unwrap().node = "n7".into();
        }
    }
    let three = bench.api.import(&caller(), told_more, false).await.unwrap();
    assert_eq!(
        (three.imported, three.unchanged, three.conflicts),
        (2, 1, 2),
        "{three:?}"
    );
    bench.assert_consistent().await;
}
