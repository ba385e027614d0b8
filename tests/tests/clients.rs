//! The example clients of ipam.v1, run as a reader would, against a real server.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use e2e::IpamServer;
use e2e::ipam::request;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/clients")
}

/// What `install.sh clients` puts among the tools.
fn installed(path: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let tools = std::env::var_os("E2E_TOOLS_DIR").map_or(tools, PathBuf::from);
    let path = tools.join(path);
    let shown = path.display();
    assert!(
        path.exists(),
        "{shown} is not there: run tests/tools/install.sh clients"
    );
    path
}

/// A client that watches; killed at the end.
struct Client {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(command: &mut Command, server: &IpamServer) -> Client {
        let mut child = command
            .arg(server.socket())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the client");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Client { child, lines }
    }

    /// The next line; the test's own time limit is that of its rung.
    fn line(&mut self) -> String {
        self.lines.next().expect("another line").expect("a line")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().expect("kill the client");
        self.child.wait().expect("wait for the client");
    }
}

/// Lists what is there, then sees what comes and goes.
async fn lists_and_watches(command: &mut Command) {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let mut leases = server.lease_client();
    leases
        .allocate(request("blue", "one"))
        .await
        .expect("allocate");
    let mut client = Client::start(command, &server);
    let there = client.line();
    assert!(
        there.starts_with("THERE l2 10.0.0.1/24 fd00::1/64 "),
        "{there}"
    );
    assert_eq!(client.line(), "UP-TO 2");
    let given = leases
        .allocate(request("blue", "two"))
        .await
        .expect("allocate")
        .into_inner();
    let made = client.line();
    assert!(
        made.starts_with("CREATED l3 10.0.0.2/24 fd00::2/64 "),
        "{made}"
    );
    let release = proto::ipam::v1::ReleaseRequest {
        id: given.lease.expect("a lease").id,
        ..Default::default()
    };
    leases.release(release).await.expect("release");
    let ended = client.line();
    assert!(
        ended.starts_with("RELEASED l3 10.0.0.2/24 fd00::2/64 "),
        "{ended}"
    );
}

#[tokio::test]
async fn the_rust_client_lists_and_watches() {
    lists_and_watches(&mut Command::new(env!("CARGO_BIN_EXE_leases"))).await;
}

#[tokio::test]
async fn the_python_client_lists_and_watches() {
    let python = installed("python-client/bin/python");
    lists_and_watches(Command::new(python).arg(examples().join("python/leases.py"))).await;
}

#[tokio::test]
async fn the_go_client_lists_and_watches() {
    lists_and_watches(&mut Command::new(installed("go-client"))).await;
}
