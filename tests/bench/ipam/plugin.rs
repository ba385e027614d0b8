//! Leases as CNI plugins give them: meta-ipam beside host-local, from exec to exit.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::bench::{Better, Report, Samples};
use e2e::{IpamServer, Netns, locate};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How often each pair is measured.
const ROUNDS: usize = 200;
/// How often host-local is measured at each number of leases.
const HOST_LOCAL_ROUNDS: usize = 20;
const START_ROUNDS: usize = 400;
/// Leases that are there when the two plugins are compared.
const FEW: usize = 10;

/// VERSION beside a program that does nothing.
pub(crate) fn start(report: &mut Report) {
    let (mut noop, mut version) = (Samples::default(), Samples::default());
    for _ in 0..START_ROUNDS {
        noop.push(execute(
            &locate::executable("noop"),
            "VERSION",
            "",
            "",
            &json!({}),
        ));
        version.push(execute(
            &locate::executable("meta-ipam"),
            "VERSION",
            "",
            "",
            &json!({}),
        ));
    }
    report.ratio(
        "ipam_start_over_noop",
        version.over(&noop),
        1.3,
        Better::Lower,
    );
}

/// Both with ten leases, in turns; and host-local with more.
pub(crate) fn beside_host_local(server: &IpamServer, report: &mut Report) {
    let host_local = HostLocal::new();
    let meta = Meta::new(server);
    for number in 0..FEW {
        host_local.run("ADD", &format!("few-{number}"));
        meta.run("ADD", &format!("few-{number}"));
    }
    let (mut theirs, mut ours) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        theirs.push(host_local.run("ADD", "measured"));
        ours.push(meta.run("ADD", "measured"));
        host_local.run("DEL", "measured");
        meta.run("DEL", "measured");
    }
    report.ratio(
        "plugin_add_over_hostlocal_10",
        ours.over(&theirs),
        0.6,
        Better::Lower,
    );
    report.figure("meta-ipam ADD at 10 leases", "ms", &ours);
    report.figure("host-local ADD at 10 leases", "ms", &theirs);
    for number in 0..FEW {
        meta.run("DEL", &format!("few-{number}"));
    }
    for leases in [1_000, 20_000] {
        let host_local = HostLocal::new();
        host_local.pretend(leases);
        let mut samples = Samples::default();
        for _ in 0..HOST_LOCAL_ROUNDS {
            samples.push(host_local.run("ADD", "measured"));
            host_local.run("DEL", "measured");
        }
        report.figure(
            &format!("host-local ADD at {leases} leases"),
            "ms",
            &samples,
        );
    }
}

/// meta-ipam with a million leases beside few, in turns.
pub(crate) fn large_beside_small(large: &IpamServer, small: &IpamServer, report: &mut Report) {
    let (large, small) = (Meta::new(large), Meta::new(small));
    let (mut many, mut few) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        for (meta, samples) in [(&large, &mut many), (&small, &mut few)] {
            samples.push(meta.run("ADD", "measured"));
            meta.run("DEL", "measured");
        }
    }
    report.ratio("plugin_add_1m_over_10", many.over(&few), 1.1, Better::Lower);
    report.figure("meta-ipam ADD at 1,000,000 leases", "ms", &many);
}

struct Meta {
    program: PathBuf,
    conf: Value,
    /// host-local refuses its own namespace; both are given another one.
    sandbox: Netns,
    _state: TempDir,
}

impl Meta {
    fn new(server: &IpamServer) -> Meta {
        let state = tempfile::tempdir().expect("make a folder");
        let ipam = json!({
            "type": "meta-ipam", "pool": "bench", "stateDir": state.path(),
            "server": format!("unix://{}", server.socket().display()),
        });
        Meta {
            program: locate::executable("meta-ipam"),
            conf: json!({ "cniVersion": "1.0.0", "name": "plugin", "type": "bridge", "ipam": ipam }),
            sandbox: Netns::new("bench-ipam"),
            _state: state,
        }
    }

    fn run(&self, verb: &str, container: &str) -> Duration {
        execute(
            &self.program,
            verb,
            container,
            &self.sandbox.path().display().to_string(),
            &self.conf,
        )
    }
}

struct HostLocal {
    program: PathBuf,
    conf: Value,
    sandbox: Netns,
    folder: TempDir,
}

impl HostLocal {
    fn new() -> HostLocal {
        let folder = tempfile::tempdir().expect("make a folder");
        let ranges = json!([[{ "subnet": "10.0.0.0/11" }], [{ "subnet": "fd00::/64" }]]);
        let ipam = json!({ "type": "host-local", "dataDir": folder.path(), "ranges": ranges });
        HostLocal {
            program: locate::pinned_plugins().join("host-local"),
            conf: json!({ "cniVersion": "1.0.0", "name": "plugin", "type": "bridge", "ipam": ipam }),
            sandbox: Netns::new("bench-ipam"),
            folder,
        }
    }

    /// Makes the files that this many leases are, as the plugin writes them.
    fn pretend(&self, leases: u32) {
        let folder = self.folder.path().join("plugin");
        fs::create_dir(&folder).expect("make a folder");
        let (ipv4, ipv6) = (u32::from(Ipv4Addr::new(10, 0, 0, 0)), 0xfd00_u128 << 112);
        for number in 2..leases + 2 {
            let text = format!("loaded-{number}\r\neth0");
            let ipv4 = Ipv4Addr::from(ipv4 + number).to_string();
            let ipv6 = Ipv6Addr::from(ipv6 + u128::from(number)).to_string();
            for address in [ipv4, ipv6] {
                fs::write(folder.join(address), &text).expect("write a lease");
            }
        }
        let last = leases + 1;
        for (set, address) in [
            Ipv4Addr::from(ipv4 + last).to_string(),
            Ipv6Addr::from(ipv6 + u128::from(last)).to_string(),
        ]
        .iter()
        .enumerate()
        {
            let path = folder.join(format!("last_reserved_ip.{set}"));
            fs::write(path, address).expect("write what was given last");
        }
    }

    fn run(&self, verb: &str, container: &str) -> Duration {
        execute(
            &self.program,
            verb,
            container,
            &self.sandbox.path().display().to_string(),
            &self.conf,
        )
    }
}

/// One execution, from start to end.
fn execute(program: &Path, verb: &str, container: &str, netns: &str, conf: &Value) -> Duration {
    let text = conf.to_string();
    let started = Instant::now();
    let mut child = Command::new(program)
        .env_clear()
        .envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a plugin");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that reads nothing may be gone already.
    let _not_read = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("wait for a plugin");
    let took = started.elapsed();
    assert!(output.status.success(), "{verb}: {output:?}");
    took
}
