//! A real API server: etcd and kube-apiserver on the loopback address, with RBAC.
//!
//! Tests that only read and write objects share one ([`ApiServer::shared`]); those that stop or pause
//! it start their own ([`ApiServer::start`]). There is no controller manager, scheduler or kubelet: a
//! pod is what a test says it is.

mod access;
mod audit;
mod bound;
mod bulk;
mod objects;
mod processes;
mod token;
mod user;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, OnceLock};
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::host::reaper::Reaper;
use crate::host::sweep;
use crate::host::wait::wait_until;

use processes::Processes;

pub use access::{AGENT, PLUGIN};
pub use user::User;

/// How long a server may take to be ready, with every core of the machine at work.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// An API server with a client that may do anything. Dropping it stops it.
pub struct ApiServer {
    processes: Mutex<Processes>,
    client: Client,
    kubeconfig: PathBuf,
    crd: Once,
    policy_crd: Once,
    plugin: OnceLock<PathBuf>,
    agent: OnceLock<PathBuf>,
    folder: TempDir,
    _reaper: Reaper,
}

impl ApiServer {
    /// The server that all tests of this process share: use namespaces of your own in it, and do not
    /// stop it.
    ///
    /// # Panics
    /// As [`ApiServer::start`].
    pub fn shared() -> &'static ApiServer {
        static SHARED: OnceLock<ApiServer> = OnceLock::new();
        SHARED.get_or_init(ApiServer::start)
    }

    /// Starts a server of its own.
    ///
    /// # Panics
    /// When the programs are not there, or the server is not ready within two minutes; with its log.
    pub fn start() -> ApiServer {
        let folder = sweep::temporary_folder();
        let reaper = Reaper::of_folder(folder.path());
        let processes = Processes::start(folder.path());
        let kubeconfig = folder.path().join("admin.kubeconfig");
        let text = access::kubeconfig(folder.path(), processes.address(), processes::ADMIN_TOKEN);
        fs::write(&kubeconfig, &text).expect("write a kubeconfig");
        let server = ApiServer {
            processes: Mutex::new(processes),
            client: client(&text),
            kubeconfig,
            crd: Once::new(),
            policy_crd: Once::new(),
            plugin: OnceLock::new(),
            agent: OnceLock::new(),
            folder,
            _reaper: reaper,
        };
        server.wait_until_ready();
        server
    }

    /// Where it listens: the same address after [`ApiServer::restart`].
    pub fn address(&self) -> SocketAddr {
        self.processes().address()
    }

    /// A kubeconfig of a user who may do anything (`system:masters`).
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Ends the API server; etcd keeps what it knows.
    pub fn stop(&self) {
        self.processes().stop_apiserver();
    }

    /// Starts the API server again after [`ApiServer::stop`], and waits until it is ready.
    ///
    /// # Panics
    /// When it is not ready within two minutes.
    pub fn restart(&self) {
        self.processes().start_apiserver();
        self.wait_until_ready();
    }

    /// Lets the API server hang: connections are taken, nothing is answered.
    pub fn pause(&self) {
        self.processes().signal_apiserver(Signal::SIGSTOP);
    }

    /// Goes on after [`ApiServer::pause`].
    pub fn resume(&self) {
        self.processes().signal_apiserver(Signal::SIGCONT);
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().expect("no test panicked here")
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ready means: all start-up hooks are done and the namespaces that they make are there.
    fn wait_until_ready(&self) {
        wait_until("a ready API server", START_PATIENCE, || {
            self.processes().assert_alive();
            let ready = self.get_raw("/readyz").is_ok();
            let namespaces = ["default", "kube-system"];
            let is_there = |name| self.get_raw(&format!("/api/v1/namespaces/{name}")).is_ok();
            (ready && namespaces.into_iter().all(is_there)).then_some(())
        });
    }

    fn get_raw(&self, path: &str) -> Result<String, kube::Error> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.expect("a path makes a request");
        block_on(self.client.request_text(request))
    }
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiServer({})", self.folder.path().display())
    }
}

/// Runs a future to its end from a test, which is not async.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// One for the process: the background tasks of clients must live on between calls.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("make a runtime")
    })
}

fn client(kubeconfig: &str) -> Client {
    block_on(async {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("our kubeconfig");
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.expect("our kubeconfig")).expect("a client")
    })
}
