//! A meta-cnid that is there for leases only.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use e2e::{Daemon, IpamServer, locate, wait_until};
use nix::sys::signal::Signal;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::ipam::meta_ipam::MetaIpam;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An API server that is not there.
pub(crate) const NOBODY: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}],
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}"#;

/// A running meta-cnid. Dropping it kills it and removes its files.
pub(crate) struct Proxy {
    daemon: Option<Daemon>,
    arguments: Vec<String>,
    folder: TempDir,
}

impl Proxy {
    /// Starts one before a server, and waits until its socket is there.
    #[track_caller]
    pub(crate) fn start(server: &IpamServer) -> Proxy {
        let socket = server.socket();
        Proxy::start_with(&[format!("--ipam-server=unix://{}", socket.display())])
    }

    /// The same with these arguments.
    #[track_caller]
    pub(crate) fn start_with(more: &[String]) -> Proxy {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("kubeconfig"), NOBODY).expect("write a kubeconfig");
        let mut arguments = vec![
            "--node-name=n1".to_owned(),
            format!("--kubeconfig={}", at("kubeconfig")),
            format!("--socket={}", at("run/agent.sock")),
            format!("--ipam-socket={}", at("run/ipam.sock")),
            format!("--state-dir={}", at("state")),
            "--metrics-listen=127.0.0.1:0".to_owned(),
            "--log-level=debug".to_owned(),
        ];
        arguments.extend_from_slice(more);
        let mut proxy = Proxy {
            daemon: None,
            arguments,
            folder,
        };
        proxy.daemon = Some(proxy.launch());
        proxy
    }

    /// Starts a process and waits until it has the socket.
    #[track_caller]
    fn launch(&self) -> Daemon {
        let inode = || fs::metadata(self.socket()).map(|found| found.ino()).ok();
        let before = inode();
        let mut command = Command::new(locate::executable("meta-cnid"));
        command.args(&self.arguments);
        let mut daemon = Daemon::start(command, &self.log_file());
        wait_until("meta-cnid has its socket", PATIENCE, || {
            if let Some(status) = daemon.ended() {
                panic!("meta-cnid ended with {status}:\n{}", daemon.log());
            }
            (inode().is_some() && inode() != before).then_some(())
        });
        daemon
    }

    /// Ends it by a signal and starts it again.
    #[track_caller]
    pub(crate) fn restart(&mut self, signal: Signal) {
        self.stop(signal);
        self.daemon = Some(self.launch());
    }

    /// Starts another one, and ends this one once the other has taken its place.
    #[track_caller]
    pub(crate) fn replace(&mut self) {
        let next = self.launch();
        let status = self.stop(Signal::SIGTERM);
        assert!(status.success(), "{status}: {}", self.log());
        assert!(self.socket().exists(), "the socket is the other one's");
        self.daemon = Some(next);
    }

    /// Waits until it has ended by itself, or by a signal that it was sent before.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("it runs");
        wait_until("meta-cnid ends", PATIENCE, || daemon.ended())
    }

    /// Ends it by a signal.
    pub(crate) fn stop(&mut self, signal: Signal) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.stop(signal)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.daemon.as_ref().expect("it runs").signal(signal);
    }

    /// Where leases are asked for.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("run/ipam.sock")
    }

    /// Its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What all of its processes have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until these words were logged so often.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str, times: usize) {
        wait_until(words, PATIENCE, || {
            (self.log().matches(words).count() >= times).then_some(())
        });
    }

    /// A client for leases.
    pub(crate) fn lease_client(&self) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(e2e::dial::unix_channel(&self.socket()))
    }

    /// The plugin, which keeps its releases where meta-cnid looks for them.
    pub(crate) fn meta_ipam(&self) -> MetaIpam {
        MetaIpam::of(&self.socket(), self.folder()).within(30)
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }
}

/// Asks until there is an answer that is wanted.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let looks = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looks).await;
    found.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
