//! Rubbish on the socket, callers that vanish, and servers that get in each other's way.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use e2e::IpamServer;
use e2e::ipam::request;

#[tokio::test]
async fn rubbish_on_the_socket_leaves_everybody_else_served() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let mut client = server.lease_client();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = [&preface[..], &[0xff; 4096]].concat();
    for (number, rubbish) in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 70_000],
        &preface[..9],
        &frame,
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = UnixStream::connect(server.socket()).expect("connect");
        // The server may hang up before it has read all of it.
        let _refused = stream.write_all(rubbish);
        client
            .allocate(request("blue", &format!("pod-{number}")))
            .await
            .expect("allocate");
    }
    assert_eq!(server.leases().await.len(), 4);
}

#[tokio::test]
async fn a_caller_that_vanishes_leaves_nothing_half_done() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    for round in 0..20 {
        let mut children: Vec<_> = (0..4)
            .map(|number| {
                let claim = format!("--claim=c-{round}-{number}");
                let arguments = ["lease", "allocate", "--pool", "blue", &claim];
                let mut command = server.ipamctl_command(&arguments);
                command
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("start ipamctl")
            })
            .collect();
        for child in &mut children {
            child.kill().expect("kill ipamctl");
            child.wait().expect("wait for ipamctl");
        }
    }
    server.assert_consistent().await;
    let mut client = server.lease_client();
    client
        .allocate(request("blue", "after"))
        .await
        .expect("allocate");
}

#[tokio::test]
async fn a_second_server_on_the_same_socket_or_store_is_refused_in_one_line() {
    let server = IpamServer::start();
    let elsewhere = server.folder().join("other");
    let refused = |command: &mut Command| {
        let output = command.output().expect("run ipam-server");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().last().expect("a line").to_owned()
    };
    let socket = refused(&mut server.command(&server.socket(), &elsewhere));
    assert!(socket.contains("another server answers"), "{socket}");
    // Without the time that a rolling restart has.
    let mut second = server.command(&elsewhere.join("s.sock"), server.store());
    let store = refused(second.arg("--shutdown-seconds=0"));
    assert!(store.contains("in use by another process"), "{store}");
    server.create_pool("blue", "10.0.0.0/24", "").await;
}
