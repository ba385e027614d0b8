//! Network namespaces of a test: made, entered, looked at, and removed with all that is in them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::host::sweep;

/// Where iproute2 keeps the names of namespaces (ip-netns(8)).
pub const FOLDER: &str = "/run/netns";

/// How long [`Netns::ping`] tries: neighbours must be found first, and IPv6 addresses be checked.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// A named network namespace with its `lo` up. Dropping it kills the processes in it and removes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    is_borrowed: bool,
}

/// A route of a namespace's main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `default`, or an address with its prefix length (a host route has none).
    pub destination: String,
    /// The gateway, if there is one.
    pub gateway: Option<String>,
    /// The interface; empty if the route has none (`unreachable` and its like).
    pub device: String,
    /// The metric, if it is not 0.
    pub metric: Option<u64>,
}

impl Netns {
    /// Makes a namespace named `e2e-<pid>-<count>-<prefix>`.
    ///
    /// Interfaces that appear in it skip IPv6 duplicate address detection: their addresses work at
    /// once, and macvlan and its like do not wait two seconds. A test that wants it writes 1 to
    /// [`Netns::sysctl`] `net/ipv6/conf/default/accept_dad` first.
    ///
    /// # Panics
    /// When `ip netns add` fails: tests with namespaces run as root.
    pub fn new(prefix: &str) -> Netns {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep::once();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{count}-{prefix}", sweep::own_prefix());
        run_ip(&["netns", "add", &name]);
        let netns = Netns::adopt(&name);
        run_ip(&["-n", &netns.name, "link", "set", "lo", "up"]);
        netns.sysctl("net/ipv6/conf/default/accept_dad", "0");
        netns
    }

    /// Takes over a namespace that is there already: dropping it removes it.
    pub fn adopt(name: &str) -> Netns {
        Netns {
            name: name.to_owned(),
            path: Path::new(FOLDER).join(name),
            is_borrowed: false,
        }
    }

    /// Looks into a namespace that somebody else made, at any path: dropping it leaves it alone.
    pub fn borrow(path: &Path) -> Netns {
        Netns {
            name: path.display().to_string(),
            path: path.to_owned(),
            is_borrowed: true,
        }
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it: what a runtime gives as CNI_NETNS.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there (see [`Netns::remove`]).
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Runs `work` on a thread of its own in this namespace. Sockets opened and processes started
    /// there belong to the namespace for good.
    ///
    /// # Panics
    /// When the namespace is gone, or `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let file = File::open(&self.path)
                        .unwrap_or_else(|error| panic!("namespace {}: {error}", self.name));
                    setns(file, CloneFlags::CLONE_NEWNET)
                        .unwrap_or_else(|error| panic!("enter namespace {}: {error}", self.name));
                    work()
                })
                .join()
                .unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        })
    }

    /// Runs a command in this namespace to its end, without input.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Output {
        let words: Vec<_> = command.into_iter().map(|w| w.as_ref().to_owned()).collect();
        self.run(|| {
            Command::new(&words[0])
                .args(&words[1..])
                .stdin(Stdio::null())
                .output()
                .unwrap_or_else(|error| panic!("start {words:?}: {error}"))
        })
    }

    /// Runs a command line (split at white space) in this namespace, and gives its stdout.
    ///
    /// # Panics
    /// When it fails, with its stderr.
    pub fn sh(&self, line: &str) -> String {
        let output = self.exec(line.split_whitespace());
        assert!(
            output.status.success(),
            "`{line}` in {}: {}{}",
            self.name,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes a file below `/proc/sys/`; those of `net/` belong to this namespace.
    ///
    /// # Panics
    /// When the kernel refuses it.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("write {value} to {}: {error}", path.display()));
    }

    /// What `ip -j <line>` prints, for example `ip("-d link show")`: a list.
    ///
    /// # Panics
    /// When it fails or prints no JSON list.
    pub fn ip(&self, line: &str) -> Vec<Value> {
        let text = self.sh(&format!("ip -j {line}"));
        if text.trim().is_empty() {
            return Vec::new();
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("ip -j {line}: {error}: {text}"))
    }

    /// The names of its interfaces, `lo` first, in the order in which the kernel numbered them.
    pub fn links(&self) -> Vec<String> {
        self.ip("link show")
            .iter()
            .map(|link| text(link, "ifname"))
            .collect()
    }

    /// What `ip -j -d link show` says of one interface; `None` if there is none.
    pub fn link(&self, ifname: &str) -> Option<Value> {
        self.ip("-d link show")
            .into_iter()
            .find(|link| link["ifname"] == ifname)
    }

    /// The addresses of an interface as `address/prefix length`, IPv4 first; without IPv6 link-local ones.
    ///
    /// # Panics
    /// When the interface is not there.
    pub fn addresses(&self, ifname: &str) -> Vec<String> {
        self.ip(&format!("address show dev {ifname}"))
            .iter()
            .flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default())
            .filter(|address| address["scope"] != "link")
            .map(|address| format!("{}/{}", text(&address, "local"), address["prefixlen"]))
            .collect()
    }

    /// The routes of the main table, IPv4 first; without those of IPv6 link-local addresses.
    pub fn routes(&self) -> Vec<Route> {
        ["-4 route show", "-6 route show"]
            .iter()
            .flat_map(|line| self.ip(line))
            .filter(|route| route["dst"] != "fe80::/64" && route["dst"] != "ff00::/8")
            .map(|route| Route {
                destination: text(&route, "dst"),
                gateway: route["gateway"].as_str().map(str::to_owned),
                device: text(&route, "dev"),
                metric: route["metric"].as_u64().filter(|metric| *metric != 0),
            })
            .collect()
    }

    /// The default routes as `<gateway> <interface>`, IPv4 first.
    pub fn default_routes(&self) -> Vec<String> {
        self.routes()
            .into_iter()
            .filter(|route| route.destination == "default")
            .map(|route| format!("{} {}", route.gateway.unwrap_or_default(), route.device))
            .collect()
    }

    /// Whether one ping, with one second to answer, comes back.
    pub fn reaches(&self, address: &str) -> bool {
        self.exec(["ping", "-n", "-c1", "-W1", address])
            .status
            .success()
    }

    /// Pings until an answer comes, for up to five seconds. Takes an address, with or without a
    /// prefix length.
    ///
    /// # Panics
    /// When none comes, showing addresses and routes.
    pub fn ping(&self, address: &str) {
        let bare = address.split('/').next().unwrap_or(address);
        bare.parse::<IpAddr>().expect("ping takes an IP address");
        let end = Instant::now() + PING_PATIENCE;
        while !self.reaches(bare) {
            assert!(
                Instant::now() < end,
                "{bare} does not answer {}:\n{}{}",
                self.name,
                self.sh("ip address"),
                self.sh("ip route"),
            );
        }
    }

    /// The processes that run in this namespace (of this process none is among them).
    pub fn processes(&self) -> Vec<u32> {
        if !self.exists() {
            return Vec::new();
        }
        let output = Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output();
        let own = std::process::id();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .filter(|pid| *pid != own)
            .collect()
    }

    /// Kills what runs in the namespace and removes it: what a runtime may have done before DEL.
    /// Twice is as good as once.
    pub fn remove(&self) {
        for pid in self.processes() {
            let _gone_already = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        let _gone_already = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.is_borrowed {
            self.remove();
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn run_ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("`ip` is missing: run tests/tools/install.sh packages");
    assert!(
        output.status.success(),
        "`ip {}`: {} (tests with namespaces run as root)",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim(),
    );
}
