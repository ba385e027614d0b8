//! An import that is killed half way, at either end: it is taken up again and nothing is there twice.

use std::collections::HashSet;
use std::io::Write;
use std::process::{Child, ChildStdin, Output, Stdio};
use std::time::Duration;

use e2e::{IpamServer, wait_until};
use proto::ipam::v1::{EventType, GetServerRequest, ListEventsRequest, Subject, subject};
use serde_json::{Value, json};

/// Leases of the import; 10 messages and more.
const LEASES: usize = 10_500;
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines of an export: a header, a pool and its leases.
fn lines() -> Vec<String> {
    let head = [
        json!({"header": {"format": 1, "pools": "1", "leases": LEASES.to_string()}}),
        json!({"pool": {
            "name": "blue", "ipv4": {"cidr": "10.0.0.0/16"}, "ipv6": {"cidr": "fd00::/64"}
        }}),
    ];
    let lease = |number: usize| {
        let (high, low) = ((number + 1) / 256, (number + 1) % 256);
        json!({"lease": {
            "id": format!("l{}", number + 2), "pool": "blue", "state": "ACTIVE", "generation": "1",
            "ipv4": format!("10.0.{high}.{low}/16"), "ipv6": format!("fd00::{:x}/64", number + 1),
            "owner": {
                "namespace": "ns", "pod": format!("pod-{number}"), "network": "blue",
                "containerId": format!("c-{number}"), "ifname": "net1"
            }
        }})
    };
    head.into_iter()
        .chain((0..LEASES).map(lease))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// An `ipamctl import -` that is given lines as the test wants.
struct Import {
    child: Child,
    stdin: ChildStdin,
}

impl Import {
    fn start(server: &IpamServer) -> Import {
        let mut child = server
            .ipamctl_command(&["import", "-", "-o", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start ipamctl");
        let stdin = child.stdin.take().expect("a pipe");
        Import { child, stdin }
    }

    fn give(&mut self, lines: &[String]) {
        let text = lines.concat();
        self.stdin.write_all(text.as_bytes()).expect("write lines");
    }

    /// Ends its input and waits for the answer.
    fn finish(self) -> Output {
        drop(self.stdin);
        self.child.wait_with_output().expect("wait for ipamctl")
    }
}

/// Leases that the server has.
async fn count(server: &IpamServer) -> u64 {
    let answer = server.admin_client().get_server(GetServerRequest {}).await;
    answer.expect("ask for the server").into_inner().leases
}

async fn wait_for_leases(server: &IpamServer, wanted: u64) {
    let end = tokio::time::timeout(PATIENCE, async {
        while count(server).await < wanted {
            tokio::task::yield_now().await;
        }
    });
    end.await.expect("the import goes on");
}

/// The whole import again: what is missing comes, what is there stays, and that is all.
async fn completes(server: &IpamServer, lines: &[String]) {
    let before = count(server).await;
    let mut import = Import::start(server);
    import.give(lines);
    let output = import.finish();
    assert!(output.status.success(), "{output:?}");
    let reported: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |field: &str| {
        reported[field]
            .as_str()
            .map_or(0, |text| text.parse().expect("a number"))
    };
    assert_eq!(number("conflicts"), 0_u64, "{reported}");
    assert_eq!(
        number("unchanged"),
        before + 1,
        "the pool and what was there: {reported}"
    );
    assert_eq!(number("imported"), LEASES as u64 - before, "{reported}");
}

/// Every lease of the lines is there once, was made once, and all counts agree.
async fn everything_is_there_once(server: &IpamServer) {
    let leases = server.leases().await;
    assert_eq!(leases.len(), LEASES);
    let mut seen = HashSet::new();
    for lease in &leases {
        let number: usize = lease
            .owner
            .as_ref()
            .and_then(|owner| owner.pod.strip_prefix("pod-")?.parse().ok())
            .expect("a pod");
        assert_eq!(lease.ipv6, format!("fd00::{:x}/64", number + 1));
        assert!(seen.insert(number), "pod-{number} is there twice");
    }
    let pool = server.pool("blue").await;
    let usage = pool.ipv4_usage.expect("counts");
    assert_eq!(usage.leased, LEASES.to_string());
    assert_eq!(usage.free, (65_534 - LEASES).to_string());
    server.assert_consistent().await;
    assert_eq!(
        made(server).await,
        LEASES,
        "each is made once in the history"
    );
}

/// How many leases were ever made.
async fn made(server: &IpamServer) -> usize {
    let mut client = server.admin_client();
    let mut request = ListEventsRequest {
        page_size: 1000,
        ..ListEventsRequest::default()
    };
    let mut made = 0;
    loop {
        let page = client.list_events(request.clone()).await;
        let page = page.expect("list events").into_inner();
        let of_leases = page.events.iter().filter(|event| {
            let after = event.after.as_ref();
            let is_lease =
                |subject: &Subject| matches!(subject.subject, Some(subject::Subject::Lease(_)));
            event.r#type() == EventType::Created && after.is_some_and(is_lease)
        });
        made += of_leases.count();
        if page.next_page_token.is_empty() {
            return made;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_server_is_killed_fails_and_completes_when_it_is_repeated() {
    let mut server = IpamServer::start();
    let lines = lines();
    // Once in the middle of each: at the first messages, and later, when much is unchanged.
    for (given, wanted) in [(5_000, 1_000), (8_000, 6_000), (10_000, 8_500)] {
        let mut import = Import::start(&server);
        import.give(&lines[..given]);
        wait_for_leases(&server, wanted).await;
        server.kill9();
        // It ends although its input does not.
        let status = wait_until("ipamctl ends", PATIENCE, || {
            import
                .child
                .try_wait()
                .expect("ask for the state of a child")
        });
        assert_eq!(status.code(), Some(1));
        let reported = import.finish();
        let text = String::from_utf8_lossy(&reported.stderr).into_owned();
        assert!(
            text.starts_with("error: no ipam-server at unix://") && text.lines().count() == 1,
            "{text}"
        );
        server.restart();
        server.assert_consistent().await;
        let there = count(&server).await;
        assert!(
            (wanted..given as u64).contains(&there),
            "{there} of {given}"
        );
    }
    completes(&server, &lines).await;
    everything_is_there_once(&server).await;
    server.kill9();
    server.restart();
    everything_is_there_once(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_half_way_completes_when_it_is_repeated() {
    let server = IpamServer::start();
    let lines = lines();
    let mut import = Import::start(&server);
    import.give(&lines[..6_345]);
    wait_for_leases(&server, 2_000).await;
    import.child.kill().expect("kill ipamctl");
    drop(import.finish());
    server.assert_consistent().await;
    completes(&server, &lines).await;
    everything_is_there_once(&server).await;
}
