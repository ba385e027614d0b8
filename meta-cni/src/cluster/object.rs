//! Pods and NetworkAttachmentDefinitions as Kubernetes writes them, reduced to what this program asks
//! of them: everything else in the text is skipped, not decoded. Text in, values out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ClusterError, Nad, NadName, Pod, PodRef, Policy};

/// The annotation that names the device plugin resource of a network.
const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// The annotation that lists the interfaces of a pod.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// `metadata` of any object. The namespace `default` is meant where none is written, as kubectl does.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "ownerReferences")]
    owners: Option<Vec<Owner>>,
}

/// An element of `metadata.ownerReferences`.
#[derive(Debug, Deserialize)]
struct Owner {
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// Annotations of a static pod, with its UID. The kubelet writes them on the mirror pod, which its node owns
/// (kubernetes, pkg/kubelet/pod/mirror_client.go); anybody may write them, and the owner, on another pod.
pub const STATIC_POD: [&str; 2] = ["kubernetes.io/config.source", "kubernetes.io/config.hash"];

/// The annotation that makes a pod a mirror: its value is that of `config.hash`. The kubelet runs no pod that has it, so that
/// whoever writes it has no pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The annotations of a pod that count, by its owners (API version and kind).
pub fn credible<'o>(
    mut annotations: BTreeMap<String, String>,
    owners: impl IntoIterator<Item = (&'o str, &'o str)>,
) -> BTreeMap<String, String> {
    let mirror = annotations.get(MIRROR);
    let hash = annotations.get("kubernetes.io/config.hash");
    let is_mirror = mirror.is_some_and(|mirror| hash.is_none_or(|hash| hash == mirror));
    if !is_mirror || !owners.into_iter().any(|owner| owner == ("v1", "Node")) {
        annotations.retain(|key, _| !STATIC_POD.contains(&key.as_str()));
    }
    annotations
}

/// A core/v1 Pod.
#[derive(Debug, Deserialize)]
pub(crate) struct PodObject {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<ContainerSpecs>,
    #[serde(default)]
    status: Option<PodStatus>,
}

#[derive(Debug, Deserialize)]
struct PodStatus {
    #[serde(default)]
    phase: Option<String>,
}

impl PodObject {
    /// Whether none of its containers runs or will run again: it needs no network any more.
    pub(crate) fn has_ended(&self) -> bool {
        let phase = self
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }
}

/// What a pod's spec says of its containers.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ContainerSpecs {
    #[serde(default, rename = "nodeName")]
    node_name: Option<String>,
    #[serde(default, rename = "initContainers")]
    init_containers: Option<Vec<Container>>,
    #[serde(default)]
    containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    #[serde(default)]
    resources: Option<Resources>,
}

#[derive(Clone, Debug, Deserialize)]
struct Resources {
    #[serde(default)]
    requests: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    limits: Option<BTreeMap<String, IgnoredAny>>,
}

impl From<PodObject> for Pod {
    fn from(object: PodObject) -> Pod {
        let PodObject { metadata, spec, .. } = object;
        let owners = metadata.owners.iter().flatten();
        let owners = owners.map(|owner| (owner.api_version.as_str(), owner.kind.as_str()));
        let annotations = credible(metadata.annotations.unwrap_or_default(), owners);
        let spec = spec.unwrap_or_default();
        Pod {
            node: spec.node_name().to_owned(),
            namespace: metadata.namespace.unwrap_or_else(default_namespace),
            name: metadata.name,
            uid: metadata.uid.unwrap_or_default(),
            annotations,
            resources: spec.resource_names(),
            devices: None,
        }
    }
}

impl ContainerSpecs {
    /// The node that the pod is bound to; empty: none.
    pub fn node_name(&self) -> &str {
        self.node_name.as_deref().unwrap_or_default()
    }

