//! Connections of the address service: strangers who say nothing keep nobody out, and certificates are renewed under load.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use e2e::{IpamServer, wait_until};
use proto::ipam::v1::ListPoolsRequest;
use proto::ipam::v1::pool_service_client::PoolServiceClient;

use crate::security::roles::scene::{Caller, Scene};

const PATIENCE: Duration = Duration::from_secs(60);

/// Files that the server may have open.
const FILES: usize = 128;
/// Connections of one peer then: a quarter of all, and half of so few files is for other things.
const OF_PEER: usize = FILES / 2 / 4;

#[tokio::test(flavor = "multi_thread")]
async fn twice_the_file_limit_of_silent_connections_keeps_no_client_out() {
    let limit = format!("--nofile={FILES}:{FILES}");
    let server = IpamServer::start_under_with(
        &["prlimit", &limit],
        &["--insecure", "--listen=tcp://127.0.0.1:0"],
    );
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let at = server.tcp_address();
    let crowd: Vec<_> = (0..2 * FILES)
        .map(|_| TcpStream::connect(at).expect("connect"))
        .collect();
    let closed = || server.metric("ipam_connections_closed_total{why=\"idle\"}");
    let silent = (2 * FILES - OF_PEER) as f64;
    wait_until(
        "a new silent one takes the place of an old one",
        PATIENCE,
        || (closed() >= silent).then_some(()),
    );
    // The address of the silent ones: it is the same peer.
    let address = format!("http://{at}");
    let endpoint = tonic::transport::Endpoint::from_shared(address).expect("an address");
    let channel = endpoint.connect().await.expect("connect");
    let mut client = PoolServiceClient::new(channel);
    let pools = client.list_pools(ListPoolsRequest::default()).await;
    assert_eq!(pools.expect("pools").into_inner().pools.len(), 1);
    // One silent connection made room: no limit of time of theirs was waited for, and no file descriptor was missing.
    assert!(
        (closed() - silent - 1.0).abs() < f64::EPSILON,
        "{}",
        closed()
    );
    assert!(server.metric("ipam_accept_failures_total").abs() < f64::EPSILON);
    // And by the socket, where nobody is in the way.
    assert!(server.ipamctl(&["pool", "list"]).status.success());
    assert!(
        (closed() - silent - 1.0).abs() < f64::EPSILON,
        "{}",
        closed()
    );
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_open_files_is_raised_to_the_hard_one_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut server = IpamServer::start_under(&["prlimit", "--nofile=256:512"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("read the limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = files.expect("a line").split_whitespace().collect();
    assert_eq!(words[3..5], ["512", "512"]);
    // A store of an earlier version.
    server.stop();
    let store = server.store().to_owned();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    open(&store, 0o755);
    for entry in std::fs::read_dir(&store).expect("the store") {
        let path = entry.expect("a file").path();
        open(&path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    server.restart();
    let mode = |path: &std::path::Path| {
        let found = std::fs::metadata(path).expect("a file");
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode(&store), 0o700);
    for entry in std::fs::read_dir(&store).expect("the store") {
        let path = entry.expect("a file").path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_under_load_and_no_call_fails() {
    let scene = Arc::new(Scene::new().await);
    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (scene, stop, calls) = (scene.clone(), stop.clone(), calls.clone());
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // A connection of its own, for a handshake each.
                let channel = scene.channel(Caller::Reader).await;
                let mut client = PoolServiceClient::new(channel);
                for _ in 0..5 {
                    let listed = client.list_pools(ListPoolsRequest::default()).await;
                    listed.expect("no call fails");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let used = || {
        scene
            .server
            .metric("ipam_renewals_total{files=\"tls\",result=\"used\"}")
    };
    let not_after = || {
        let series = "ipam_certificate_not_after_timestamp_seconds{files=\"tls\"}";
        scene.server.metric(series)
    };
    assert_eq!(not_after(), 64_060_588_800.0, "the year 4000");
    for round in 0..3 {
        let before = used();
        scene.renew_server();
        wait_until("the renewed files are used", PATIENCE, || {
            (used() > before).then_some(())
        });
        let so_far = calls.load(Ordering::Relaxed);
        wait_until(&format!("calls after renewal {round}"), PATIENCE, || {
            (calls.load(Ordering::Relaxed) > so_far + 20).then_some(())
        });
    }
    assert_eq!(not_after(), 32_503_680_000.0, "the year 3000");
    // Rubbish is not used: handshakes go on with what was there.
    scene.break_server();
    scene
        .wait_for_metric("ipam_renewals_total{files=\"tls\",result=\"failed\"}")
        .await;
    let so_far = calls.load(Ordering::Relaxed);
    wait_until("calls after rubbish", PATIENCE, || {
        (calls.load(Ordering::Relaxed) > so_far + 20).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.expect("no call failed");
    }
}

#[test]
fn text_of_an_older_lease_does_not_steer_the_terminal_of_ipamctl() {
    let server = IpamServer::start();
    let made = server.ipamctl(&["pool", "create", "blue", "--ipv4-cidr=10.0.0.0/24"]);
    assert!(made.status.success(), "{made:?}");
    // As an older server let it in: an import takes leases as they are.
    let lease = serde_json::json!({"lease": {
        "pool": "blue", "ipv4": "10.0.0.7/24", "owner": {"claim": "a\u{1b}[2J\u{9b}\u{202e}b"}
    }});
    let file = server.folder().join("lease.jsonl");
    std::fs::write(&file, format!("{lease}\n")).expect("write a lease");
    let file = file.display().to_string();
    let imported = server.ipamctl(&["import", &file]);
    assert!(imported.status.success(), "{imported:?}");
    for arguments in [
        &["lease", "list"][..],
        &["lease", "list", "-o", "wide"],
        &["lease", "list", "-o", "json"],
        &["lease", "list", "-o", "yaml"],
        &["whohas", "10.0.0.7"],
        &["history"],
        &[
            "lease",
            "allocate",
            "--pool=blue",
            "--claim=x",
            "--ip=10.0.0.7",
        ],
    ] {
        let output = server.ipamctl(arguments);
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8(text.clone()).expect("UTF-8");
            assert!(
                !text.contains(['\u{1b}', '\u{9b}', '\u{202e}']),
                "{arguments:?}: {text:?}"
            );
        }
    }
}

#[test]
fn text_that_steers_a_terminal_is_refused_in_owners_and_labels() {
    let server = IpamServer::start();
    let made = server.ipamctl(&["pool", "create", "blue", "--ipv4-cidr=10.0.0.0/24"]);
    assert!(made.status.success(), "{made:?}");
    for (argument, field) in [
        ("--claim=a\u{1b}[2Jb", "owner.claim"),
        ("--node=a\u{9b}b", "owner.node"),
        ("--label=a=\u{202e}b", "labels"),
    ] {
        let words = ["lease", "allocate", "--pool=blue", "--claim=x", argument];
        let words = if argument.starts_with("--claim") {
            vec![words[0], words[1], words[2], argument]
        } else {
            words.to_vec()
        };
        let refused = server.ipamctl(&words);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{argument:?}");
        assert!(text.contains(field), "{text}");
        assert!(
            !text.trim_end().contains(['\u{1b}', '\u{9b}', '\u{202e}']),
            "{text:?}"
        );
    }
    assert!(
        server.ipamctl_json(&["lease", "list"])["leases"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
}
