//! NetworkAttachmentDefinition, the object that names a secondary network: the same group, version and
//! fields as the Network Plumbing Working Group's "Kubernetes Network Custom Resource Definition
//! De-facto Standard", so that the objects of a Multus user stay as they are.

#![expect(
    unreachable_pub,
    reason = "the KubeSchema derive repeats our types inside a function"
)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The fields of a NetworkAttachmentDefinition beside its metadata.
///
/// `spec` may be absent: the network is then a file of the node's `confDir`, as with an empty
/// `spec.config`. That is why the fields lie flat in the object instead of being its `spec`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "k8s.cni.cncf.io",
    version = "v1",
    kind = "NetworkAttachmentDefinition",
    plural = "network-attachment-definitions",
    singular = "network-attachment-definition",
    shortname = "net-attach-def",
    shortname = "nad",
    namespaced,
    no_spec,
    derive = "PartialEq",
    doc = "A network that pods attach to by naming it in the annotation k8s.v1.cni.cncf.io/networks."
)]
pub struct NetworkAttachmentDefinitionFields {
    /// How the network is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<NetworkAttachmentDefinitionSpec>,
}

/// How a network is attached.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkAttachmentDefinitionSpec {
    /// A CNI network configuration or configuration list, as JSON text. Empty or absent: the
    /// configuration is a file of the node that bears this object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self.trim() == '' || (self.trim().startsWith('{') && self.trim().endsWith('}'))")
            .message("spec.config must be empty or one JSON object: { ... }")
    )]
    pub config: Option<String>,
}

impl NetworkAttachmentDefinition {
    /// `spec.config`, empty if it is absent.
    pub fn config(&self) -> &str {
        self.spec
            .spec
            .as_ref()
            .and_then(|spec| spec.config.as_deref())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_read_with_and_without_spec_and_config() {
        for (name, fields, config) in [
            ("full", json!({"spec": {"config": "{}"}}), "{}"),
            ("no config", json!({"spec": {}}), ""),
            ("null config", json!({"spec": {"config": null}}), ""),
            ("null spec", json!({"spec": null}), ""),
            ("no spec", json!({}), ""),
        ] {
            let mut object = json!({
                "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": "blue", "namespace": "default"},
            });
            for (key, value) in fields.as_object().expect("an object") {
                object[key] = value.clone();
            }
            let nad: NetworkAttachmentDefinition = serde_json::from_value(object).expect(name);
            assert_eq!(nad.config(), config, "{name}");
            assert_eq!(nad.metadata.name.as_deref(), Some("blue"), "{name}");
        }
    }
}
