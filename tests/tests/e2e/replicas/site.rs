//! Members and servers in namespaces that a switch joins, and what can be broken of them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::certificates::{Authority, Identity};
use e2e::{Daemon, IpamServer, Netns, etcd, sweep, wait_until};
use nix::sys::signal::Signal;
use proto::ipam::v1::{GetServerRequest, Lease};
use tempfile::TempDir;

/// How long a member may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MemberKilled,
    MemberStopped,
    MemberCutOff,
    ServerKilled,
    ServerStopped,
    ServerCutOff,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::MemberKilled,
        Kind::MemberStopped,
        Kind::MemberCutOff,
        Kind::ServerKilled,
        Kind::ServerStopped,
        Kind::ServerCutOff,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::MemberKilled => "a member of etcd is killed",
            Kind::MemberStopped => "a member of etcd is stopped",
            Kind::MemberCutOff => "a member of etcd is cut off from the others",
            Kind::ServerKilled => "a server is killed",
            Kind::ServerStopped => "a server is stopped",
            Kind::ServerCutOff => "a server is cut off from etcd",
        }
    }
}

/// A member of etcd.
struct Member {
    netns: Netns,
    number: usize,
    identity: Identity,
    folder: PathBuf,
    // None while it is killed.
    daemon: Option<Daemon>,
}

impl Member {
    fn address(number: usize) -> String {
        format!("10.99.0.{}", number + 1)
    }

    /// Starts its process, with what it has written.
    fn launch(&mut self) {
        let peers: Vec<String> = (0..3)
            .map(|number| format!("m{number}=http://{}:2380", Member::address(number)))
            .collect();
        let own = Member::address(self.number);
        let mut command = Command::new(etcd::program());
        command
            .current_dir(&self.folder)
            .args(["--data-dir=data", "--unsafe-no-fsync"])
            // Another member leads soon after one is lost.
            .args(["--heartbeat-interval=50", "--election-timeout=500"])
            .arg(format!("--name=m{}", self.number))
            .arg(format!("--cert-file={}", self.identity.cert.display()))
            .arg(format!("--key-file={}", self.identity.key.display()))
            .arg(format!("--listen-client-urls=https://{own}:2379"))
            .arg(format!("--advertise-client-urls=https://{own}:2379"))
            .arg(format!("--listen-peer-urls=http://{own}:2380"))
            .arg(format!("--initial-advertise-peer-urls=http://{own}:2380"))
            .arg(format!("--initial-cluster={}", peers.join(",")));
        let log = self.folder.join("log");
        self.daemon = Some(self.netns.run(|| Daemon::start(command, &log)));
    }

    fn signal(&self, signal: Signal) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(signal);
        }
    }
}

/// All of it.
pub(crate) struct Site {
    // Servers first: they are dropped before what they need.
    servers: Vec<(Netns, IpamServer)>,
    members: Vec<Member>,
    switch: Netns,
    _folder: TempDir,
}

impl Site {
    /// Starts everything, and waits until the servers serve.
    pub(crate) fn start() -> Site {
        let folder = sweep::temporary_folder();
        let switch = Netns::new("switch");
        switch.sh("ip link add br0 type bridge");
        switch.sh("ip link set br0 up");
        let authority = Authority::new(folder.path(), "etcd");
        let mut members: Vec<Member> = (0..3)
            .map(|number| {
                let name = format!("m{number}");
                let address = Member::address(number);
                let own = folder.path().join(&name);
                std::fs::create_dir(&own).expect("make a folder");
                Member {
                    netns: join(&switch, &name, &address),
                    number,
                    identity: authority.issue(folder.path(), &name, &address),
                    folder: own,
                    daemon: None,
                }
            })
            .collect();
        members.iter_mut().for_each(Member::launch);
        for member in &members {
            let address = format!("{}:2379", Member::address(member.number));
            wait_until("etcd listens", PATIENCE, || {
                let address = address.parse().expect("an address");
                let limit = Duration::from_secs(1);
                let connect = || std::net::TcpStream::connect_timeout(&address, limit).ok();
                member.netns.run(connect)
            });
        }
        let all: Vec<String> = (0..3).map(Member::address).collect();
        let store = format!("etcd://{}/replicas", all.join(","));
        let ca = format!("--etcd-ca={}", authority.file.display());
        let servers = (0..3).map(|number| {
            let netns = join(
                &switch,
                &format!("s{number}"),
                &format!("10.99.0.{}", 11 + number),
            );
            let server = netns.run(|| IpamServer::start_in_with(&store, &[&ca]));
            (netns, server)
        });
        Site {
            servers: servers.collect(),
            members,
            switch,
            _folder: folder,
        }
    }

