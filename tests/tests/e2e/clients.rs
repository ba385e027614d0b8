//! The example clients of ipam.v1, run as a reader would, against a real server: each on a unix socket and over TLS, with
//! the lines that docs/src/clients.md has.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use e2e::IpamServer;
use e2e::certificates::Authority;
use e2e::ipam::request;
use e2e::locate;
use tempfile::TempDir;

/// Where servers listen, as their certificates have it.
const HOST: &str = "127.0.0.1";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/clients")
}

/// What `install.sh clients` puts among the tools.
fn installed(path: &str) -> PathBuf {
    let path = locate::tools().join(path);
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
    fn start(mut command: Command) -> Client {
        let mut child = command
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

/// A server that wants a certificate over TLS, and the files of a client.
struct OverTls {
    server: IpamServer,
    flags: Vec<String>,
    _folder: TempDir,
}

impl OverTls {
    fn start() -> OverTls {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let authority = Authority::new(folder.path(), "authority");
        let identity = authority.issue(folder.path(), "server", HOST);
        let client = authority.issue_to(folder.path(), "client", "client", &[]);
        let policy = folder.path().join("policy.yaml");
        std::fs::write(&policy, "rules: [{name: client, roles: [reader]}]").expect("write");
        let server = IpamServer::start_with(&[
            format!("--listen=tcp://{HOST}:0"),
            format!("--tls-cert={}", identity.cert.display()),
            format!("--tls-key={}", identity.key.display()),
            format!("--tls-client-ca={}", authority.file.display()),
            format!("--policy={}", policy.display()),
        ]);
        let mut flags = Vec::new();
        for (flag, file) in [
            ("--tls-ca", authority.file),
            ("--tls-cert", client.cert),
            ("--tls-key", client.key),
        ] {
            flags.extend([flag.to_owned(), file.display().to_string()]);
        }
        flags.push(format!("{HOST}:{}", server.tcp_address().port()));
        OverTls {
            server,
            flags,
            _folder: folder,
        }
    }
}

async fn works_on_a_unix_socket(client: fn() -> Command) {
    let server = IpamServer::start();
    let address = [server.socket().display().to_string()];
    works(client, &address, &server).await;
}

async fn works_over_tls(client: fn() -> Command) {
    let scene = OverTls::start();
    works(client, &scene.flags, &scene.server).await;
}

async fn works(client: fn() -> Command, address: &[String], server: &IpamServer) {
    let empty = client().arg("--once").args(address).output();
    let empty = empty.expect("run the client");
    assert!(
        empty.status.success() && empty.stdout.is_empty(),
        "{empty:?}"
    );
    let mut command = client();
    command.args(address);
    lists_and_watches(command, server).await;
    // Fields that a server leaves out: the second family.
    server.create_pool("green", "10.1.0.0/24", "").await;
    let mut leases = server.lease_client();
    let allocated = leases.allocate(request("green", "three")).await;
    allocated.expect("allocate");
    let last = client().arg("--once").args(address).output();
    let last = String::from_utf8(last.expect("run the client").stdout).expect("UTF-8");
    assert!(
        last.ends_with("\nTHERE l6 10.1.0.1/24  default/three\n"),
        "{last}"
    );
}

/// Lists what is there, then sees what comes and goes.
async fn lists_and_watches(command: Command, server: &IpamServer) {
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let mut leases = server.lease_client();
    leases
        .allocate(request("blue", "one"))
        .await
        .expect("allocate");
    let mut client = Client::start(command);
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

fn rust() -> Command {
    Command::new(env!("CARGO_BIN_EXE_leases"))
}

fn python() -> Command {
    let mut command = Command::new(installed("python-client/bin/python"));
    command.arg(examples().join("python/leases.py"));
    command
}

fn go() -> Command {
    Command::new(installed("go-client"))
}

fn node() -> Command {
    let mut command = Command::new("node");
    command
        .arg(examples().join("node/leases.js"))
        .env("NODE_PATH", installed("node-client/node_modules"));
    command
}

fn java() -> Command {
    let built = installed("java-client");
    let classes = built.join("classes").display().to_string();
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(format!("{classes}:{}/lib/*", built.display()))
        .arg("Leases");
    command
}

/// Both tests of each client.
macro_rules! tests_of {
    ($($client:ident)*) => {$(
        mod $client {
            #[tokio::test]
            async fn lists_and_watches_on_a_unix_socket() {
                super::works_on_a_unix_socket(super::$client).await;
            }

            #[tokio::test]
            async fn lists_and_watches_over_tls() {
                super::works_over_tls(super::$client).await;
            }
        }
    )*};
}

tests_of!(rust python go node java);

/// The lines of docs/src/clients.md are lines of the examples.
#[test]
fn the_table_of_the_documentation_is_what_the_examples_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
    let page = std::fs::read_to_string(folder.join("clients.md")).expect("read the page");
    let mut lines = 0;
    for row in page
        .lines()
        .filter(|line| line.contains("](../../examples/"))
    {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, example, socket, tls] = cells[..] else {
            panic!("a row of four cells: {row}");
        };
        let link = example.split(['(', ')']).nth(1).expect("a link");
        let example = std::fs::read_to_string(folder.join(link)).expect("read the example");
        for cell in [socket, tls] {
            let marks = if cell.starts_with("``") { 2 } else { 1 };
            let line = &cell[marks..cell.len() - marks];
            assert!(example.contains(line), "{link} has no {line}");
            lines += 1;
        }
    }
    assert_eq!(lines, 10);
}