    /// Resource names that the containers ask for, init containers first, without repeats.
    pub fn resource_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let containers = [&self.init_containers, &self.containers];
        for container in containers.into_iter().flatten().flatten() {
            let Some(resources) = &container.resources else {
                continue;
            };
            for name in [&resources.requests, &resources.limits]
                .into_iter()
                .flatten()
                .flat_map(BTreeMap::keys)
            {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }
}

/// A k8s.cni.cncf.io/v1 NetworkAttachmentDefinition.
#[derive(Debug, Deserialize)]
pub(crate) struct NadObject {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<NadSpec>,
}

#[derive(Debug, Deserialize)]
struct NadSpec {
    #[serde(default)]
    config: Option<String>,
}

impl From<NadObject> for Nad {
    fn from(object: NadObject) -> Nad {
        let NadObject { metadata, spec } = object;
        Nad {
            name: NadName {
                namespace: metadata.namespace.unwrap_or_else(default_namespace),
                name: metadata.name,
            },
            config: spec.and_then(|spec| spec.config).unwrap_or_default(),
            resource_name: resource_name_of(&metadata.annotations.unwrap_or_default()),
        }
    }
}

/// A core/v1 Namespace, or a meta-cni.io/v1alpha1 AttachmentPolicy.
#[derive(Debug, Deserialize)]
pub(crate) struct ClusterObject {
    metadata: ClusterMetadata,
    #[serde(default)]
    spec: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct ClusterMetadata {
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl ClusterObject {
    /// As a policy.
    pub(crate) fn into_policy(self) -> Policy {
        Policy {
            name: self.metadata.name,
            spec: self.spec.to_string(),
        }
    }

    /// As a namespace: its name and its labels.
    pub(crate) fn into_namespace(self) -> (String, Labels) {
        let labels = self.metadata.labels.unwrap_or_default();
        let labels = with_name(labels, &self.metadata.name);
        (self.metadata.name, labels)
    }
}

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The label that the API server gives to every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The labels of a namespace with the one that nobody can take from it.
pub fn with_name(mut labels: Labels, namespace: &str) -> Labels {
    labels.insert(NAMESPACE_NAME.to_owned(), namespace.to_owned());
    labels
}

/// The device plugin resource that a network's annotations name.
pub fn resource_name_of(annotations: &BTreeMap<String, String>) -> Option<String> {
    let name = annotations.get(RESOURCE_NAME)?;
    (!name.is_empty()).then(|| name.clone())
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// A namespace or name that Kubernetes could not have given to an object, and that must therefore not
/// become part of a URL or of a file's path.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a name that Kubernetes allows: lower case letters, digits, '-' and '.'")]
pub(crate) struct NameError {
    text: String,
}

/// Refuses what is not an RFC 1123 subdomain (Kubernetes, "Object Names and IDs").
///
/// # Errors
/// [`ClusterError::Invalid`] with the first of `names` that is not one.
pub(crate) fn check_names(what: &str, names: [&str; 2]) -> Result<(), ClusterError> {
    match names.into_iter().find(|name| !is_subdomain(name)) {
        None => Ok(()),
        Some(text) => Err(ClusterError::Invalid {
            what: what.to_owned(),
            remedy: None,
            source: Box::new(NameError {
                text: text.chars().take(64).collect(),
            }),
        }),
    }
}

fn is_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(alphanumeric)
                && bytes.last().copied().is_some_and(alphanumeric)
                && bytes.iter().all(|&b| alphanumeric(b) || b == b'-')
        })
}

/// Whether `found` is the pod that was asked for.
///
/// # Errors
/// [`ClusterError::Replaced`] if the reference has a UID and the runtime has another for `found`.
pub fn check_uid(asked: &PodRef, found: &Pod) -> Result<(), ClusterError> {
    match asked.has_uid_of(found) {
        true => Ok(()),
        false => Err(ClusterError::Replaced {
            what: format!("pod {asked}"),
        }),
    }
}

#[cfg(test)]
mod tests;
