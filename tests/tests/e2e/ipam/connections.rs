//! Connections that are of no use, and no file descriptors for those that are.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use e2e::ipam::request;
use e2e::{IpamServer, wait_until};

use crate::ipam::proxy::fixture::until;

const PATIENCE: Duration = Duration::from_secs(120);

/// What every connection of gRPC begins with: the preface of HTTP/2 and empty SETTINGS.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Waits until the other side has closed a connection; meanwhile it sends `drip` over and over.
fn assert_closed(what: &str, mut stream: impl Read + Write, drip: &[u8]) {
    let mut bytes = [0; 4096];
    wait_until(what, PATIENCE, || {
        if let Err(error) = stream.write_all(drip)
            && error.kind() != ErrorKind::WouldBlock
        {
            return Some(());
        }
        match stream.read(&mut bytes) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(()),
        }
    });
}

fn unix(server: &IpamServer) -> UnixStream {
    let stream = UnixStream::connect(server.socket()).expect("connect");
    stream.set_nonblocking(true).expect("not blocking");
    stream
}

fn tcp(at: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("connect");
    stream.set_nonblocking(true).expect("not blocking");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_are_closed_and_those_in_use_are_not() {
    let server = IpamServer::start_with(&[
        "--first-request-seconds=1",
        "--insecure",
        "--listen=tcp://127.0.0.1:0",
    ]);
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut leases = server.lease_client();
    leases
        .allocate(request("blue", "a"))
        .await
        .expect("allocate");
    let before = server.log().len();
    assert_closed("a silent connection", unix(&server), b"");
    assert_closed("a silent connection on TCP", tcp(server.tcp_address()), b"");
    // Half a preface, and nothing more.
    let mut half = unix(&server);
    half.write_all(&BEGIN[..10]).expect("write");
    assert_closed("half a preface", half, b"");
    let mut idle = unix(&server);
    idle.write_all(BEGIN).expect("write");
    assert_closed("a connection without a request", idle, b"");
    // An answer to a ping that nobody sent, over and over: it talks, and asks for nothing.
    let mut talks = unix(&server);
    talks.write_all(BEGIN).expect("write");
    let ping = b"\0\0\x08\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_closed("a connection that only talks", talks, ping);
    leases
        .allocate(request("blue", "b"))
        .await
        .expect("allocate");
    assert!(
        !server.log()[before..].contains("ERROR"),
        "{}",
        server.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_for_metrics_is_closed() {
    let server = IpamServer::start();
    let silent = tcp(server.metrics_address());
    assert_closed("a silent connection for metrics", silent, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_a_server_waits_says_so_and_recovers() {
    let mut server = IpamServer::start_under_with(
        &["prlimit", "--nofile=64:64"],
        // More than there are files for.
        &["--max-connections=1000"],
    );
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut leases = server.lease_client();
    leases
        .allocate(request("blue", "a"))
        .await
        .expect("allocate");
    let crowd: Vec<_> = (0..80).map(|_| unix(&server)).collect();
    wait_until("the lack is logged", PATIENCE, || {
        server.log().contains("cannot be accepted").then_some(())
    });
    // Those who are connected are served.
    leases
        .allocate(request("blue", "b"))
        .await
        .expect("allocate");
    drop(crowd);
    until("a new connection is accepted", || {
        let mut leases = server.lease_client();
        async move { leases.allocate(request("blue", "c")).await.ok() }
    })
    .await;
    wait_until("the recovery is logged", PATIENCE, || {
        server.log().contains("accepted again").then_some(())
    });
    assert_eq!(server.log().matches("cannot be accepted").count(), 1);
    // It paused: one that spins fails thousands of times a second.
    let failures = server.metric("ipam_accept_failures_total");
    assert!((1.0..1000.0).contains(&failures), "{failures}");
    assert!(server.stop().success());
}
