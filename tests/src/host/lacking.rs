//! What this machine can do, asked by doing it. A test that needs more says so, and is counted: none
//! is skipped in silence.

use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::host::netns::Netns;
use crate::host::{locate, xfs};

/// Features that are programs and not the kernel's.
pub const PROGRAMS: [&str; 1] = ["kubectl"];

/// Whether the machine has `feature`. If not, prints `LACKING <feature>: <test>` past the capture of
/// test output, appends the same line to `target/test-lacking.txt` (another file: `E2E_LACKING_FILE`), and returns `false`; the
/// test then returns. The kernel rung runs it on a kernel that has the feature, see [`tests`].
///
/// Features: the interface kinds `bridge`, `dummy`, `ifb`, `ipvlan`, `macvlan`, `macvtap`, `tap`,
/// `veth`, `vlan`, `vrf`, `vxlan`; `bandwidth` (what the plugin needs), `nft`, `iptables`, `sctp`, `xfs`; and the program `kubectl`.
///
/// # Panics
/// When `feature` is none of these.
#[must_use = "a test that lacks something returns"]
pub fn require(feature: &str) -> bool {
    if has(feature) {
        return true;
    }
    let current = thread::current();
    let line = format!("LACKING {feature}: {}\n", current.name().unwrap_or("?"));
    // Not `eprint!`, which libtest captures.
    let _closed = io::stderr().write_all(line.as_bytes());
    let path = env::var_os("E2E_LACKING_FILE")
        .map_or_else(|| locate::target().join("test-lacking.txt"), PathBuf::from);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    false
}

/// Whether the machine has `feature`; prints and counts nothing.
///
/// # Panics
/// When `feature` is not known.
pub fn has(feature: &str) -> bool {
    static KNOWN: OnceLock<Mutex<HashMap<String, bool>>> = OnceLock::new();
    let mut known = KNOWN
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    *known
        .entry(feature.to_owned())
        .or_insert_with(|| probe(feature))
}

/// The end-to-end tests that begin with [`require`], with the feature that each needs, by their names in libtest.
///
/// # Panics
/// When the sources of the tests cannot be read.
pub fn tests() -> Vec<Needing> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let mut found = Vec::new();
    read_folder(&root, "", &mut found);
    found
}

/// A test that needs a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needing {
    /// Its name in libtest, for example `delegates::links::vlan_connects_pods`.
    pub test: String,
    /// The feature, see [`require`].
    pub feature: String,
}

fn read_folder(folder: &Path, module: &str, found: &mut Vec<Needing>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("read a folder").path())
        .collect();
    paths.sort();
    for path in paths {
        let stem = path
            .file_stem()
            .and_then(OsStr::to_str)
            .expect("a module has a name");
        let module = format!("{module}{stem}::");
        if path.is_dir() {
            read_folder(&path, &module, found);
        } else {
            let code = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            read_code(&code, &module, found);
        }
    }
}

fn read_code(code: &str, module: &str, found: &mut Vec<Needing>) {
    let mut function = "";
    for line in code.lines() {
        if let Some(name) = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next())
        {
            function = name;
        }
        let feature = line
            .split_once("lacking::require(\"")
            .and_then(|(_, rest)| rest.split('"').next());
        if let Some(feature) = feature {
            let (test, feature) = (format!("{module}{function}"), feature.to_owned());
            found.push(Needing { test, feature });
        }
    }
}

fn probe(feature: &str) -> bool {
    let lines: &[&str] = match feature {
        "bridge" | "dummy" | "ifb" => &["ip link add x0 type KIND"],
        "ipvlan" | "macvlan" | "macvtap" => &["ip link add x0 link m0 type KIND"],
        "vlan" => &["ip link add x0 link m0 type vlan id 7"],
        "vrf" => &["ip link add x0 type vrf table 10"],
        "vxlan" => &["ip link add x0 type vxlan id 7 dstport 4789"],
        "tap" => &["ip tuntap add dev x0 mode tap"],
        "veth" => &[],
        "bandwidth" => &[
            "ip link add x0 type ifb",
            "tc qdisc add dev m0 root tbf rate 1mbit burst 32kbit latency 25ms",
            "tc qdisc add dev m0 ingress",
        ],
        "nft" => &["nft add table inet x0"],
        "iptables" => &["iptables -t nat -L -n", "ip6tables -t nat -L -n"],
        "sctp" => return has_sctp(),
        "xfs" => return xfs::can_mount(),
        "kubectl" => return is_installed("kubectl"),
        _ => panic!("no probe for the feature {feature}: add one to lacking.rs"),
    };
    let netns = Netns::new("probe");
    let works = |line: &str| {
        let line = line.replace("KIND", feature);
        netns.exec(line.split_whitespace()).status.success()
    };
    works("ip link add m0 type veth peer name m1") && lines.iter().all(|line| works(line))
}

/// Whether a program is in one of the folders of PATH.
fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_sctp() -> bool {
    let (family, kind) = (AddressFamily::Inet, SockType::Stream);
    let result = socket(family, kind, SockFlag::empty(), SockProtocol::Sctp);
    !matches!(result, Err(Errno::EPROTONOSUPPORT))
}
