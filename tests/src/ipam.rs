//! A real `ipam-server` on a Unix socket, with its store in a temporary folder.

pub mod pages;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{
    AllocateRequest, CheckConsistencyRequest, CreatePoolRequest, GetPoolRequest, Lease,
    ListLeasesRequest, Owner, Pool, Subnet,
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::daemon::first_child;
use crate::dial::unix_channel;
use crate::locate;
use crate::reaper::Reaper;
use crate::sweep;
use crate::wait::wait_until;
pub use pages::Page;

/// How long a start or an end may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Leases of a page of [`IpamServer::leases`].
const PAGE: i32 = 500;

/// A running server. Dropping it kills it and removes its files; it ends with the test process too.
#[derive(Debug)]
pub struct IpamServer {
    folder: TempDir,
    store: PathBuf,
    wrapper: Vec<String>,
    /// What root is on its socket.
    root: Root,
    arguments: Vec<String>,
    child: Option<Child>,
    reaper: Option<Reaper>,
}

/// What root is on the Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// An operator: `--unix-operator`.
    Operator,
    /// The node of this machine only.
    Node,
}

/// What is done first when a server is replaced.
#[derive(Clone, Copy, Debug)]
pub enum Replacing {
    /// The new one is started.
    Start,
    /// The old one is asked to end.
    End,
}

impl IpamServer {
    /// Starts one with a store of its own, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come to serve, with its log.
    #[track_caller]
    pub fn start() -> IpamServer {
        IpamServer::make(None, &[], &[])
    }

