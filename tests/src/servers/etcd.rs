//! etcd for servers that keep their store in it: one member at a loopback address of its own, which syncs what it writes.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::host::daemon::Daemon;
use crate::host::sweep;
use crate::host::wait::wait_until;

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where its clients find it, at its address.
const PORT: u16 = 2379;
/// The folder of its data, in its own.
const DATA: &str = "etcd";

/// A running member, the only one of its cluster. Dropping it kills it and removes its files; it ends with the process, too.
#[derive(Debug)]
pub struct Etcd {
    // Dropped in this order.
    _daemon: Daemon,
    folder: TempDir,
    ip: Ipv4Addr,
}

impl Etcd {
    /// Starts one, and waits until it listens.
    ///
    /// # Panics
    /// When it does not, with its log.
    pub fn start() -> Etcd {
        let folder = sweep::temporary_folder();
        let ip = next_address();
        let url = format!("http://{ip}:{PORT}");
        // A Unix socket: a file of this name where it runs.
        let mut command = alone(folder.path(), &url, "unix://peer:0");
        command
            .arg("--quota-backend-bytes=8589934592")
            .arg("--auto-compaction-mode=revision")
            .arg("--auto-compaction-retention=10000");
        let mut daemon = Daemon::start(command, &folder.path().join("log"));
        wait_until("etcd listens", PATIENCE, || {
            assert!(daemon.ended().is_none(), "etcd ended: {}", daemon.log());
            std::net::TcpStream::connect((ip, PORT)).ok()
        });
        Etcd {
            _daemon: daemon,
            folder,
            ip,
        }
    }

    /// Its URL, for clients of its own protocol.
    pub fn url(&self) -> String {
        format!("http://{}:{PORT}", self.ip)
    }

    /// The address of a store in it, as `ipam-server --store` takes it.
    pub fn store(&self) -> String {
        format!("etcd://{}:{PORT}/bench", self.ip)
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }
}

/// A member that is alone in its cluster, with its data in `folder`; not started.
pub(crate) fn alone(folder: &Path, client: &str, peer: &str) -> Command {
    let mut command = Command::new(program());
    command
        .current_dir(folder)
        .arg(format!("--data-dir={DATA}"))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"));
    command
}

/// The program: that of `ETCD`, of `KUBEBUILDER_ASSETS` (the convention of envtest), or of PATH.
pub fn program() -> PathBuf {
    let named = env::var_os("ETCD").map(PathBuf::from);
    let asset = || env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join("etcd"));
    named.or_else(asset).unwrap_or_else(|| "etcd".into())
}

/// A loopback address where nobody listens.
fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., middle, low] = std::process::id().to_be_bytes();
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let ip = Ipv4Addr::new(127, 128 | middle >> 2, low, next);
        if TcpListener::bind((ip, PORT)).is_ok() {
            return ip;
        }
    }
}
