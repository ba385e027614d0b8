//! A node of a test: a namespace that plays the host, the folders of meta-cni, its calls, and what they leave. Beside it what
//! runs on a node: pods, the agent, a container runtime.

pub(crate) mod agent;
pub(crate) mod call;
mod cri;
pub(crate) mod disk;
mod leftovers;
mod look;
mod networks;
pub(crate) mod outcome;
pub(crate) mod plugin;
pub(crate) mod pod;
pub mod runtime;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::locate;
use crate::host::merge::merge;
use crate::host::netns::Netns;
use crate::host::relay::Relay;
use crate::host::sweep;
use crate::host::wait::wait_until;
use crate::node::call::Call;
use crate::node::outcome::Outcome;
use crate::node::plugin::RecordedCall;
use crate::node::pod::{Pod, PodBuilder};
use crate::servers::kube::ApiServer;
use crate::servers::manifests;

/// The subnets of the default network of [`Node::new`].
pub const DEFAULT_SUBNETS: [&str; 2] = ["10.1.0.0/24", "fd00:1::/64"];

/// A host namespace and a temporary folder, with all that `meta-cni` needs in it. Dropping it removes
/// everything, sandboxes included. Shared between threads by reference.
#[derive(Debug)]
pub struct Node {
    pub(crate) sandboxes: Mutex<Vec<Arc<Netns>>>,
    pub(crate) declared: Mutex<Vec<String>>,
    /// Results of ADD by container and interface: libcni gives them back as `prevResult`.
    pub(crate) results: Mutex<HashMap<(String, String), Value>>,
    relays: Vec<Relay>,
    host: Netns,
    conf: Value,
    delegate_version: &'static str,
    folder: TempDir,
}

impl Node {
    /// A node with the pinned reference plugins and a dual-stack bridge as its default network.
    /// `name` shows in the names of its namespaces.
    ///
    /// # Panics
    /// When namespaces cannot be made, or the plugins are not there.
    pub fn new(name: &str) -> Node {
        Node::with_plugins(name, &locate::pinned_plugins(), "1.1.0")
    }

    /// The same with the plugins of the distribution, which speak CNI 1.0.0.
    ///
    /// # Panics
    /// When namespaces cannot be made, or the plugins are not there.
    pub fn with_debian_plugins(name: &str) -> Node {
        Node::with_plugins(name, &locate::debian_plugins(), "1.0.0")
    }

    fn with_plugins(name: &str, plugins: &Path, delegate_version: &'static str) -> Node {
        let mut node = Node {
            sandboxes: Mutex::default(),
            declared: Mutex::default(),
            results: Mutex::default(),
            relays: Vec::new(),
            host: Netns::new(name),
            conf: Value::Null,
            delegate_version,
            folder: sweep::temporary_folder(),
        };
        for folder in ["bin", "networks", "state", "conf", "cni"] {
            fs::create_dir(node.folder().join(folder)).expect("make a folder of the node");
        }
        for entry in fs::read_dir(plugins).expect("read the folder of plugins") {
            node.install(&entry.expect("read the folder of plugins").path());
        }
        node.install(&locate::test_program("recording-plugin"));
        node.conf = node.default_conf();
        node
    }

    fn default_conf(&self) -> Value {
        json!({
            "cniVersion": "1.1.0",
            "name": "e2e",
            "type": "meta-cni",
            "networksDir": self.folder().join("networks"),
            "stateDir": self.state_dir(),
            "confDir": self.conf_dir(),
            "cniDir": self.cni_dir(),
            "binDir": self.bin_dir(),
            "agentSocket": self.agent_socket(),
            "delegates": [self.bridge("br-default", &DEFAULT_SUBNETS)],
        })
    }

    /// Changes the configuration that this node's calls get, by a JSON merge patch.
    pub fn conf(mut self, patch: Value) -> Node {
        merge(&mut self.conf, &patch);
        self
    }

    /// Lets this node ask its agent ([`crate::Agent`]) instead of `networksDir`, and nobody else.
    pub fn with_agent(self) -> Node {
        self.conf(json!({ "networksDir": null }))
    }

