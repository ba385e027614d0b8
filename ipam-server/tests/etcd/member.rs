//! One member of etcd at a loopback address of its own.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipam_core::event::{Change, Event};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Append, Group, Position, Store, StoreError};
use ipam_server::store::etcd::{EtcdSettings, EtcdStore, User};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A cluster of one member. Dropping it kills the member and removes its files.
pub(crate) struct Member {
    folder: TempDir,
    /// All members, as `--initial-cluster` has them.
    cluster: String,
    scheme: &'static str,
    ip: Ipv4Addr,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Member {
    /// Starts one with more arguments, and waits until it serves.
    pub(crate) fn start(arguments: &[&str]) -> Member {
        let mut member = Member::new("http", next_address(), arguments);
        member.revive();
        member
    }

    /// Starts one at an address, which serves its clients by TLS.
    pub(crate) fn start_with_tls(ip: Ipv4Addr, arguments: &[&str]) -> Member {
        let mut member = Member::new("https", ip, arguments);
        member.launch();
        member
    }

    /// Starts a cluster, and waits until it serves.
    pub(crate) fn start_cluster(count: usize) -> Vec<Member> {
        // Another member leads soon after one was killed.
        const SOON: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];
        let ips: Vec<_> = (0..count).map(|_| next_address()).collect();
        let peers = ips.iter().map(|ip| format!("{ip}=http://{ip}:2380"));
        let cluster = peers.collect::<Vec<_>>().join(",");
        let members = ips.into_iter().map(|ip| {
            let mut member = Member::new("http", ip, &SOON);
            member.cluster = cluster.clone();
            member.launch();
            member
        });
        let members: Vec<Member> = members.collect();
        members.iter().for_each(Member::wait);
        members
    }

    fn new(scheme: &'static str, ip: Ipv4Addr, arguments: &[&str]) -> Member {
        Member {
            folder: tempfile::tempdir().unwrap(),
            cluster: format!("{ip}=http://{ip}:2380"),
            scheme,
            ip,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            child: None,
        }
    }

    /// Starts it, again after it was killed, and waits until it serves.
    pub(crate) fn revive(&mut self) {
        self.launch();
        self.wait();
    }

    /// Waits until it answers a linearizable read.
    pub(crate) fn wait(&self) {
        wait_for("etcd serves", || {
            let answer = self.try_call("kv/range", &json!({"key": "AA=="}))?;
            answer.get("header").cloned()
        });
    }

    /// Whether it leads its cluster.
    pub(crate) fn leads(&self) -> bool {
        let status = self.try_call("maintenance/status", &json!({}));
        status.is_some_and(|status| status["leader"] == status["header"]["member_id"])
    }

    /// Starts it if it was killed.
    pub(crate) fn launch_if_dead(&mut self) {
        if self.child.is_none() {
            self.launch();
        }
    }

    /// Starts its process.
    fn launch(&mut self) {
        let named = env::var_os("ETCD").map(PathBuf::from);
        let assets = env::var_os("KUBEBUILDER_ASSETS");
        let program = named
            .or_else(|| Some(Path::new(&assets?).join("etcd")))
            .unwrap_or_else(|| "etcd".into());
        let (scheme, ip) = (self.scheme, self.ip);
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .current_dir(self.folder.path())
            .arg("--data-dir=data")
            .arg("--unsafe-no-fsync")
            .arg(format!("--listen-client-urls={scheme}://{ip}:2379"))
            .arg(format!("--advertise-client-urls={scheme}://{ip}:2379"))
            .arg(format!("--listen-peer-urls=http://{ip}:2380"))
            .arg(format!("--initial-advertise-peer-urls=http://{ip}:2380"))
            .arg(format!("--name={ip}"))
            .arg(format!("--initial-cluster={}", self.cluster))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("start etcd: is the package etcd-server installed?"));
    }

    /// Kills it as a loss of power would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it: it seems to hang.
    pub(crate) fn stop(&self) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).unwrap();
        wait_for("every thread is stopped", || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let mut states = threads.map(|thread| {
                let stat = fs::read_to_string(thread.unwrap().path().join("stat"));
                stat.unwrap_or_default().contains(") T ")
            });
            states.all(|is_stopped| is_stopped).then_some(())
        });
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT).unwrap();
    }

    /// A prefix that no other caller has.
    pub(crate) fn settings(&self) -> EtcdSettings {
        settings(std::slice::from_ref(self))
    }

    /// A file beside its data with a password, and the user that it is of.
    pub(crate) fn user(&self, name: &str, password: &str) -> User {
        let password_file: PathBuf = self.folder.path().join(name);
        fs::write(&password_file, password).unwrap();
        User {
            name: name.to_owned(),
            password_file,
        }
    }

    /// Calls it by its JSON gateway: `auth/enable`, for example.
    pub(crate) fn call(&self, path: &str, request: &Value) -> Value {
        let answer = self.try_call(path, request);
        answer.unwrap_or_else(|| panic!("{path}: no answer"))
    }

    /// The same with a token.
    pub(crate) fn call_as(&self, token: &str, path: &str, request: &Value) -> Value {
        let header = format!("Authorization: {token}");
        let answer = self.curl(&["--header", &header], path, request);
        answer.unwrap_or_else(|| panic!("{path}: no answer"))
    }

    /// The value of a key below the prefix.
    pub(crate) fn get(&self, settings: &EtcdSettings, key: &str) -> Option<String> {
        let key = format!("{}{key}", settings.address.prefix);
        let answer = self.call("kv/range", &json!({"key": base64(key.as_bytes())}));
        let value = answer["kvs"][0]["value"].as_str()?;
        String::from_utf8(BASE64.decode(value).unwrap()).ok()
    }

    /// Writes a key below the prefix.
    pub(crate) fn put(&self, settings: &EtcdSettings, key: &str, value: &str) {
        let key = format!("{}{key}", settings.address.prefix);
        let put = json!({"key": base64(key.as_bytes()), "value": base64(value.as_bytes())});
        self.call("kv/put", &put);
    }

    /// The keys that begin so below the prefix.
    pub(crate) fn keys(&self, settings: &EtcdSettings, begin: &str) -> Vec<String> {
        let keys = self.found(settings, begin);
        let key = |kv: &Value| BASE64.decode(kv["key"].as_str().unwrap()).unwrap();
        let keys = keys.iter().map(|kv| String::from_utf8(key(kv)).unwrap());
        keys.collect()
    }

    /// How often each of those keys was written.
    pub(crate) fn versions(&self, settings: &EtcdSettings, begin: &str) -> Vec<u64> {
        let keys = self.found(settings, begin);
        let version = |kv: &Value| kv["version"].as_str().unwrap().parse().unwrap();
        keys.iter().map(version).collect()
    }

    fn found(&self, settings: &EtcdSettings, begin: &str) -> Vec<Value> {
        let mut request = below(settings, begin);
        request["keys_only"] = true.into();
        let answer = self.call("kv/range", &request);
        answer["kvs"].as_array().cloned().unwrap_or_default()
    }

    /// Deletes a key by its whole name.
    pub(crate) fn delete(&self, key: &str) {
        self.call("kv/deleterange", &json!({"key": base64(key.as_bytes())}));
    }

    /// Deletes the keys that begin so below the prefix.
    pub(crate) fn delete_below(&self, settings: &EtcdSettings, begin: &str) {
        self.call("kv/deleterange", &below(settings, begin));
    }

    /// Up to which group the keys of things are written.
    pub(crate) fn applied(&self, settings: &EtcdSettings) -> Option<u64> {
        let applied = self.get(settings, "applied")?;
        let applied: Value = serde_json::from_str(&applied).unwrap();
        applied["position"].as_u64()
    }

    fn try_call(&self, path: &str, request: &Value) -> Option<Value> {
        self.curl(&[], path, request)
    }

    fn curl(&self, arguments: &[&str], path: &str, request: &Value) -> Option<Value> {
        let mut curl = Command::new("curl")
            .args(["--silent", "--max-time", "30", "--data", "@-"])
            .args(arguments)
            .arg(format!("http://{}:2379/v3/{path}", self.ip))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run curl");
        let mut input = curl.stdin.take().unwrap();
        // A member that does not listen is not sent anything.
        let _unsent = input.write_all(request.to_string().as_bytes());
        drop(input);
        let output = curl.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill();
            let _waited_for = child.wait();
        }
    }
}

