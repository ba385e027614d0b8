//! Manifests of pods and of the networks that their annotations name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The annotation that selects networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// The annotation that replaces the default network.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// The annotation that names the networks of a pod.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The annotation of a mirror pod.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";

/// The owners of a pod: of a mirror pod, its node.
pub(crate) fn owners(annotations: &BTreeMap<String, String>, node: &str) -> Value {
    match annotations.contains_key(MIRROR) {
        true => {
            json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": "n-1", "controller": true }])
        }
        false => json!([]),
    }
}

/// The manifest of a pod that runs on `node`.
pub(crate) fn bound_manifest(
    namespace: &str,
    name: &str,
    annotations: &BTreeMap<String, String>,
    node: &str,
) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "annotations": annotations,
            "ownerReferences": owners(annotations, node),
        },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "pause" }] },
    })
}

/// The manifest of a NetworkAttachmentDefinition; a string is taken as it stands.
pub fn nad_manifest(namespace: &str, name: &str, config: Value) -> Value {
    let text = match config {
        Value::String(text) => text,
        object => object.to_string(),
    };
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "config": text },
    })
}