    /// The sockets of the servers: files, which no link is needed for.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        self.servers
            .iter()
            .map(|(_, server)| server.socket())
            .collect()
    }

    pub(crate) fn break_one(&mut self, kind: Kind, which: usize) {
        let (netns, server) = &mut self.servers[which];
        let member = &mut self.members[which];
        match kind {
            Kind::MemberKilled => member.daemon = None,
            Kind::MemberStopped => member.signal(Signal::SIGSTOP),
            Kind::MemberCutOff => {
                member.netns.sh("nft add table inet cut");
                for chain in ["input", "output"] {
                    member.netns.sh(&format!(
                        "nft add chain inet cut {chain} {{ type filter hook {chain} priority 0 ; }}"
                    ));
                }
                for rule in ["input ip saddr", "output ip daddr"] {
                    member.netns.sh(&format!(
                        "nft add rule inet cut {rule} 10.99.0.1-10.99.0.3 drop"
                    ));
                }
            }
            Kind::ServerKilled => server.kill9(),
            Kind::ServerStopped => server.signal(Signal::SIGSTOP),
            Kind::ServerCutOff => {
                netns.sh("ip link set eth0 down");
            }
        }
    }

    pub(crate) fn mend(&mut self, kind: Kind, which: usize) {
        let (netns, server) = &mut self.servers[which];
        let member = &mut self.members[which];
        match kind {
            Kind::MemberKilled => member.launch(),
            Kind::MemberStopped => member.signal(Signal::SIGCONT),
            Kind::MemberCutOff => {
                member.netns.sh("nft delete table inet cut");
            }
            Kind::ServerKilled => netns.run(|| server.restart()),
            Kind::ServerStopped => server.signal(Signal::SIGCONT),
            Kind::ServerCutOff => {
                netns.sh("ip link set eth0 up");
            }
        }
    }

    /// What each server lists, all of which are consistent; and the last revision, once nothing changes any more: a server that was
    /// stopped may still do what another one has done.
    pub(crate) async fn leases(&self) -> (Vec<Vec<Lease>>, u64) {
        loop {
            let before = self.revisions().await;
            let mut all = Vec::new();
            for (_, server) in &self.servers {
                all.push(server.leases().await);
                server.assert_consistent().await;
            }
            let after = self.revisions().await;
            if before == after && after.iter().all(|revision| *revision == after[0]) {
                return (all, after[0]);
            }
        }
    }

    async fn revisions(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for (_, server) in &self.servers {
            let asked = server.admin_client().get_server(GetServerRequest {}).await;
            all.push(asked.expect("it answers").into_inner().revision);
        }
        all
    }

    /// Such as `3.4.30`.
    pub(crate) fn etcd_version(&self) -> String {
        let output = self
            .switch
            .run(|| Command::new(etcd::program()).arg("--version").output());
        let text = output.expect("run etcd").stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        let version = text.lines().next().and_then(|line| line.rsplit(' ').next());
        version.expect("etcd says its version").to_owned()
    }
}

/// A namespace with an address at the switch.
fn join(switch: &Netns, name: &str, address: &str) -> Netns {
    let netns = Netns::new(name);
    switch.sh(&format!(
        "ip link add {name} type veth peer name eth0 netns {}",
        netns.name()
    ));
    switch.sh(&format!("ip link set {name} master br0 up"));
    netns.sh(&format!("ip address add {address}/24 dev eth0"));
    netns.sh("ip link set eth0 up");
    netns
}