    /// Where the agent of this node listens.
    pub fn agent_socket(&self) -> PathBuf {
        self.folder().join("run").join("agent.sock")
    }

    /// Lets this node ask an API server instead of `networksDir`, with the rights that are shipped
    /// ([`ApiServer::plugin_kubeconfig`]); give another `kubeconfig` by [`Node::conf`] to ask with
    /// those of somebody else.
    ///
    /// # Panics
    /// When the address of the server is taken in the host namespace.
    pub fn with_api(mut self, api: &ApiServer) -> Node {
        self.relays.push(Relay::start(&self.host, api.address()));
        self.conf(json!({ "networksDir": null, "kubeconfig": api.plugin_kubeconfig() }))
    }

    /// The name of this node in an API server: `spec.nodeName` of its pods.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Cuts every connection from this node to an API server that is open.
    pub fn cut_connections(&self) {
        self.relays.iter().for_each(Relay::cut);
    }

    /// The configuration that this node's calls get.
    pub fn configuration(&self) -> &Value {
        &self.conf
    }

    /// The newest CNI version of the reference plugins on this node.
    pub fn delegate_version(&self) -> &'static str {
        self.delegate_version
    }

    /// The namespace that plays the host.
    pub fn host(&self) -> &Netns {
        &self.host
    }

    /// The temporary folder that everything of this node is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The plugins: `binDir` and CNI_PATH.
    pub fn bin_dir(&self) -> PathBuf {
        self.folder().join("bin")
    }

    /// `stateDir`: records and locks.
    pub fn state_dir(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// `confDir`: configurations that NADs and `clusterNetwork` name.
    pub fn conf_dir(&self) -> PathBuf {
        self.folder().join("conf")
    }

    /// `cniDir`: what Multus left.
    pub fn cni_dir(&self) -> PathBuf {
        self.folder().join("cni")
    }

    /// `networksDir`: manifests of pods and NADs.
    pub fn networks_dir(&self) -> PathBuf {
        self.folder().join("networks")
    }

    pub(crate) fn call_log(&self) -> PathBuf {
        self.folder().join("calls.jsonl")
    }

    /// Puts a program into this node's [`Node::bin_dir`], under its own name.
    ///
    /// # Panics
    /// When one of that name is there already.
    pub fn install(&self, program: &Path) {
        let name = program.file_name().expect("a program has a name");
        symlink(program, self.bin_dir().join(name)).expect("link a plugin");
    }

    /// Makes a veth interface in the host namespace that networks such as macvlan lie on. Its other
    /// end is up as well, so that it has a carrier.
    ///
    /// # Panics
    /// When the name is longer than 13 bytes or taken.
    pub fn master(&self, name: &str) {
        let host = &self.host;
        host.sh(&format!("ip link add {name} type veth peer name {name}-p"));
        host.sh(&format!("ip link set {name} up"));
        host.sh(&format!("ip link set {name}-p up"));
        let mut declared = self.declared.lock().expect("no test panicked here");
        declared.extend([name.to_owned(), format!("{name}-p")]);
    }

    /// Removes every interface of the host namespace but `lo` and what was declared by [`Node::master`]: a
    /// machine that starts has its cards only.
    pub(crate) fn unplug(&self) {
        let declared = self.declared.lock().expect("no test panicked here");
        let links = self.host.links().into_iter().filter(|name| name != "lo");
        for name in links.filter(|name| !declared.contains(name)) {
            // The kernel may be taking it away, with the other end of it.
            let _gone_already = self.host.exec(["ip", "link", "delete", &name]);
        }
    }

    /// Writes the NetworkAttachmentDefinition of a network to `networksDir`. A string is taken as it
    /// stands, so that broken configurations can be given.
    pub fn nad(&self, namespace: &str, name: &str, config: Value) {
        let manifest = manifests::nad_manifest(namespace, name, config);
        self.write_manifest("nad", namespace, name, &manifest);
    }

    /// The same with annotations.
    pub fn nad_with(
        &self,
        namespace: &str,
        name: &str,
        annotations: &[(&str, &str)],
        config: Value,
    ) {
        let mut manifest = manifests::nad_manifest(namespace, name, config);
        for (key, value) in annotations {
            manifest["metadata"]["annotations"][*key] = json!(value);
        }
        self.write_manifest("nad", namespace, name, &manifest);
    }

    /// Removes a NetworkAttachmentDefinition again.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove_nad(&self, namespace: &str, name: &str) {
        self.remove_manifest("nad", namespace, name);
    }

    /// Begins a pod: `node.pod("default", "web").networks("blue").create()`.
    pub fn pod(&self, namespace: &str, name: &str) -> PodBuilder<'_> {
        PodBuilder::new(self, namespace, name)
    }

    /// Removes the manifest of a pod: it was deleted. Its sandbox stays.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove_pod(&self, pod: &Pod) {
        self.remove_manifest("pod", &pod.namespace, &pod.name);
    }

    pub(crate) fn write_manifest(&self, kind: &str, namespace: &str, name: &str, object: &Value) {
        let text = process::yaml::write(object).expect("JSON is YAML");
        fs::write(self.manifest(kind, namespace, name), text).expect("write a manifest");
    }

    fn remove_manifest(&self, kind: &str, namespace: &str, name: &str) {
        fs::remove_file(self.manifest(kind, namespace, name)).expect("remove a manifest");
    }

    fn manifest(&self, kind: &str, namespace: &str, name: &str) -> PathBuf {
        self.networks_dir()
            .join(format!("{kind}-{namespace}-{name}.yaml"))
    }

    pub(crate) fn sandbox(&self, name: &str) -> Arc<Netns> {
        let sandbox = Arc::new(Netns::new(name));
        let mut sandboxes = self.sandboxes.lock().expect("no test panicked here");
        sandboxes.push(Arc::clone(&sandbox));
        sandbox
    }

    /// Begins a call of `meta-cni` that is not about a pod, or is to be changed before it runs.
    pub fn call(&self, verb: &str) -> Call<'_> {
        Call::new(self, verb)
    }

    /// ADD, as a runtime does it.
    pub fn add(&self, pod: &Pod) -> Outcome {
        self.call("ADD").pod(pod).run()
    }

    /// DEL, with the result of the last ADD as `prevResult`.
    pub fn del(&self, pod: &Pod) -> Outcome {
        self.call("DEL").pod(pod).run()
    }

    /// CHECK, with the result of the last ADD as `prevResult`.
    pub fn check(&self, pod: &Pod) -> Outcome {
        self.call("CHECK").pod(pod).run()
    }

    /// STATUS.
    pub fn status(&self) -> Outcome {
        self.call("STATUS").run()
    }

    /// VERSION.
    pub fn version(&self) -> Outcome {
        self.call("VERSION").run()
    }

    /// GC with `eth0` of these pods as the valid attachments.
    pub fn gc<'p>(&self, valid: impl IntoIterator<Item = &'p Pod>) -> Outcome {
        let valid: Vec<Value> = valid
            .into_iter()
            .map(|pod| json!({ "containerID": pod.container_id, "ifname": "eth0" }))
            .collect();
        self.call("GC")
            .conf(json!({ "cni.dev/valid-attachments": valid }))
            .run()
    }

    /// The calls of this node's recording plugins so far, in the order in which they started.
    pub fn calls(&self) -> Vec<RecordedCall> {
        plugin::read(&self.call_log())
    }

    /// Waits, for up to ten seconds, until a recording plugin has started a call of this
    /// [`RecordedCall::summary`], for example `ADD net1 red`; the last one.
    ///
    /// # Panics
    /// When none starts, showing those that did.
    pub fn wait_for_call(&self, summary: &str) -> RecordedCall {
        wait_until(
            &format!("the call {summary}"),
            Duration::from_secs(10),
            || {
                let mut calls = self.calls();
                calls.reverse();
                calls.into_iter().find(|call| call.summary() == summary)
            },
        )
    }
}
