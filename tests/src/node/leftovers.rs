//! What is left on a node once everything should be gone.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::host::netns::Netns;
use crate::node::Node;

/// How long the kernel may take to remove the other ends of a removed namespace's interfaces.
pub(crate) const KERNEL_PATIENCE: Duration = Duration::from_secs(5);

/// What stays: the locks of all who deliver releases that wait, notes where networks lease and which stores know the records, the journal, which is bounded, the
/// note where the agent listens, and the time of the last sweep. A folder ends in /, the begin of a name in -.
const STAYING: [&str; 7] = [
    "/releases/lock-",
    "/leasing/",
    "/ipam-servers/",
    "/operations.jsonl",
    "/operations.1.jsonl",
    "/agent",
    "/swept",
];

impl Node {
    /// Everything that deleted pods left, one line each: interfaces of the host and of sandboxes,
    /// leases of host-local, files in `stateDir` and `cniDir`, packet filter rules of portmap,
    /// processes. Not counted: bridges (the plugin keeps them) and what the test declared by
    /// [`Node::master`].
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = self.left_by_pods();
        left.extend(self.host().processes().iter().map(|pid| process(*pid)));
        left
    }

    /// The same without processes: a runtime has some.
    pub(crate) fn left_by_pods(&self) -> Vec<String> {
        let mut left = self.host_links();
        for sandbox in self.sandboxes.lock().expect("no test panicked here").iter() {
            left.extend(sandbox_links(sandbox));
        }
        left.extend(self.leases());
        for folder in [self.state_dir(), self.cni_dir()] {
            let stays = |file: &String| {
                STAYING
                    .iter()
                    .any(|staying| match staying.ends_with(['/', '-']) {
                        true => file.contains(staying),
                        false => file.ends_with(staying),
                    })
            };
            let files = files(&folder).filter(|file| !stays(file));
            left.extend(files.map(|file| format!("file {file}")));
        }
        left.extend(rules(self.host()));
        left
    }

    /// Writes a file below `stateDir` whose time is so long ago, and gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_aged(&self, name: &str, age: Duration) -> PathBuf {
        let path = self.state_dir().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        let file = fs::File::create(&path).expect("write a file");
        let modified = file.set_modified(SystemTime::now() - age);
        modified.expect("set the time of a file");
        path
    }

    /// [`Node::leftovers`]. Once a sandbox was removed, interfaces of the host have up to five seconds to go: the kernel
    /// removes the other ends of a namespace's interfaces in the background.
    pub fn settled_leftovers(&self) -> Vec<String> {
        if self.has_removed_sandbox() {
            let end = Instant::now() + KERNEL_PATIENCE;
            while !self.host_links().is_empty() && Instant::now() < end {
                std::thread::yield_now();
            }
        }
        self.leftovers()
    }

    /// Asserts that there are no [`Node::settled_leftovers`].
    ///
    /// # Panics
    /// When something is left, naming it.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left = self.settled_leftovers();
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    /// The addresses that host-local holds for a network, in the order of their file names.
    pub fn leased(&self, network: &str) -> Vec<String> {
        let folder = self.folder().join("host-local").join(network);
        let mut names: Vec<String> = files(&folder)
            .filter_map(|file| Some(file.rsplit_once('/')?.1.to_owned()))
            .filter(|name| is_lease(name))
            .collect();
        names.sort();
        names
    }

    fn has_removed_sandbox(&self) -> bool {
        let sandboxes = self.sandboxes.lock().expect("no test panicked here");
        sandboxes.iter().any(|sandbox| !sandbox.exists())
    }

    fn host_links(&self) -> Vec<String> {
        let declared = self.declared.lock().expect("no test panicked here");
        self.host()
            .ip("-d link show")
            .iter()
            .filter(|link| link["linkinfo"]["info_kind"] != "bridge")
            .filter_map(|link| link["ifname"].as_str())
            .filter(|name| *name != "lo" && !declared.iter().any(|known| known == name))
            .map(|name| format!("interface {name} of the host"))
            .collect()
    }

    fn leases(&self) -> Vec<String> {
        files(&self.folder().join("host-local"))
            .filter(|file| is_lease(file.rsplit('/').next().unwrap_or_default()))
            .map(|file| format!("lease {file}"))
            .collect()
    }
}

/// host-local keeps its lock and its last address for good.
fn is_lease(name: &str) -> bool {
    name != "lock" && !name.starts_with("last_reserved_ip")
}

fn sandbox_links(sandbox: &Netns) -> Vec<String> {
    if !sandbox.exists() {
        return Vec::new();
    }
    let links = sandbox.links().into_iter().filter(|name| name != "lo");
    links
        .map(|name| format!("interface {name} of {}", sandbox.name()))
        .collect()
}

/// Every file below a folder, by its whole path.
fn files(folder: &Path) -> Box<dyn Iterator<Item = String>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Box::new(std::iter::empty());
    };
    Box::new(entries.flatten().flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            files(&path)
        } else {
            Box::new(std::iter::once(path.display().to_string()))
                as Box<dyn Iterator<Item = String>>
        }
    }))
}

/// Chains that carry a hash of a container, and rules that hold an address. The other chains and
/// rules of the reference plugins are for all containers, and stay.
fn rules(host: &Netns) -> Vec<String> {
    host.sh("nft list ruleset")
        .lines()
        .map(str::trim)
        .filter(|line| is_chain_of_container(line) || names_address(line))
        .map(|line| format!("packet filter: {line}"))
        .collect()
}

/// `chain CNI-<hash> {` (masquerading) and `chain CNI-DN-<hash> {` (portmap).
fn is_chain_of_container(line: &str) -> bool {
    let Some(name) = line.strip_prefix("chain CNI-") else {
        return false;
    };
    let name = name.trim_end_matches(" {");
    let hash = name.strip_prefix("DN-").unwrap_or(name);
    hash.len() >= 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn names_address(line: &str) -> bool {
    line.split_whitespace().any(|word| {
        let socket = word.parse::<SocketAddr>().map(|socket| socket.ip());
        let address = word.parse::<IpAddr>().or(socket);
        address.is_ok_and(|address| !address.is_loopback())
    })
}

fn process(pid: u32) -> String {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("process {pid} {}", words.replace('\0', " "))
}
