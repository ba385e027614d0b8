//! The pages over HTTP: health, readiness and metrics, as a kubelet and Prometheus ask for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use e2e::ipam::pages::get;
use e2e::ipam::{Page, request};
use e2e::{Daemon, IpamServer, locate, wait_until};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proto::ipam::v1::{ReleaseRequest, WatchRequest};
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a label may be called.
const LABELS: [&str; 7] = ["pool", "family", "state", "method", "code", "le", "version"];

#[test]
fn it_is_alive_at_once_and_ready_when_everything_is_loaded() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    // It loads until somebody writes the pools.
    let pools = folder.path().join("pools.yaml");
    mkfifo(&pools, Mode::S_IRUSR | Mode::S_IWUSR).expect("make a FIFO");
    // A loopback address that no other process has, so that the port can be known before.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let at = SocketAddr::from((Ipv4Addr::new(127, 100 + high, middle, low), 7480));
    let socket = folder.path().join("ipam.sock");
    let mut command = Command::new(locate::executable("ipam-server"));
    command
        .arg(format!("--listen=unix://{}", socket.display()))
        .arg(format!("--metrics-listen={at}"))
        .arg("--store=memory")
        .arg("--pools")
        .arg(&pools);
    let mut server = Daemon::start(command, &folder.path().join("log"));
    wait_until("it listens", PATIENCE, || {
        assert_eq!(server.ended(), None, "{}", server.log());
        TcpStream::connect(at).ok()
    });
    let ask = |path| get(at, "GET", path);
    assert_eq!(ask("/healthz").status, 200);
    let loading = ask("/readyz");
    assert_eq!(
        (loading.status, loading.body.as_str()),
        (503, "the leases are being loaded\n")
    );
    lint(&ask("/metrics"));
    fs::write(&pools, "pools: [{name: blue, ipv4: {cidr: 10.0.0.0/24}}]\n")
        .expect("write the pools");
    wait_until("it is ready", PATIENCE, || {
        (ask("/readyz").status == 200).then_some(())
    });
    let metrics = lint(&ask("/metrics"));
    assert_eq!(
        metrics[r#"ipam_pool_addresses{pool="blue",family="ipv4",state="free"}"#],
        "254.0"
    );
}

#[test]
fn what_is_no_page_is_refused() {
    let server = IpamServer::start();
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/x", 404),
        ("POST", "/metrics", 405),
    ] {
        let page = get(server.metrics_address(), method, path);
        assert_eq!(page.status, status, "{method} {path}");
        assert!(page.body.ends_with('\n'), "{page:?}");
    }
    let page = server.page("/readyz");
    assert_eq!(page.content_type, "text/plain; charset=utf-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened_and_keep_to_the_rules_of_their_names() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/29", "fd00::/64").await;
    let mut leases = server.lease_client();
    let mut watch = leases
        .watch(WatchRequest::default())
        .await
        .expect("watch")
        .into_inner();
    watch.message().await.expect("a bookmark");
    for pod in ["one", "two"] {
        leases
            .allocate(request("blue", pod))
            .await
            .expect("allocate");
    }
    let stale = ReleaseRequest {
        id: "l2".to_owned(),
        generation: 9,
        ..ReleaseRequest::default()
    };
    leases.release(stale).await.expect_err("it is stale");
    call_what_is_not_there(&server).await;

    let metrics = lint(&server.page("/metrics"));
    for (sample, value) in [
        (
            r#"ipam_pool_addresses{pool="blue",family="ipv4",state="leased"}"#,
            "2.0",
        ),
        (
            r#"ipam_pool_addresses{pool="blue",family="ipv4",state="free"}"#,
            "4.0",
        ),
        (
            r#"ipam_pool_addresses{pool="blue",family="ipv6",state="leased"}"#,
            "2.0",
        ),
        (
            r#"ipam_rpc_duration_seconds_count{method="ipam.v1.LeaseService/Allocate",code="Ok"}"#,
            "2",
        ),
        (
            r#"ipam_rpc_duration_seconds_count{method="ipam.v1.LeaseService/Release",code="Aborted"}"#,
            "1",
        ),
        (
            r#"ipam_rpc_duration_seconds_count{method="unknown",code="Unimplemented"}"#,
            "1",
        ),
        ("ipam_commit_changes_sum", "3.0"),
        ("ipam_conflicts_total", "1"),
        ("ipam_store_writable", "1"),
        ("ipam_revision", "3"),
        ("ipam_watchers", "1"),
        (r#"ipam_server_build_info{version="0.1.0"}"#, "1"),
    ] {
        let told = metrics.get(sample).map(String::as_str);
        assert_eq!(told, Some(value), "{sample} in {metrics:#?}");
    }
    drop(watch);
    wait_until("the watch is over", PATIENCE, || {
        (lint(&server.page("/metrics"))["ipam_watchers"] == "0").then_some(())
    });
}

