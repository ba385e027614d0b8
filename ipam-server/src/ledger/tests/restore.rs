//! A store that was restored: what the nodes hold is heard before anything new is leased.

use ipam::export_item::Item;

use super::*;
use crate::store::Log as _;

/// Attachment `n`, which has this address of pool `blue`.
fn held(n: usize, ip: &str) -> ipam::HeldLease {
    ipam::HeldLease {
        request: Some(ask("blue", n)),
        ips: vec![ip.to_owned()],
    }
}

fn mark(id: &str, revision: u64) -> ipam::StoreMark {
    let id = id.to_owned();
    ipam::StoreMark {
        id,
        revision,
        ..Default::default()
    }
}

impl Bench {
    async fn blue() -> Bench {
        let bench = Bench::new();
        let mut pool = dual("blue", "10.0.0.0/24", "");
        pool.quarantine = seconds(3600);
        bench.pool(pool).await;
        bench
    }

    fn id(&self) -> String {
        self.ledger.origin().borrow().id.clone()
    }

    async fn report(
        &self,
        node: &str,
        held: Vec<ipam::HeldLease>,
    ) -> Result<ipam::ReportHeldResponse, Error> {
        let request = ipam::ReportHeldRequest {
            node: node.to_owned(),
            store: Some(mark(&self.id(), 0)),
            held,
        };
        self.api.report_held(&caller(), request).await
    }

    /// Takes leases in, as a backup or as another plugin's leases.
    async fn import(&self, leases: &[ipam::Lease]) {
        let items = leases.iter().cloned().map(|lease| ipam::ExportItem {
            item: Some(Item::Lease(lease)),
        });
        let done = self.api.import(&caller(), items.collect(), false).await;
        assert_eq!(done.unwrap().imported, leases.len() as u64);
    }

    async fn is_waiting(&self) -> bool {
        let asked = ipam::AllocateRequest {
            validate_only: true,
            ..ask("blue", 999)
        };
        match self.give(asked).await {
            Err(Error::Refused(Refusal::Restored { .. })) => true,
            other => {
                other.unwrap();
                false
            }
        }
    }
}

/// Leases of pods 0 and 1, of the nodes n0 and n1, as an export has them.
async fn backup() -> Vec<ipam::Lease> {
    let bench = Bench::blue().await;
    for n in 0..2 {
        bench.give(ask("blue", n)).await.unwrap();
    }
    bench.leases().await
}

#[tokio::test]
async fn a_restored_store_leases_nothing_new_before_the_nodes_of_its_leases_have_reported() {
    let backup = backup().await;
    let bench = Bench::blue().await;
    let before = bench.id();
    bench.import(&backup).await;
    assert_ne!(bench.id(), before, "it is another store");
    assert!(bench.is_waiting().await);
    let existing = bench.give(ask("blue", 1)).await.unwrap();
    assert_eq!(existing.ipv4, "10.0.0.2/24", "what is leased is answered");
    let server = bench.api.server(&caller()).await.unwrap();
    assert_eq!(server.awaited_nodes, ["n0", "n1"]);
    assert!(server.awaited_until_time.is_some());

    // Made after the backup.
    let done = bench
        .report("n0", vec![held(0, "10.0.0.1/24"), held(2, "10.0.0.3/24")])
        .await
        .unwrap();
    assert_eq!((done.adopted, done.unchanged, done.conflicts), (1, 1, 0));
    assert!(bench.is_waiting().await);
    bench.report("n1", vec![held(1, "10.0.0.2")]).await.unwrap();
    assert!(!bench.is_waiting().await);
    let next = bench.give(ask("blue", 3)).await.unwrap();
    assert_ne!(next.ipv4, "10.0.0.3/24");
    let again = bench.give(ask("blue", 2)).await.unwrap();
    assert_eq!(again.ipv4, "10.0.0.3/24", "the adopted lease is its own");
    bench.assert_consistent().await;
}

