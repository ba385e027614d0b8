//! Leases with much text: no answer is larger than what gRPC clients take by default, whatever a page holds.

use std::io::Write;
use std::process::Stdio;

use e2e::IpamServer;
use proto::ipam::v1::{ListEventsRequest, ListLeasesRequest, ReclaimOrphansRequest};
use serde_json::{Map, Value, json};

/// Leases of the test: 7 MiB in all.
const LEASES: usize = 900;
/// Labels of each of them.
const LABELS: usize = 64;

/// Leases as `ipamctl export` writes them.
fn backup() -> String {
    let labels: Map<String, Value> = (0..LABELS)
        .map(|number| {
            (
                format!("{}-{number}", "label".repeat(12)),
                "x".repeat(63).into(),
            )
        })
        .collect();
    let pool = json!({"pool": {"name": "blue", "ipv4": {"cidr": "10.0.0.0/16"}}});
    let lease = |number: usize| {
        let (high, low) = ((number + 1) / 256, (number + 1) % 256);
        json!({"lease": {
            "id": format!("l{}", number + 2), "pool": "blue", "state": "ACTIVE", "generation": "1",
            "ipv4": format!("10.0.{high}.{low}/16"), "labels": labels,
            "owner": {
                "namespace": "ns", "pod": format!("pod-{number}"), "network": "blue", "node": "n1",
                "containerId": format!("c-{number}"), "ifname": "net1"
            }
        }})
    };
    let lines = std::iter::once(pool).chain((0..LEASES).map(lease));
    lines.map(|line| format!("{line}\n")).collect()
}

fn import(server: &IpamServer, backup: &str) {
    let mut command = server.ipamctl_command(&["import", "-", "-o", "json"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start ipamctl");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(backup.as_bytes()).expect("write lines");
    drop(stdin);
    let done = child.wait_with_output().expect("wait for ipamctl");
    let done: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(done["imported"], (LEASES + 1).to_string(), "{done}");
}

#[tokio::test]
async fn leases_with_many_labels_are_imported_listed_and_reclaimed_by_clients_with_default_limits()
{
    let server = IpamServer::start_with(&["--restore-wait-seconds=0"]);
    import(&server, &backup());
    let (mut leases, mut request) = (Vec::new(), ListLeasesRequest::default());
    request.page_size = 1000;
    loop {
        let page = server.lease_client().list_leases(request.clone()).await;
        let page = page.expect("a page of leases").into_inner();
        leases.extend(page.leases.into_iter().map(|lease| lease.id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = (0..LEASES)
        .map(|number| format!("l{}", number + 2))
        .collect();
    assert_eq!(leases, expected);
    for descending in [false, true] {
        let (mut revisions, mut request) = (Vec::new(), ListEventsRequest::default());
        (request.page_size, request.descending) = (1000, descending);
        loop {
            let page = server.admin_client().list_events(request.clone()).await;
            let page = page.expect("a page of events").into_inner();
            revisions.extend(page.events.into_iter().map(|event| event.revision));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let mut sorted = revisions.clone();
        sorted.sort_unstable();
        if descending {
            sorted.reverse();
        }
        sorted.dedup();
        assert_eq!(revisions, sorted);
        assert!(revisions.len() > LEASES, "{}", revisions.len());
    }
    let orphans = ReclaimOrphansRequest {
        node: "n1".to_owned(),
        ..Default::default()
    };
    let found = server.admin_client().reclaim_orphans(orphans).await;
    let found = found.expect("an answer of limited size").into_inner();
    assert_eq!(found.suspected_count, LEASES as u64);
    assert!(found.suspected.len() < LEASES, "{}", found.suspected.len());
}
