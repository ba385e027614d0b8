//! What the tests of this rung share: a cluster of one node with its agent, whose pods have three
//! interfaces of two families, all leased from ipam-server.

use std::fs;
use std::path::PathBuf;

use e2e::runtime::{Kubelet, Release, Sandbox};
use e2e::{Agent, ApiServer, IpamServer, Netns, Node, Runtime};
use serde_json::{Value, json};

/// The pools of `examples/pools.yaml`.
const POOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/pools.yaml");

/// The interfaces of every pod here.
pub(crate) const INTERFACES: [&str; 3] = ["eth0", "net1", "net2"];

/// A runtime on a node, and what its meta-cni asks.
pub(crate) struct Scene {
    // Dropped in this order.
    pub(crate) agent: Agent,
    pub(crate) runtime: Runtime,
    pub(crate) ipam: IpamServer,
    pub(crate) api: &'static ApiServer,
    pub(crate) namespace: String,
}

/// A pod of the API server, and its sandbox.
pub(crate) struct RunningPod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) sandbox: Sandbox,
}

impl Scene {
    /// A scene whose name is that of its node and its namespace in the API server.
    pub(crate) fn new(name: &str) -> Scene {
        Scene::on(Node::new(name), Release::Pinned, name)
    }

    /// The same on this node, with another containerd.
    pub(crate) fn on(node: Node, release: Release, namespace: &str) -> Scene {
        Scene::with_agent(node, release, namespace, &[])
    }

    /// The same with more arguments of the agent, which looks for orphans on the runtime's socket.
    pub(crate) fn with_agent(
        node: Node,
        release: Release,
        namespace: &str,
        arguments: &[&str],
    ) -> Scene {
        Scene::made(node, release, namespace, arguments, json!({}))
    }

    /// A scene as [`Scene::new`] makes it, with other keys of the bridge that is the default network.
    pub(crate) fn with_default_bridge(name: &str, keys: Value) -> Scene {
        Scene::made(Node::new(name), Release::Pinned, name, &[], keys)
    }

    fn made(
        node: Node,
        release: Release,
        namespace: &str,
        arguments: &[&str],
        bridge_keys: Value,
    ) -> Scene {
        let (ipam, api) = (IpamServer::start(), ApiServer::shared());
        let made = ipam.ipamctl(&["pool", "create", "--file", POOLS]);
        assert!(made.status.success(), "{made:?}");
        node.master("uplink");
        let node = node.with_api(api).default_network(|node| {
            let mut bridge = node.bridge("br-pods", &[]);
            e2e::merge::merge(&mut bridge, &bridge_keys);
            leased(bridge, "pods")
        });
        node.leases_from(&ipam.address(), json!({ "node": node.name() }));
        let storage = leased(node.bridge("br-storage", &[]), "storage");
        let telemetry = leased(node.macvlan("uplink", &[]), "telemetry");
        api.nad(namespace, "storage", storage);
        api.nad(namespace, "telemetry", telemetry);
        let runtime = Runtime::start(node, release);
        let socket = format!("--cri-socket={}", runtime.kubelet().socket().display());
        let arguments = [&[socket.as_str()], arguments].concat();
        Scene {
            agent: Agent::start_with(runtime.node(), api, &arguments),
            runtime,
            ipam,
            api,
            namespace: namespace.to_owned(),
        }
    }

    /// Takes the power of the node and of the machine that ipam-server is on away.
    pub(crate) fn power_off(&mut self) {
        self.runtime.power_off();
        self.agent.kill9();
        self.ipam.kill9();
        let socket = self.runtime.node().agent_socket();
        fs::remove_file(socket).expect("the socket was in /run");
    }

    /// Asks containerd as a kubelet does.
    pub(crate) fn kubelet(&self) -> &Kubelet {
        self.runtime.kubelet()
    }

    /// Makes a pod in the API server that asks for these networks; gives its UID.
    pub(crate) fn create_pod(&self, name: &str, networks: &str) -> String {
        let annotations = [(e2e::manifests::NETWORKS.to_owned(), networks.to_owned())].into();
        let node = self.runtime.node().name();
        self.api
            .create_pod(&self.namespace, name, &annotations, node)
    }

    /// Makes a pod with [`INTERFACES`], and its sandbox.
    #[track_caller]
    pub(crate) fn run(&self, name: &str) -> RunningPod {
        let uid = self.create_pod(name, "storage,telemetry");
        let sandbox = self.kubelet().run_pod(&self.namespace, name, &uid);
        let sandbox = sandbox.unwrap_or_else(|status| panic!("{status}\n{}", self.runtime.log()));
        RunningPod {
            name: name.to_owned(),
            uid,
            sandbox,
        }
    }

    /// The elements of a pod's network-status.
    pub(crate) fn network_status(&self, pod: &RunningPod) -> Vec<Value> {
        let status = self.api.network_status(&self.namespace, &pod.name);
        status.as_array().expect("a network-status").clone()
    }

    /// All leases, in the JSON form of `ipam.v1`.
    pub(crate) fn leases(&self) -> Vec<Value> {
        let answer = self.ipam.ipamctl_json(&["lease", "list"]);
        answer["leases"].as_array().cloned().unwrap_or_default()
    }

    /// Asserts that two pods reach each other over every interface, in both families.
    #[track_caller]
    pub(crate) fn assert_connected(&self, a: &RunningPod, b: &RunningPod) {
        let (a, b) = (
            self.runtime.netns(&a.sandbox),
            self.runtime.netns(&b.sandbox),
        );
        for ifname in INTERFACES {
            let addresses = b.addresses(ifname);
            assert_eq!(addresses.len(), 2, "{ifname}: {addresses:?}");
            for address in addresses {
                ping_from(&a, ifname, &address);
            }
        }
    }

    /// Deletes a pod, and its sandbox.
    #[track_caller]
    pub(crate) fn delete(&self, pod: &RunningPod) {
        self.kubelet().delete_pod(&pod.sandbox.id);
        self.api.delete_pod(&self.namespace, &pod.name);
    }

    /// Asserts that no sandbox, no lease and nothing else of a pod is left.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        self.runtime.assert_clean();
        assert_eq!(self.leases(), [] as [Value; 0]);
    }
}

/// Over this interface: each is in a network of its own.
#[track_caller]
fn ping_from(netns: &Netns, ifname: &str, address: &str) {
    netns.ping(address);
    let (bare, _) = address.split_once('/').expect("a prefix length");
    let routes = netns.ip(&format!("route get {bare}"));
    assert_eq!(routes[0]["dev"], ifname, "{routes:?}");
}

/// A network whose addresses are leased from a pool.
fn leased(mut network: Value, pool: &str) -> Value {
    network["ipam"] = json!({
        "type": "meta-ipam",
        "pool": pool,
    });
    network
}

/// Holds a network's ADD or DEL until it is released.
pub(crate) struct Hold(PathBuf);

impl Hold {
    /// Makes the network `slow`, which holds this verb.
    pub(crate) fn new(scene: &Scene, verb: &str) -> Hold {
        let node = scene.runtime.node();
        let path = node.folder().join("hold");
        fs::write(&path, "").expect("write a file");
        let record = json!({ "hold": path, "on": [verb], "link": true });
        let slow = node.recording("slow", record);
        scene.api.nad(&scene.namespace, "slow", slow);
        Hold(path)
    }

    pub(crate) fn release(self) {
        fs::remove_file(self.0).expect("remove a file");
    }
}
