//! Pods of a test: a manifest in the node's folder or an object in an API server, and a sandbox
//! namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::host::netns::Netns;
use crate::node::Node;
use crate::servers::kube::ApiServer;
use crate::servers::manifests::{DEFAULT_NETWORK, MIRROR, NETWORKS, owners};

/// A pod with a sandbox, as the container runtime sees it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// metadata.namespace and K8S_POD_NAMESPACE.
    pub namespace: String,
    /// metadata.name and K8S_POD_NAME.
    pub name: String,
    /// metadata.uid and K8S_POD_UID.
    pub uid: String,
    /// CNI_CONTAINERID and K8S_POD_INFRA_CONTAINER_ID: 64 hexadecimal digits, as containerd makes them.
    pub container_id: String,
    sandbox: Arc<Netns>,
}

impl Pod {
    /// Its sandbox.
    pub fn netns(&self) -> &Netns {
        &self.sandbox
    }

    /// CNI_ARGS as containerd gives them.
    pub fn cni_args(&self) -> String {
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            self.namespace, self.name, self.container_id, self.uid
        )
    }

    /// The first address of an interface of one family, without its prefix length.
    ///
    /// # Panics
    /// When there is none.
    pub fn address(&self, ifname: &str, v6: bool) -> String {
        let addresses = self.sandbox.addresses(ifname);
        let found = addresses
            .iter()
            .find(|address| address.contains(':') == v6)
            .and_then(|address| address.split('/').next());
        found
            .unwrap_or_else(|| panic!("{ifname} of {}: only {addresses:?}", self.name))
            .to_owned()
    }
}

/// Says what a pod is like before it is made, see [`Node::pod`].
#[derive(Debug)]
#[must_use = "a pod is made by `create`"]
pub struct PodBuilder<'n> {
    node: &'n Node,
    namespace: String,
    name: String,
    uid: String,
    annotations: BTreeMap<String, String>,
    manifest: bool,
}

impl<'n> PodBuilder<'n> {
    pub(crate) fn new(node: &'n Node, namespace: &str, name: &str) -> PodBuilder<'n> {
        PodBuilder {
            node,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid(),
            annotations: BTreeMap::new(),
            manifest: true,
        }
    }

    /// Sets an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Makes it the mirror of a static pod, as the kubelet makes one: its node owns it.
    pub fn mirror(self) -> Self {
        self.annotation("kubernetes.io/config.source", "file")
            .annotation(MIRROR, "hash")
    }

    /// Sets `k8s.v1.cni.cncf.io/networks`.
    pub fn networks(self, value: &str) -> Self {
        self.annotation(NETWORKS, value)
    }

    /// Sets `k8s.v1.cni.cncf.io/networks` to a JSON list of selection elements.
    pub fn select(self, elements: &Value) -> Self {
        self.networks(&elements.to_string())
    }

    /// Sets `v1.multus-cni.io/default-network`.
    pub fn default_network(self, value: &str) -> Self {
        self.annotation(DEFAULT_NETWORK, value)
    }

    /// Sets the UID that the runtime names and the manifest holds; random otherwise.
    pub fn uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut self.uid);
        self
    }

    /// Makes the sandbox only: no manifest is written (a pod that is not known, or is made in the
    /// API server by the test).
    pub fn without_manifest(mut self) -> Self {
        self.manifest = false;
        self
    }

    /// Makes the pod in an API server, which gives it its UID, and the sandbox; no manifest is written.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn create_in(self, api: &ApiServer) -> Pod {
        let (node, annotations) = (self.node.name(), &self.annotations);
        let uid = api.create_pod(&self.namespace, &self.name, annotations, node);
        self.uid(&uid).without_manifest().create()
    }

    /// Writes the manifest into the node's `networksDir` and makes the sandbox.
    pub fn create(self) -> Pod {
        if self.manifest {
            self.node
                .write_manifest("pod", &self.namespace, &self.name, &self.manifest());
        }
        Pod {
            container_id: format!("{}{}", uid(), uid()).replace('-', ""),
            sandbox: self.node.sandbox(&self.name),
            namespace: self.namespace,
            name: self.name,
            uid: self.uid,
        }
    }

    fn manifest(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                "uid": self.uid,
                "annotations": self.annotations,
                "ownerReferences": owners(&self.annotations, self.node.name()),
            },
            "spec": { "containers": [{ "name": "main", "image": "pause" }] },
        })
    }
}

/// A random UUID, from the kernel (random(4)).
fn uid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .expect("the kernel makes UUIDs")
        .trim()
        .to_owned()
}
