//! The real ipamctl against a real service over the memory store, on a Unix socket in a folder of the test's own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipam_server::access::Grant;
use ipam_server::access::operations::Role;
use ipam_server::clock::Clock;
use ipam_server::ledger::{Ledger, Limits};
use ipam_server::service::Service;
use ipam_server::store::memory::MemoryStore;
use jiff::Timestamp;
use proto::ipam::v1::admin_service_server::AdminServiceServer;
use proto::ipam::v1::lease_service_server::LeaseServiceServer;
use proto::ipam::v1::pool_service_server::PoolServiceServer;
use proto::ipam::v1::reservation_service_server::ReservationServiceServer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::InterceptorLayer;
use tonic::{Request, Status};

/// A service, and the program that asks it.
pub(crate) struct Bench {
    pub(crate) clock: Arc<TestClock>,
    folder: TempDir,
    // The service ends with its threads.
    _runtime: Runtime,
    stopping: watch::Sender<bool>,
}

/// The time of the service: it begins with 2026-01-01T00:00:00Z and goes on when a test says so.
pub(crate) struct TestClock(Mutex<Timestamp>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().expect("not poisoned") += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::with_limits(Limits::default())
    }

    /// With a history that keeps so many changes.
    pub(crate) fn with_history(events: u64) -> Bench {
        Bench::with_limits(Limits {
            history_events: events,
            ..Limits::default()
        })
    }

    fn with_limits(limits: Limits) -> Bench {
        let begin = "2026-01-01T00:00:00Z".parse().expect("a time");
        let clock = Arc::new(TestClock(Mutex::new(begin)));
        let store = Arc::new(MemoryStore::default());
        let ledger = Ledger::start(store, clock.clone(), limits, None);
        let (stopping, stops) = watch::channel(false);
        let service = Service::new(ledger.expect("an empty store"), stops);
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("threads");
        let entered = runtime.enter();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let server = tonic::transport::Server::builder()
            .layer(InterceptorLayer::new(as_operator))
            .add_service(PoolServiceServer::new(service.clone()))
            .add_service(LeaseServiceServer::new(service.clone()))
            .add_service(ReservationServiceServer::new(service.clone()))
            .add_service(AdminServiceServer::new(service))
            .serve_with_incoming(UnixListenerStream::new(listener));
        runtime.spawn(server);
        drop(entered);
        Bench {
            clock,
            folder,
            _runtime: runtime,
            stopping,
        }
    }

    /// With the pool blue and one lease of default/web-0.
    pub(crate) fn with_lease() -> Bench {
        let bench = Bench::new();
        bench.done("pool create blue --ipv4-cidr 10.20.0.0/24 --ipv6-cidr fd00:20::/64");
        bench.done("lease allocate --pool blue --pod default/web-0");
        bench
    }

    /// Lets the service end its streams, as it does before it stops.
    pub(crate) fn end_streams(&self) {
        self.stopping.send_replace(true);
    }

    /// Makes the pool wide with so many leases, of the claims c0, c1 and so on.
    pub(crate) fn import_leases(&self, count: u32) {
        self.done("pool create wide --vrf wide --ipv4 10.20.0.0/16");
        let lease = |number: u32| {
            let ipv4 = format!("10.20.{}.{}/16", 1 + number / 200, 1 + number % 200);
            let owner = json!({ "claim": format!("c{number}") });
            json!({ "lease": { "pool": "wide", "ipv4": ipv4, "owner": owner } }).to_string() + "\n"
        };
        let lines: String = (0..count).map(lease).collect();
        self.done(&format!("import {}", self.file("leases.jsonl", &lines)));
    }

    /// The ids of all leases, the oldest first.
    pub(crate) fn leases(&self) -> Vec<String> {
        let all = self.json("lease list");
        let all = all["leases"].as_array().cloned().unwrap_or_default();
        let id = |lease: &Value| lease["id"].as_str().expect("a lease has an id").to_owned();
        all.iter().map(id).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    /// The address of the service.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path(SOCKET).display())
    }

    /// An ipamctl that may use colours; not started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipamctl"));
        command
            .args(words)
            .env("IPAM_SERVER", self.address())
            .env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        self.run_with(line, "", &[])
    }

    pub(crate) fn run_with(&self, line: &str, input: &str, variables: &[(&str, &str)]) -> Done {
        let server = self.address();
        let variables = [&[("IPAM_SERVER", server.as_str())], variables].concat();
        run(line, input, &variables)
    }

    /// Runs a command that must succeed; returns its stdout.
    pub(crate) fn done(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(0), "{line}: {done:?}");
        done.out
    }

    /// Runs a command that must succeed with `-o json`; returns what it writes.
    pub(crate) fn json(&self, line: &str) -> Value {
        json(&self.done(&format!("{line} -o json")))
    }

    /// Runs a command that must fail with a code and one line.
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(code), "{line}: {done:?}");
        done.err
    }
}

const SOCKET: &str = "ipam.sock";

/// Every caller is an operator, as root is on the socket of one machine.
fn as_operator(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Grant {
        actor: "uid:0".into(),
        role: Some(Role::Operator),
        node: None,
        is_bounded: false,
    });
    Ok(request)
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// ipamctl with words, stdin and variables.
pub(crate) fn run(line: &str, input: &str, variables: &[(&str, &str)]) -> Done {
    let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_ipamctl")))
        .args(line.split_whitespace())
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let ended = child.wait_with_output().expect("ended");
    Done {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).expect("UTF-8"),
        err: String::from_utf8(ended.stderr).expect("UTF-8"),
    }
}