    /// Starts one with more arguments, also when it is started again.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_with(arguments: &[impl AsRef<str>]) -> IpamServer {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        IpamServer::make(None, &[], &arguments)
    }

    /// Starts one with more arguments, where root on the socket is the node of this machine only.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_of_node(arguments: &[impl AsRef<str>]) -> IpamServer {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut server = IpamServer::new(None, &[], &arguments);
        server.root = Root::Node;
        server.restart();
        server
    }

    /// Starts one whose store is in this folder.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_on(store: &Path) -> IpamServer {
        IpamServer::make(Some(store), &[], &[])
    }

    /// Starts one under another program, for example `["strace", "-f"]`, that ends with it.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_under(wrapper: &[&str]) -> IpamServer {
        IpamServer::make(None, wrapper, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn start_under_with(wrapper: &[&str], arguments: &[&str]) -> IpamServer {
        IpamServer::make(None, wrapper, arguments)
    }

    /// Starts one whose store is in this folder, which may be damaged or on a full disk.
    ///
    /// # Errors
    /// What it wrote, if it ended instead of serving.
    ///
    /// # Panics
    /// When it neither serves nor ends.
    #[track_caller]
    pub fn try_start_on(store: &Path) -> Result<IpamServer, String> {
        let mut server = IpamServer::new(Some(store), &[], &[]);
        server.try_restart()?;
        Ok(server)
    }

    #[track_caller]
    fn make(store: Option<&Path>, wrapper: &[&str], arguments: &[&str]) -> IpamServer {
        let mut server = IpamServer::new(store, wrapper, arguments);
        server.restart();
        server
    }

    fn new(store: Option<&Path>, wrapper: &[&str], arguments: &[&str]) -> IpamServer {
        let folder = sweep::temporary_folder();
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        IpamServer {
            store: store.map_or_else(|| folder.path().join("store"), Path::to_owned),
            folder,
            wrapper: owned(wrapper),
            root: Root::Operator,
            arguments: owned(arguments),
            child: None,
            reaper: None,
        }
    }

    /// Starts it again on the same store and socket, once it was killed or stopped.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        if let Err(log) = self.try_restart() {
            panic!("ipam-server ended:\n{log}");
        }
    }

    /// As [`IpamServer::restart`], but it may end.
    ///
    /// # Errors
    /// Its log, if it ended instead of serving.
    ///
    /// # Panics
    /// When it neither serves nor ends.
    #[track_caller]
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.launch();
        let ended = self.ready_or_ended();
        if ended.is_err() {
            self.child = None;
            self.reaper = None;
        }
        ended
    }

    /// Starts its process and does not wait until it serves.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.spawn();
    }

    /// Starts a second process on the same store and socket, ends the first one, and waits until the second one serves.
    /// `first`: what is done before the other.
    ///
    /// # Panics
    /// When the first one fails, or the second one does not come to serve.
    #[track_caller]
    pub fn replace(&mut self, first: Replacing) {
        if matches!(first, Replacing::End) {
            self.terminate();
        }
        let mut old = self.child.take().expect("it runs");
        let old_reaper = self.reaper.take();
        self.spawn();
        if matches!(first, Replacing::Start) {
            let pid = Pid::from_raw(pid_of(&old, self.wrapper.is_empty()).cast_signed());
            kill(pid, Signal::SIGTERM).expect("send a signal");
        }
        let status = wait_until("the old ipam-server ends", PATIENCE, || {
            old.try_wait().expect("ask for the state of a child")
        });
        drop(old_reaper);
        assert!(status.success(), "{status}: {}", self.log());
        self.wait_ready();
    }

    fn spawn(&mut self) {
        let _not_there = fs::remove_file(self.ready_file());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("open the log");
        let mut command = self.command(&self.socket(), &self.store);
        command.arg("--ready-file").arg(self.ready_file());
        command.args(&self.arguments);
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("start ipam-server");
        self.reaper = Some(Reaper::of_process(child.id()));
        self.child = Some(child);
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        if let Err(log) = self.ready_or_ended() {
            panic!("ipam-server ended:\n{log}");
        }
    }

    /// Waits until it serves, or returns what it wrote until it ended.
    #[track_caller]
    fn ready_or_ended(&mut self) -> Result<(), String> {
        wait_until("ipam-server serves", PATIENCE, || {
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("ask for the state of a child") {
                return Some(Err(format!("{status}: {}", self.log())));
            }
            self.ready_file().exists().then_some(Ok(()))
        })
    }

    /// An `ipam-server` with this socket and store, under the wrapper; not started.
    pub fn command(&self, socket: &Path, store: &Path) -> Command {
        let program = locate::executable("ipam-server").display().to_string();
        let mut words = self.wrapper.clone();
        words.push(program);
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg(format!("--listen=unix://{}", socket.display()))
            .arg(format!("--store-dir={}", store.display()))
            .arg("--metrics-listen=127.0.0.1:0")
            .stdin(Stdio::null());
        if self.root == Root::Operator {
            command.arg("--unix-operator");
        }
        command
    }

    /// Kills it as a loss of power would, and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("kill ipam-server");
        child.wait().expect("wait for ipam-server");
        self.reaper = None;
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Panics
    /// When it does not run.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks it to end by SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end, or does not run.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        let mut child = self.child.take().expect("it runs");
        let status = wait_until("ipam-server ends", PATIENCE, || {
            child.try_wait().expect("ask for the state of a child")
        });
        self.reaper = None;
        assert!(!self.socket().exists(), "it left its socket");
        status
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        let child = self.child.as_ref().expect("it runs");
        pid_of(child, self.wrapper.is_empty())
    }

    /// Sends it a signal: SIGSTOP and SIGCONT, for example, let it seem to hang and go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(pid_of(child, self.wrapper.is_empty()).cast_signed());
        kill(pid, signal).expect("send a signal");
    }

    /// The value of one of its metrics, see [`crate::pages::metric`].
    ///
    /// # Panics
    /// When it does not answer.
    pub fn metric(&self, series: &str) -> f64 {
        crate::pages::metric(&self.ready_file(), series)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("ipam.sock")
    }

    /// Its socket as an address that configurations take.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The folder of its store.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Its temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged over all of its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Runs `ipamctl` against it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn ipamctl(&self, arguments: &[&str]) -> Output {
        self.ipamctl_command(arguments)
            .output()
            .expect("run ipamctl")
    }

    /// Runs `ipamctl -o json` against it and gives what it wrote.
    ///
    /// # Panics
    /// When it fails, with what it wrote.
    #[track_caller]
    pub fn ipamctl_json(&self, arguments: &[&str]) -> Value {
        let output = self.ipamctl(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    /// An `ipamctl` against it; not started.
    pub fn ipamctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(locate::executable("ipamctl"));
        command
            .arg(format!("--server=unix://{}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// A connection of its own, which dials again when the server was away.
    pub fn channel(&self) -> Channel {
        unix_channel(&self.socket())
    }

    /// A client for leases.
    pub fn lease_client(&self) -> LeaseServiceClient<Channel> {
        LeaseServiceClient::new(self.channel())
    }

    /// A client for pools.
    pub fn pool_client(&self) -> PoolServiceClient<Channel> {
        PoolServiceClient::new(self.channel())
    }

    /// A client for the rest.
    pub fn admin_client(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel())
    }

    /// Makes a pool of these networks; an empty one is left out.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_pool(&self, name: &str, ipv4: &str, ipv6: &str) -> Pool {
        let request = CreatePoolRequest {
            pool: Some(pool(name, ipv4, ipv6)),
            ..CreatePoolRequest::default()
        };
        let answer = self.pool_client().create_pool(request).await;
        answer.expect("create a pool").into_inner()
    }

    /// A pool with its counts.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn pool(&self, name: &str) -> Pool {
        let request = GetPoolRequest {
            name: name.to_owned(),
        };
        let answer = self.pool_client().get_pool(request).await;
        answer.expect("get a pool").into_inner()
    }

    /// All leases.
    ///
    /// # Panics
    /// When the server does not tell.
    pub async fn leases(&self) -> Vec<Lease> {
        let mut client = self.lease_client();
        let mut all = Vec::new();
        let mut request = ListLeasesRequest {
            page_size: PAGE,
            ..ListLeasesRequest::default()
        };
        loop {
            let page = client.list_leases(request.clone()).await;
            let page = page.expect("list leases").into_inner();
            all.extend(page.leases);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Asserts that indexes, counts and leases agree.
    ///
    /// # Panics
    /// When they do not, with what is wrong.
    pub async fn assert_consistent(&self) {
        let answer = self
            .admin_client()
            .check_consistency(CheckConsistencyRequest {})
            .await;
        let problems = answer.expect("check").into_inner().problems;
        assert!(problems.is_empty(), "{problems:#?}");
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for IpamServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let pid = Pid::from_raw(pid_of(child, self.wrapper.is_empty()).cast_signed());
            let _gone_already = kill(pid, Signal::SIGKILL);
            let _waited_for = child.wait();
        }
    }
}

/// A pool of these networks; an empty one is left out.
pub fn pool(name: &str, ipv4: &str, ipv6: &str) -> Pool {
    let subnet = |cidr: &str| {
        (!cidr.is_empty()).then(|| Subnet {
            cidr: cidr.to_owned(),
            ..Subnet::default()
        })
    };
    Pool {
        name: name.to_owned(),
        ipv4: subnet(ipv4),
        ipv6: subnet(ipv6),
        ..Pool::default()
    }
}

/// Asks a pool for a lease of a pod of this name in namespace `default`.
pub fn request(pool: &str, pod: &str) -> AllocateRequest {
    AllocateRequest {
        pools: vec![pool.to_owned()],
        owner: Some(Owner {
            namespace: "default".to_owned(),
            pod: pod.to_owned(),
            network: pool.to_owned(),
            container_id: pod.to_owned(),
            ifname: "net1".to_owned(),
            ..Owner::default()
        }),
        ..AllocateRequest::default()
    }
}

/// The server's process: of the child itself, or of the child of the wrapper.
fn pid_of(child: &Child, bare: bool) -> u32 {
    let wrapped = || first_child(child.id());
    if bare { None } else { wrapped() }.unwrap_or_else(|| child.id())
}