/// A prefix of a cluster that no other caller has.
pub(crate) fn settings(members: &[Member]) -> EtcdSettings {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let prefix = NEXT.fetch_add(1, Ordering::Relaxed);
    let ips = members.iter().map(|member| member.ip.to_string());
    let ips = ips.collect::<Vec<_>>().join(",");
    EtcdSettings {
        address: format!("etcd://{ips}/test/{prefix}").parse().unwrap(),
        tls: None,
        user: None,
    }
}

/// The range of the keys that begin so.
fn below(settings: &EtcdSettings, begin: &str) -> Value {
    let key = format!("{}{begin}", settings.address.prefix);
    let mut end = key.clone().into_bytes();
    *end.last_mut().unwrap() += 1;
    json!({"key": base64(key.as_bytes()), "range_end": base64(&end)})
}

/// A loopback address that no other member of this process has.
pub(crate) fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., middle, low] = std::process::id().to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, 64 | middle >> 2, low, next)
}

/// Bytes as the JSON gateway has them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Polls until a condition holds.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Opens a store.
pub(crate) fn open(settings: &EtcdSettings) -> EtcdStore {
    EtcdStore::open(settings).unwrap()
}

/// Opens a store of a member that is starting.
pub(crate) fn open_when_it_serves(settings: &EtcdSettings) -> EtcdStore {
    wait_for("etcd serves", || EtcdStore::open(settings).ok())
}

/// Leases `from..=to`, each made by the revision of its number.
pub(crate) fn leases(from: u64, to: u64) -> Group {
    let event = |number: u64| {
        let address = format!(
            "10.{}.{}.{}/8",
            number >> 16,
            (number >> 8) & 255,
            number & 255
        );
        let lease = Lease {
            id: LeaseId(number),
            pool: "blue".into(),
            vrf: "default".into(),
            ipv4: address.parse().ok(),
            ..Lease::default()
        };
        Event {
            revision: number,
            change: Change::lease(None, Some(lease.into())),
            ..Event::default()
        }
    };
    Group {
        events: (from..=to).map(event).collect(),
        ..Group::default()
    }
}

/// Appends where the log ends.
pub(crate) fn append(store: &dyn Store, group: &Group) -> Result<(), StoreError> {
    let at = store.extent()?.position;
    let appended = store.append(at, group)?;
    assert_eq!(appended, Append::Appended(Position(at.0 + 1)));
    Ok(())
}

/// Takes in what others have appended.
pub(crate) fn follow(store: &dyn Store) {
    let is_at_end = || {
        let at = store.extent().unwrap().position;
        store.append(at, &Group::default()).unwrap() == Append::Appended(at)
    };
    while !is_at_end() {}
}

/// The numbers of all leases.
pub(crate) fn numbers(store: &dyn Store) -> Vec<u64> {
    let leases = store.leases(LeaseId(0), usize::MAX).unwrap();
    leases.iter().map(|lease| lease.id.0).collect()
}
