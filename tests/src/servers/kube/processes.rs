//! The two processes of an API server: etcd on a Unix socket, kube-apiserver on a port of the
//! loopback address.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use rcgen::KeyPair;

use crate::host::daemon::Daemon;
use crate::host::locate;
use crate::servers::etcd;
use crate::servers::kube::audit;

/// The token of the user who may do anything.
pub(super) const ADMIN_TOKEN: &str = "e2e-admin";

/// Who issues the tokens of ServiceAccounts, and whom they are for.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";

/// The file of the key that those tokens are signed with.
pub(super) const SIGNING_KEY: &str = "service-account.key";

/// etcd takes a Unix socket as `unix://host:port`, which is a file of that name where it runs.
const ETCD: &str = "unix://etcd:0";
const ETCD_PEER: &str = "unix://etcd-peer:0";

/// How often another port is tried: one that was free may be taken before the server has it.
const PORT_TRIES: usize = 5;

pub(super) struct Processes {
    // Dropped in this order: the API server before what it needs.
    apiserver: Daemon,
    _etcd: Daemon,
    address: SocketAddr,
    folder: PathBuf,
}

impl Processes {
    pub(super) fn start(folder: &Path) -> Processes {
        write_credentials(folder);
        let etcd = start_etcd(folder);
        let mut tries = 1..=PORT_TRIES;
        loop {
            let address = free_address();
            let mut apiserver = start_apiserver(folder, address);
            if comes_up(&mut apiserver, address) {
                return Processes {
                    apiserver,
                    _etcd: etcd,
                    address,
                    folder: folder.to_owned(),
                };
            }
            let taken = apiserver.log().contains("address already in use");
            assert!(
                taken && tries.next().is_some(),
                "kube-apiserver ended: {}\netcd: {}",
                apiserver.log(),
                etcd.log(),
            );
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn stop_apiserver(&mut self) {
        self.apiserver.stop(Signal::SIGKILL);
    }

    pub(super) fn start_apiserver(&mut self) {
        self.apiserver = start_apiserver(&self.folder, self.address);
    }

    pub(super) fn signal_apiserver(&self, signal: Signal) {
        self.apiserver.signal(signal);
    }

    pub(super) fn assert_alive(&mut self) {
        if let Some(status) = self.apiserver.ended() {
            panic!("kube-apiserver ended, {status}: {}", self.apiserver.log());
        }
    }
}

fn start_etcd(folder: &Path) -> Daemon {
    let mut etcd = etcd::alone(folder, ETCD, ETCD_PEER);
    etcd.arg("--unsafe-no-fsync");
    Daemon::start(etcd, &folder.join("etcd.log"))
}

fn start_apiserver(folder: &Path, address: SocketAddr) -> Daemon {
    let program = asset("kube-apiserver").unwrap_or_else(|| locate::tools().join("kube-apiserver"));
    assert!(
        program.is_file(),
        "{} is not there: run `tests/tools/install.sh apiserver`, or set KUBEBUILDER_ASSETS or E2E_TOOLS_DIR",
        program.display(),
    );
    let mut apiserver = Command::new(program);
    apiserver
        .current_dir(folder)
        .arg(format!("--etcd-servers={ETCD}"))
        .arg("--cert-dir=certificates")
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--advertise-address={}", address.ip()))
        .arg(format!("--secure-port={}", address.port()))
        .arg("--service-cluster-ip-range=10.0.0.0/24")
        .arg("--authorization-mode=RBAC")
        .arg("--token-auth-file=tokens.csv")
        .arg(format!("--service-account-issuer={ISSUER}"))
        .arg(format!("--service-account-signing-key-file={SIGNING_KEY}"))
        .arg("--service-account-key-file=service-account.pub")
        // It would ask for the ServiceAccount that a controller makes in every namespace.
        .arg("--disable-admission-plugins=ServiceAccount")
        .arg(format!("--audit-policy-file={}", audit::POLICY_FILE))
        .arg(format!("--audit-log-path={}", audit::LOG_FILE));
    Daemon::start(apiserver, &folder.join("kube-apiserver.log"))
}

/// Waits until it listens: `false` if it ended instead.
fn comes_up(apiserver: &mut Daemon, address: SocketAddr) -> bool {
    crate::host::wait::wait_until("kube-apiserver", super::START_PATIENCE, || {
        if apiserver.ended().is_some() {
            return Some(false);
        }
        std::net::TcpStream::connect(address).ok().map(|_| true)
    })
}

fn write_credentials(folder: &Path) {
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("write a file of the API server");
    };
    let key = KeyPair::generate().expect("make a key");
    write(SIGNING_KEY, key.serialize_pem());
    write("service-account.pub", key.public_key_pem());
    let admin = format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n");
    write("tokens.csv", admin);
    write(audit::POLICY_FILE, audit::POLICY.to_owned());
}

/// A program of `KUBEBUILDER_ASSETS`, the convention of envtest.
fn asset(name: &str) -> Option<PathBuf> {
    env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name))
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("find a free port")
}
