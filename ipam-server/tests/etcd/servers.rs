//! The executable over etcd: its flags, several of them at once, one that is killed or stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::ipam::v1 as ipam;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::ledgers::ask;
use crate::member::{Member, wait_for};

/// How long one call may take, and how often it is made.
const CALL_LIMIT: Duration = Duration::from_secs(10);
const CALLS: usize = 200;

/// A server on a socket of its own. Dropping it kills it.
pub(crate) struct Server {
    folder: TempDir,
    store: String,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start(store: &str) -> Server {
        let mut server = Server {
            folder: tempfile::tempdir().unwrap(),
            store: store.to_owned(),
            child: None,
        };
        server.launch();
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn launch(&mut self) {
        let ready = self.path("ready.json");
        let _not_there = std::fs::remove_file(&ready);
        let child = Command::new(env!("CARGO_BIN_EXE_ipam-server"))
            .arg(format!("--store={}", self.store))
            .arg(format!("--listen=unix://{}", self.path("s").display()))
            .arg(format!("--ready-file={}", ready.display()))
            .args(["--metrics-listen=127.0.0.1:0", "--unix-operator"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path("log")).unwrap())
            .spawn();
        self.child = Some(child.unwrap());
        wait_for("it serves", || ready.exists().then_some(()));
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and starts the next one in its place.
    pub(crate) fn roll(&mut self) {
        self.signal(Signal::SIGTERM);
        self.succeed();
    }

    /// Waits until it has finished its calls and ended, and starts the next one in its place.
    pub(crate) fn succeed(&mut self) {
        let mut child = self.child.take().unwrap();
        let ended = wait_for("it ends", || child.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
        self.launch();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    }

    pub(crate) fn channel(&self) -> Channel {
        let socket = self.path("s");
        let dial = move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        };
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector_lazy(tower::service_fn(dial))
    }

    pub(crate) async fn leases(&self) -> Vec<ipam::Lease> {
        let mut request = ipam::ListLeasesRequest::default();
        let mut all = Vec::new();
        loop {
            let mut client = LeaseServiceClient::new(self.channel());
            let page = client.list_leases(request.clone()).await.unwrap();
            let page = page.into_inner();
            all.extend(page.leases);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// Three servers over one store, with a pool `blue` of these IPv4 addresses.
pub(crate) async fn three_servers(member: &Member, ipv4: &str) -> [Server; 3] {
    let store = member.settings().address.to_string();
    let servers = [(); 3].map(|()| Server::start(&store));
    let subnet = |cidr: &str| {
        Some(ipam::Subnet {
            cidr: cidr.to_owned(),
            ..Default::default()
        })
    };
    let pool = ipam::Pool {
        name: "blue".into(),
        ipv4: subnet(ipv4),
        ipv6: subnet("fd00::/64"),
        ..Default::default()
    };
    let create = ipam::CreatePoolRequest {
        pool: Some(pool),
        ..Default::default()
    };
    let mut pools = PoolServiceClient::new(servers[0].channel());
    pools.create_pool(create).await.unwrap();
    servers
}

/// Asks one server, and the others if that one is of no use, as meta-ipam does.
async fn allocate(channels: Vec<Channel>, number: usize) -> Result<ipam::Lease, tonic::Status> {
    let mut last = None;
    for at in (number..).take(CALLS) {
        let mut request = Request::new(ask(number));
        request.set_timeout(CALL_LIMIT);
        let mut client = LeaseServiceClient::new(channels[at % channels.len()].clone());
        let answered = tokio::time::timeout(CALL_LIMIT, client.allocate(request)).await;
        match answered {
            Ok(Ok(answer)) => return Ok(answer.into_inner().lease.unwrap()),
            Ok(Err(status)) if status.code() == Code::ResourceExhausted => return Err(status),
            Ok(Err(status)) => last = Some(status),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(last.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_of_which_one_is_killed_and_one_stopped_lease_a_pool_to_its_last_pair() {
    let member = Member::start(&[]);
    let mut servers = three_servers(&member, "10.0.0.0/21").await;
    let pairs = 2_046;
    let channels: Vec<_> = servers.iter().map(Server::channel).collect();
    let mut calls = JoinSet::new();
    for number in 0..pairs {
        calls.spawn(allocate(channels.clone(), number));
    }
    let mut given = BTreeMap::new();
    while let Some(answer) = calls.join_next().await {
        let lease = answer.unwrap().unwrap();
        given.insert(lease.id.clone(), lease);
        match given.len() {
            300 => servers[1].kill(),
            600 => servers[2].signal(Signal::SIGSTOP),
            900 => servers[1].launch(),
            1_200 => servers[2].signal(Signal::SIGCONT),
            _ => {}
        }
    }
    let late = allocate(channels, pairs).await.unwrap_err();
    assert_eq!(late.code(), Code::ResourceExhausted, "{late}");
    servers[2].signal(Signal::SIGCONT);
    let pair = |lease: &ipam::Lease| (lease.ipv4.clone(), lease.ipv6.clone());
    assert_eq!(
        given.values().map(pair).collect::<BTreeSet<_>>().len(),
        pairs
    );
    for server in &servers {
        let all = server.leases().await.into_iter();
        let all: BTreeMap<_, _> = all.map(|lease| (lease.id.clone(), lease)).collect();
        assert!(all == given, "every server has what was answered");
        let mut admin = AdminServiceClient::new(server.channel());
        let checked = admin
            .check_consistency(ipam::CheckConsistencyRequest {})
            .await;
        assert_eq!(checked.unwrap().into_inner().problems, [""; 0]);
        let asked = admin.get_server(ipam::GetServerRequest {}).await;
        assert_eq!(asked.unwrap().into_inner().store, "etcd");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_says_so_first_and_the_next_one_serves() {
    let member = Member::start(&[]);
    let mut server = Server::start(&member.settings().address.to_string());
    let mut health = HealthClient::new(server.channel());
    let asked = health.watch(HealthCheckRequest::default()).await;
    let mut said = asked.unwrap().into_inner();
    let first = said.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    server.signal(Signal::SIGTERM);
    let second = said.message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    let end = said.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    server.succeed();
    health.check(HealthCheckRequest::default()).await.unwrap();
}
