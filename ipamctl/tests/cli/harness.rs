//! The real ipamctl against a server of the test, over a unix socket in a folder of its own.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proto::ipam::v1::admin_service_server::AdminServiceServer;
use proto::ipam::v1::lease_service_server::LeaseServiceServer;
use proto::ipam::v1::pool_service_server::PoolServiceServer;
use proto::ipam::v1::reservation_service_server::ReservationServiceServer;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;

use crate::fake::Fake;

/// A server, and the program that asks it.
pub(crate) struct Bench {
    pub(crate) fake: Fake,
    folder: TempDir,
    _runtime: Runtime,
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
        let folder = tempfile::tempdir().expect("a folder");
        let fake = Fake::default();
        let runtime = Runtime::new().expect("threads");
        let _entered = runtime.enter();
        let listener = UnixListener::bind(folder.path().join("ipam.sock")).expect("a socket");
        let server = tonic::transport::Server::builder()
            .add_service(PoolServiceServer::new(fake.clone()))
            .add_service(LeaseServiceServer::new(fake.clone()))
            .add_service(ReservationServiceServer::new(fake.clone()))
            .add_service(AdminServiceServer::new(fake.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        runtime.spawn(server);
        drop(_entered);
        Bench {
            fake,
            folder,
            _runtime: runtime,
        }
    }

    /// With the pool blue and one lease of default/web-0.
    pub(crate) fn with_lease() -> Bench {
        let bench = Bench::new();
        bench.done("pool create blue --ipv4-cidr 10.20.0.0/24 --ipv6-cidr fd00:20::/64");
        bench.done("lease allocate --pool blue --pod default/web-0");
        bench
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

    /// An ipamctl that may use colours; not started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipamctl"));
        let server = format!("unix://{}", self.path("ipam.sock").display());
        command
            .args(words)
            .env("IPAM_SERVER", server)
            .env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        self.run_with(line, "", &[])
    }

    pub(crate) fn run_with(&self, line: &str, input: &str, variables: &[(&str, &str)]) -> Done {
        let server = format!("unix://{}", self.path("ipam.sock").display());
        run(
            line,
            input,
            &[&[("IPAM_SERVER", server.as_str())], variables].concat(),
        )
    }

    /// Runs a command that must succeed, and gives its stdout.
    pub(crate) fn done(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(0), "{line}: {done:?}");
        done.out
    }

    /// Runs a command that must fail with a code and one line.
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(code), "{line}: {done:?}");
        done.err
    }
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