/// A method that does not exist must not become a label.
async fn call_what_is_not_there(server: &IpamServer) {
    let mut grpc = Grpc::new(server.channel());
    grpc.ready().await.expect("connect");
    let path = PathAndQuery::from_static("/ipam.v1.LeaseService/MadeUpByTheCaller");
    let answer: Result<tonic::Response<()>, _> = grpc
        .unary(tonic::Request::new(()), path, ProstCodec::default())
        .await;
    assert_eq!(
        answer.expect_err("no such method").code(),
        Code::Unimplemented
    );
}

/// Checks the text of /metrics as OpenMetrics 1.0 and Prometheus' rules for names ask; gives value by sample.
#[track_caller]
fn lint(page: &Page) -> BTreeMap<String, String> {
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(
        page.content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = page.body.strip_suffix("# EOF\n").expect("an end");
    let mut families: Vec<(String, String)> = Vec::new();
    let mut helped = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').expect("a sentence");
            assert!(helped.insert(name.to_owned()), "twice: {line}");
            assert!(sentence.len() > 8, "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(helped.contains(name), "no HELP before {line}");
            lint_name(name, kind);
            families.push((name.to_owned(), kind.to_owned()));
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let (family, kind) = families.last().expect("a TYPE before");
            lint_sample(sample, family, kind);
            value.parse::<f64>().expect("a number");
            let known = samples.insert(sample.to_owned(), value.to_owned());
            assert_eq!(known, None, "twice: {sample}");
        }
    }
    assert_eq!(helped.len(), families.len(), "each HELP has its TYPE");
    samples
}

fn lint_name(name: &str, kind: &str) {
    assert!(name.starts_with("ipam_"), "{name}");
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(name.bytes().all(plain), "{name}");
    // The ending _total is of a counter's samples, _info of an info's.
    for ending in ["_total", "_info", "_count", "_sum", "_bucket"] {
        assert!(!name.ends_with(ending), "{name} is the name of a family");
    }
    for unit in [
        "milliseconds",
        "_ms",
        "minutes",
        "_kb",
        "kilobytes",
        "percent",
    ] {
        assert!(!name.contains(unit), "{name}: base units only");
    }
    for (word, ending) in [
        ("duration", "_seconds"),
        ("time", "_seconds"),
        ("size", "_bytes"),
    ] {
        assert!(!name.contains(word) || name.ends_with(ending), "{name}");
    }
    assert!(
        ["counter", "gauge", "histogram", "info"].contains(&kind),
        "{name} is {kind}"
    );
}

fn lint_sample(sample: &str, family: &str, kind: &str) {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let endings: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    let ending = name.strip_prefix(family);
    assert!(
        ending.is_some_and(|ending| endings.contains(&ending)),
        "{sample} is not of {kind} {family}"
    );
    let labels = labels.strip_suffix('}').expect("an end of the labels");
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, _) = label.split_once('=').expect("a value");
        assert!(LABELS.contains(&name), "{sample}: label {name}");
    }
}
