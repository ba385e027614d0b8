//! A store that was restored: what the nodes hold is heard before anything new is leased.

mod report;

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
