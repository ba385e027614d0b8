//! A node for `meta-cni doctor`: its configuration where a runtime reads it, and what plays a part in its trouble.

use std::any::Any;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use e2e::{IpamServer, Netns, Node, Pod, locate};
use serde_json::{Value, json};

/// A node that can be examined.
pub(crate) struct Scene {
    pub(crate) node: Node,
    /// What lives as long as the scene, dropped before the node.
    parts: Vec<Box<dyn Any>>,
}

impl Scene {
    /// A node with a dual-stack bridge as its default network, and a folder as its cluster.
    pub(crate) fn new(name: &str) -> Scene {
        Scene::of(Node::new(name))
    }

    /// The same with a network `default/blue` that pod `default/web` asks for.
    pub(crate) fn with_blue(name: &str, blue: impl FnOnce(&Node) -> Value) -> Scene {
        let scene = Scene::new(name);
        let network = blue(&scene.node);
        scene.node.nad("default", "blue", network);
        scene.node.pod("default", "web").networks("blue").create();
        scene
    }

    /// A node as it is configured, meta-cni and meta-ipam installed.
    pub(crate) fn of(node: Node) -> Scene {
        for program in ["meta-cni", "meta-ipam"] {
            node.install(&locate::executable(program));
        }
        let scene = Scene {
            parts: Vec::new(),
            node,
        };
        fs::create_dir(scene.conf_dir()).expect("make a folder");
        let conf = scene.node.configuration();
        let list = json!({ "cniVersion": "1.1.0", "name": "e2e", "plugins": [conf] });
        scene.write_conf("00-meta-cni.conflist", &list.to_string());
        scene
    }

    /// The folder that a runtime reads.
    pub(crate) fn conf_dir(&self) -> PathBuf {
        self.node.folder().join("net.d")
    }

    /// Writes a file there.
    pub(crate) fn write_conf(&self, name: &str, text: &str) {
        fs::write(self.conf_dir().join(name), text).expect("write a configuration");
    }

    /// Something that lives as long as the scene.
    pub(crate) fn keep(mut self, part: impl Any) -> Scene {
        self.parts.push(Box::new(part));
        self
    }

    /// Runs `meta-cni doctor` in the host namespace of the node, with the node's name unless `more` has one.
    pub(crate) fn doctor(&self, more: &[&str]) -> Output {
        let named = format!("--node={}", self.node.name());
        let is_named = more.iter().any(|word| word.starts_with("--node="));
        let named = Some(named.as_str()).filter(|_| !is_named);
        self.unnamed_doctor(&[more, named.as_slice()].concat())
    }

    /// The same without the node's name.
    pub(crate) fn unnamed_doctor(&self, more: &[&str]) -> Output {
        let more = more.iter().map(ToString::to_string);
        self.node
            .host()
            .exec(self.command().into_iter().chain(more))
    }

    /// The same, run by another command.
    pub(crate) fn doctor_under(&self, command: &[&str]) -> Output {
        let command = command.iter().map(ToString::to_string);
        self.node.host().exec(command.chain(self.command()))
    }

    fn command(&self) -> Vec<String> {
        vec![
            locate::executable("meta-cni").display().to_string(),
            "doctor".to_owned(),
            format!("--conf-dir={}", self.conf_dir().display()),
            format!("--cni-path={}", self.node.bin_dir().display()),
        ]
    }

    /// What it found, as JSON.
    #[track_caller]
    pub(crate) fn report(&self, more: &[&str]) -> Value {
        parsed(&self.doctor(&[more, &["-o", "json"]].concat()))
    }

    /// The causes that it found, in their order.
    #[track_caller]
    pub(crate) fn causes(&self, more: &[&str]) -> Vec<String> {
        let report = self.report(more);
        let findings = report["findings"].as_array().expect("a list");
        let cause = |found: &Value| found["cause"].as_str().expect("a text").to_owned();
        findings.iter().map(cause).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.parts.clear();
    }
}

/// A report that was written as JSON.
#[track_caller]
pub(crate) fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A bridge network that leases from `pools` of a server.
pub(crate) fn leasing(node: &Node, server: &str, pools: &[&str]) -> Value {
    let mut network = node.side_bridge("br-blue", &[]);
    node.leases_from(server, json!({ "timeoutSeconds": 1 }));
    network["ipam"] = json!({ "type": "meta-ipam", "pools": pools });
    network
}

/// The address of a server, as a network names it.
pub(crate) fn address(server: &IpamServer) -> String {
    format!("unix://{}", server.socket().display())
}

/// Makes a pool of these addresses.
#[track_caller]
pub(crate) fn pool(server: &IpamServer, name: &str, ipv4: &str) {
    ipamctl(server, &["pool", "create", name, "--ipv4-cidr", ipv4]);
}

/// Runs `ipamctl` with success.
#[track_caller]
pub(crate) fn ipamctl(server: &IpamServer, arguments: &[&str]) {
    let output = server.ipamctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Attaches a pod and gives it.
#[track_caller]
pub(crate) fn attached(node: &Node, name: &str, networks: &str) -> Pod {
    let pod = node.pod("default", name).networks(networks).create();
    node.add(&pod).ok();
    pod
}

/// Everything below a folder and in a namespace, as it can be compared.
pub(crate) fn snapshot(scene: &Scene, namespaces: &[&Netns]) -> String {
    let find = [
        "find",
        scene.node.folder().to_str().expect("text"),
        "-printf",
        "%p %y %m %s %T@\n",
    ];
    let files = scene.node.host().exec(find).stdout;
    let mut all = String::from_utf8_lossy(&files).into_owned();
    for namespace in namespaces {
        all += &namespace.sh("ip -o link show");
        all += &namespace.sh("ip -o address show");
    }
    all
}
