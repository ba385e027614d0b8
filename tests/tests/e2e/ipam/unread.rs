//! Standard error that nobody reads: no call waits for it.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::dial::unix_channel;
use e2e::ipam::request;
use e2e::{IpamServer, locate, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(60);
/// More lines than a pipe and the memory for lines hold.
const CALLS: usize = 12_000;
/// Calls in flight.
const AT_ONCE: usize = 64;

/// Ends with the test.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _waited_for = self.0.wait();
    }
}

impl Unread {
    fn start(command: &mut Command) -> Unread {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Unread(child.expect("start a program"))
    }

    /// Reads what was written, asks it to end, and reads the rest.
    fn read_and_end(mut self) -> String {
        let pid = Pid::from_raw(self.0.id().cast_signed());
        kill(pid, Signal::SIGTERM).expect("send a signal");
        let mut text = String::new();
        let mut stderr = self.0.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut text).expect("read");
        assert!(self.0.wait().expect("wait").success(), "{text}");
        text
    }
}

/// Makes calls, each of which is refused, and so a line in the log.
async fn refused_calls(channel: Channel) {
    let calls = (0..AT_ONCE).map(|_| {
        let mut leases = LeaseServiceClient::new(channel.clone());
        tokio::spawn(async move {
            for _ in 0..CALLS / AT_ONCE {
                let refused = leases.allocate(request("no-such-pool", "a")).await;
                assert_eq!(
                    refused.expect_err("no such pool").code(),
                    tonic::Code::NotFound
                );
            }
        })
    });
    let all = futures_util::future::join_all(calls.collect::<Vec<_>>());
    let ended = tokio::time::timeout(PATIENCE, all).await;
    for call in ended.expect("no call waits for the log") {
        call.expect("no panic");
    }
}

fn dropped(text: &str) -> bool {
    text.contains("lines of the log were dropped")
}

#[tokio::test(flavor = "multi_thread")]
async fn ipam_server_answers_though_nobody_reads_its_log() {
    let folder = tempfile::tempdir().expect("make a folder");
    let socket = folder.path().join("ipam.sock");
    let program = locate::executable("ipam-server");
    let server = Unread::start(
        Command::new(program)
            .arg(format!("--listen=unix://{}", socket.display()))
            .args(["--store=memory", "--metrics-listen=127.0.0.1:0"])
            .arg("--unix-operator"),
    );
    wait_until("the socket", PATIENCE, || socket.exists().then_some(()));
    refused_calls(unix_channel(&socket)).await;
    let text = server.read_and_end();
    assert!(dropped(&text), "{} bytes", text.len());
    // Written at the end, though the process ended with it.
    assert!(text.contains("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_answers_though_nobody_reads_its_log() {
    let server = IpamServer::start();
    let folder = tempfile::tempdir().expect("make a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("kubeconfig"), crate::ipam::proxy::fixture::NOBODY)
        .expect("write a kubeconfig");
    let program = locate::executable("meta-cnid");
    let agent = Unread::start(
        Command::new(program)
            .args([
                "--node-name=n1",
                "--metrics-listen=127.0.0.1:0",
                "--log-level=debug",
            ])
            .arg(format!("--kubeconfig={}", at("kubeconfig").display()))
            .arg(format!("--socket={}", at("run/agent.sock").display()))
            .arg(format!("--ipam-socket={}", at("run/ipam.sock").display()))
            .arg(format!("--state-dir={}", at("state").display()))
            .arg(format!(
                "--ipam-server=unix://{}",
                server.socket().display()
            )),
    );
    wait_until("the socket", PATIENCE, || {
        at("run/ipam.sock").exists().then_some(())
    });
    refused_calls(unix_channel(&at("run/ipam.sock"))).await;
    assert!(dropped(&agent.read_and_end()));
}