#[tokio::test]
async fn a_node_that_cannot_prove_a_later_revision_stops_nobody() {
    let mut bench = Bench::blue().await;
    bench.give(ask("blue", 0)).await.unwrap();
    bench.restart().await;
    let of_node = Caller {
        node: Some("n2".into()),
        ..caller()
    };
    let known = |mark: ipam::StoreMark| ipam::AllocateRequest {
        known_store: Some(mark),
        ..ask("blue", 2)
    };
    let id = bench.id();
    let lie = mark(&id, u64::MAX);
    let answer = bench.api.allocate(&of_node, known(lie.clone())).await;
    let seen = answer.unwrap().store.unwrap();
    assert_eq!(bench.id(), id);
    assert!(!bench.is_waiting().await);
    // The proof of another revision proves nothing; that of an operator is not needed.
    let lie = ipam::StoreMark {
        proof: seen.proof.clone(),
        ..lie
    };
    bench.api.allocate(&of_node, known(lie)).await.unwrap();
    assert_eq!(bench.id(), id);
    let mut older = Bench::blue().await;
    let origin = crate::store::OriginChange {
        before: None,
        after: bench.store.origin().unwrap().unwrap(),
    };
    let group = crate::store::Group {
        origin: Some(origin),
        ..Default::default()
    };
    let end = older.store.extent().unwrap().position;
    older.store.append(end, &group).unwrap();
    older.restart().await;
    let refused = older.api.allocate(&of_node, known(seen)).await;
    assert!(matches!(refused, Err(Error::ReportFirst { .. })));
    assert_ne!(older.id(), id, "the proof of the store itself is believed");
}

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
async fn the_wait_of_a_restored_store_ends_by_itself_also_over_a_restart() {
    let backup = backup().await;
    let mut bench = Bench::blue().await;
    bench.import(&backup).await;
    let id = bench.id();
    bench.report("n0", vec![]).await.unwrap();
    bench.restart().await;
    assert_eq!(bench.id(), id);
    assert!(bench.is_waiting().await);
    bench.clock.advance(61);
    assert!(!bench.is_waiting().await, "nobody has heard of n1");
    let server = bench.api.server(&caller()).await.unwrap();
    assert_eq!(server.awaited_nodes, [""; 0]);
    assert_eq!(bench.id(), id, "who has reported need not do it again");
}

#[tokio::test]
async fn an_import_waits_only_for_nodes_of_a_backup_that_have_not_reported_since() {
    let backup = backup().await;
    let foreign = backup.iter().cloned().map(|lease| ipam::Lease {
        id: String::new(),
        ..lease
    });
    let bench = Bench::blue().await;
    bench.import(&foreign.collect::<Vec<_>>()).await;
    assert!(!bench.is_waiting().await, "another plugin's leases");

    let bench = Bench::blue().await;
    let items = vec![ipam::ExportItem {
        item: Some(Item::Lease(backup[0].clone())),
    }];
    let before = bench.id();
    bench.api.import(&caller(), items, true).await.unwrap();
    assert_eq!((bench.id(), bench.is_waiting().await), (before, false));

    // In messages: n0 has reported when its second lease comes.
    let mut second = backup[0].clone();
    second.ipv4 = "10.0.0.9/24".to_owned();
    second.owner.as_mut().unwrap().container_id = "c9".to_owned();
    bench.import(&backup).await;
    bench.report("n0", vec![]).await.unwrap();
    bench.import(&[second]).await;
    bench.report("n1", vec![]).await.unwrap();
    assert!(!bench.is_waiting().await);

    let hasty = Bench::with(Limits {
        restore_wait: Duration::ZERO,
        ..Limits::default()
    });
    hasty.pool(dual("blue", "10.0.0.0/24", "")).await;
    hasty.import(&backup).await;
    assert!(!hasty.is_waiting().await, "it is not to wait");
}

#[tokio::test]
async fn a_caller_who_reported_to_another_store_reports_first_and_one_without_records_is_served() {
    let bench = Bench::blue().await;
    let asking = |known| ipam::AllocateRequest {
        known_store: known,
        ..ask("blue", 1)
    };
    for known in ["", "another"] {
        match bench.give(asking(Some(mark(known, 0)))).await {
            Err(Error::ReportFirst { store }) => assert_eq!(store, bench.id()),
            other => panic!("{known}: {other:?}"),
        }
    }
    let batch = ipam::BatchAllocateRequest {
        requests: vec![ask("blue", 1)],
        known_store: Some(mark("another", 0)),
        ..Default::default()
    };
    let refused = bench.api.batch_allocate(&caller(), batch).await;
    assert!(matches!(refused, Err(Error::ReportFirst { .. })));
    assert_eq!(bench.leases().await, []);
    bench.give(asking(None)).await.unwrap();
    bench
        .give(asking(Some(mark(&bench.id(), 2))))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_that_is_older_than_a_caller_saw_it_is_another_one_and_hears_its_nodes() {
    let mut bench = Bench::blue().await;
    for n in 0..2 {
        bench.give(ask("blue", n)).await.unwrap();
    }
    // An older copy of it, as it is opened.
    bench.restart().await;
    let id = bench.id();
    let seen = ipam::AllocateRequest {
        known_store: Some(mark(&id, 99)),
        ..ask("blue", 2)
    };
    let refused = bench.give(seen).await;
    assert!(
        matches!(refused, Err(Error::ReportFirst { store }) if store != id && store == bench.id())
    );
    assert!(bench.is_waiting().await);
    for node in ["n0", "n1"] {
        bench.report(node, vec![]).await.unwrap();
    }
    assert!(!bench.is_waiting().await);
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
