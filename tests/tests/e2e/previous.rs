//! The previous release and this one on a node at once: what each makes, the other checks and deletes, in every combination of
//! ipam-server, agent, meta-cni and meta-ipam, while pods come and go. ipam-server goes forward only: a store whose form has changed
//! cannot be opened by an older one.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use e2e::{Agent, ApiServer, IpamServer, Node, Pod, locate, wait_until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "previous";
/// Pods that come and go with each combination of ipam-server and agent; each verb is the other release's.
const ROUNDS: usize = 6;

/// Where an executable is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Previous,
    Present,
}

use Release::{Present, Previous};

impl Release {
    fn program(self, name: &str) -> PathBuf {
        match self {
            Previous => locate::previous_executable(name),
            Present => locate::executable(name),
        }
    }

    fn other(self) -> Release {
        match self {
            Previous => Present,
            Present => Previous,
        }
    }
}

/// The releases of ipam-server and agent, one after the other: each differs from the one before by one program.
const STEPS: [(Release, Release); 5] = [
    (Previous, Previous),
    (Previous, Present),
    (Present, Present),
    (Present, Previous),
    (Present, Present),
];

#[test]
fn each_release_serves_checks_and_deletes_what_the_other_made_while_pods_come_and_go() {
    let api = ApiServer::start();
    let mut server = IpamServer::start_program(&Previous.program("ipam-server"));
    for (pool, number) in [("first", 1), ("second", 2)] {
        let ranges = [
            format!("--ipv4-cidr=10.{number}.0.0/16"),
            format!("--ipv4-gateway=10.{number}.0.1"),
            format!("--ipv6-cidr=fd00:{number}::/64"),
            format!("--ipv6-gateway=fd00:{number}::1"),
        ];
        let ranges = ranges.each_ref().map(String::as_str);
        server.ipamctl_json(&[&["pool", "create", pool], &ranges[..]].concat());
    }
    let node = node();
    install_meta_ipam(&node, Previous);
    let passed_on = node.folder().join("run/ipam.sock");
    let more = [
        format!("--ipam-server={}", server.address()),
        format!("--ipam-socket={}", passed_on.display()),
    ];
    // The second network is one that meta-cni does not serve itself: it executes meta-ipam.
    let mut second = leased(&node, "second");
    second["comment"] = json!("a key that the built-in bridge does not know");
    api.nad(NAMESPACE, "second", second);
    let mut agent = Agent::stopped(&node, &api, &more.each_ref().map(String::as_str));
    agent.set_program(&Previous.program("meta-cnid"));
    agent.restart();

    let load = Load::default();
    // The bridge is made by one pod alone: of two that came first at once, release 0.1.0 could let the second one change its hardware
    // address.
    let alone = pod(&node, &api, "alone");
    verb(&node, &alone, "ADD", Previous);
    let mut living = vec![(alone, Previous)];
    thread::scope(|scope| {
        let _ends = load.ends();
        let pods_come = scope.spawn(|| load.run(&node, &api));
        let mut running = STEPS[0];
        for (number, step) in STEPS.into_iter().enumerate() {
            if step.0 != running.0 {
                server.set_program(&step.0.program("ipam-server"));
                assert_eq!(server.stop().code(), Some(0), "{}", server.log());
                server.restart();
            }
            if step.1 != running.1 {
                // The new one takes the socket over while the old one finishes its calls.
                let mut next = agent.successor();
                next.set_program(&step.1.program("meta-cnid"));
                next.restart();
                assert_eq!(agent.stop().code(), Some(0), "{}", agent.log());
                agent = next;
            }
            running = step;
            for release in [Previous, Present] {
                // An update replaces it before or after meta-cni.
                for ipam in [release.other(), release] {
                    install_meta_ipam(&node, ipam);
                    let pod = pod(&node, &api, &format!("stays-{number}-{release:?}-{ipam:?}"));
                    verb(&node, &pod, "ADD", release);
                    living.push((pod, release));
                }
            }
            load.goes_on(&pods_come);
            for (pod, release) in &living {
                verb(&node, pod, "CHECK", release.other());
                verb(&node, pod, "CHECK", *release);
            }
        }
    });
    for (pod, release) in living {
        verb(&node, &pod, "DEL", release.other());
        verb(&node, &pod, "DEL", release);
    }
    node.assert_clean();
    wait_until("no lease is left", PATIENCE, || {
        let listed = server.ipamctl_json(&["lease", "list"]);
        let leases = listed["leases"].as_array();
        leases.is_none_or(Vec::is_empty).then_some(())
    });
}

/// Pods that come and go, each with a verb of the one release after a verb of the other.
#[derive(Default)]
struct Load {
    rounds: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends a load, also when the test fails.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Load {
    fn ends(&self) -> Ends<'_> {
        Ends(self)
    }

    fn run(&self, node: &Node, api: &ApiServer) {
        let mut release = Previous;
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.rounds.load(Ordering::Relaxed);
            let pod = pod(node, api, &format!("goes-{number}"));
            verb(node, &pod, "ADD", release);
            verb(node, &pod, "CHECK", release.other());
            verb(node, &pod, "DEL", release.other());
            verb(node, &pod, "DEL", release);
            api.delete_pod(&pod.namespace, &pod.name);
            release = release.other();
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for more rounds.
    #[track_caller]
    fn goes_on(&self, thread: &ScopedJoinHandle<'_, ()>) {
        let before = self.rounds.load(Ordering::Relaxed);
        wait_until("pods come and go", PATIENCE, || {
            assert!(!thread.is_finished(), "a pod could not come or go");
            let rounds = self.rounds.load(Ordering::Relaxed);
            (rounds >= before + ROUNDS).then_some(())
        });
    }
}

/// A node whose agent passes leases on.
fn node() -> Node {
    let node = Node::new("previous").with_agent();
    let socket = node.folder().join("run/ipam.sock");
    node.leases_from(&format!("unix://{}", socket.display()), json!({}));
    node.default_network(|node| leased(node, "first"))
}

/// Puts a meta-ipam in the place of the other, as an update does.
fn install_meta_ipam(node: &Node, release: Release) {
    let place = node.bin_dir().join("meta-ipam");
    let new = place.with_extension("new");
    fs::copy(release.program("meta-ipam"), &new).expect("copy meta-ipam");
    fs::rename(&new, &place).expect("replace meta-ipam");
}

/// A bridge with an address, and so with a hardware address that stays, whose addresses of both families are leased from the pool of the same name.
fn leased(node: &Node, pool: &str) -> Value {
    let mut network = node.bridge(&format!("br-{pool}"), &[]);
    network["name"] = json!(pool);
    network["isDefaultGateway"] = json!(pool == "first");
    network["ipam"] = json!({ "type": "meta-ipam", "pool": pool });
    network
}

fn pod(node: &Node, api: &ApiServer, name: &str) -> Pod {
    let name = name.to_lowercase();
    node.pod(NAMESPACE, &name).networks("second").create_in(api)
}

#[track_caller]
fn verb(node: &Node, pod: &Pod, verb: &str, release: Release) {
    let program = release.program("meta-cni");
    let call = node.call(verb).pod(pod).program(&program);
    call.run().ok();
}
