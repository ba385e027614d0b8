//! The pages over HTTP: health, readiness and metrics, as a kubelet and Prometheus ask for them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use e2e::ipam::pages::get;
use e2e::ipam::request;
use e2e::openmetrics::Rules;
use e2e::{Daemon, IpamServer, locate, wait_until};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proto::ipam::v1::{ReleaseRequest, WatchRequest};
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

const PATIENCE: Duration = Duration::from_secs(60);

/// What metrics are called.
const RULES: Rules = Rules {
    prefix: "ipam_",
    labels: &["pool", "family", "state", "method", "code", "le", "version"],
};

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
    RULES.lint(ask("/metrics").metrics());
    fs::write(&pools, "pools: [{name: blue, ipv4: {cidr: 10.0.0.0/24}}]\n")
        .expect("write the pools");
    wait_until("it is ready", PATIENCE, || {
        (ask("/readyz").status == 200).then_some(())
    });
    let metrics = RULES.lint(ask("/metrics").metrics());
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
async fn metrics_show_what_happened_and_keep_to_the_rules_of_their_names() {
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

    let metrics = RULES.lint(server.page("/metrics").metrics());
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
        (
            concat!(
                r#"ipam_server_build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""}"#
            ),
            "1",
        ),
    ] {
        let reported = metrics.get(sample).map(String::as_str);
        assert_eq!(reported, Some(value), "{sample} in {metrics:#?}");
    }
    drop(watch);
    wait_until("the watch is over", PATIENCE, || {
        (RULES.lint(server.page("/metrics").metrics())["ipam_watchers"] == "0").then_some(())
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
