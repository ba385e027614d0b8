//! The seam to what a cluster knows and what is reported to it: pods, NetworkAttachmentDefinitions, network-status
//! and Events. No I/O here; the implementations are in `cluster/sources`: `agent.rs` (the agent of this node),
//! `api.rs` (the API server) and `folder.rs` (a folder of YAML).

mod object;
pub mod selector;
pub mod sources;

pub use object::{
    ContainerSpecs, Labels, NETWORK_STATUS, STATIC_POD, check_uid, credible, resource_name_of,
    with_name,
};
pub use sources::{agent, api, folder};

use std::collections::BTreeMap;
use std::fmt;

use cni::args::Args;
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Diagnosis, Explain};
use crate::limits::TooLarge;

/// The pod that a request is about, as the container runtime names it in CNI_ARGS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// K8S_POD_NAMESPACE.
    pub namespace: String,
    /// K8S_POD_NAME.
    pub name: String,
    /// K8S_POD_UID, if the runtime gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl PodRef {
    /// The pod that the runtime names in CNI_ARGS, if it names one.
    pub fn named_by(args: &Args) -> Option<PodRef> {
        Some(PodRef {
            namespace: args.get("K8S_POD_NAMESPACE")?.to_owned(),
            name: args.get("K8S_POD_NAME")?.to_owned(),
            uid: args.get("K8S_POD_UID").map(str::to_owned),
        })
    }

    /// Whether this is the reference to `pod`: of its name and, if the reference has a UID, of its UID.
    pub fn names(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && self.name == pod.name && self.has_uid_of(pod)
    }

    /// Whether the reference has no UID, or that of `pod`.
    pub fn has_uid_of(&self, pod: &Pod) -> bool {
        let uid = self.uid.as_deref().filter(|uid| !uid.is_empty());
        uid.is_none_or(|uid| pod.is_of_runtime(uid))
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What this program needs to know of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// metadata.namespace.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
    /// spec.nodeName; empty if the pod is on no node, or nobody said so.
    pub node: String,
    /// metadata.annotations.
    pub annotations: BTreeMap<String, String>,
    /// Resource names that the containers ask for (`resources.requests` and `limits`), in container
    /// order and without repeats: init containers first.
    pub resources: Vec<String>,
    /// The devices that the kubelet assigned to it, where the source of the pod knows them as well.
    pub devices: Option<Allocations>,
}

/// Pairs of resource name and device IDs, one for each mention, in the order of the containers.
pub type Allocations = Vec<(String, Vec<String>)>;

impl Pod {
    /// Whether the kubelet made this pod from a file or URL of its own (a static or mirror pod): its
    /// UID in the API is then not the UID that the runtime knows. Whoever reads a pod keeps the annotation only if a node
    /// owns the pod.
    pub fn is_static(&self) -> bool {
        self.annotations
            .get("kubernetes.io/config.source")
            .is_some_and(|source| source != "api")
    }

    /// The UID that kubelet and runtime know: that of a static pod is in an annotation of its mirror pod.
    pub fn runtime_uid(&self) -> &str {
        self.annotations
            .get("kubernetes.io/config.hash")
            .filter(|_| self.is_static())
            .unwrap_or(&self.uid)
    }

    /// Whether this is the pod that the runtime calls by this UID, as far as the pod's own UIDs are known.
    pub fn is_of_runtime(&self, uid: &str) -> bool {
        let lacks_hash = self.is_static() && self.runtime_uid() == self.uid;
        let is_unknown = self.uid.is_empty() || lacks_hash;
        is_unknown || [self.runtime_uid(), &self.uid].contains(&uid)
    }

    /// The reference to this pod, UID included.
    pub fn reference(&self) -> PodRef {
        PodRef {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: Some(self.uid.clone()),
        }
    }
}

/// The name of a NetworkAttachmentDefinition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NadName {
    /// metadata.namespace.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
}

impl fmt::Display for NadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What this program needs to know of a NetworkAttachmentDefinition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nad {
    /// Its namespace and name.
    pub name: NadName,
    /// spec.config: JSON text of a CNI configuration or list; empty means a file of confDir.
    pub config: String,
    /// The annotation `k8s.v1.cni.cncf.io/resourceName`: the device plugin resource whose device goes
    /// to this attachment.
    pub resource_name: Option<String>,
}

/// An AttachmentPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// metadata.name.
    pub name: String,
    /// `spec`, as JSON text. One that cannot be read allows nothing.
    pub spec: String,
}

/// What happened to a pod, for a Kubernetes Event on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Why: one of a closed list.
    pub reason: EventReason,
    /// What happened, and what to do (as one line, at most 1,024 bytes reach the API server).
    pub note: Diagnosis,
}

/// The reasons of our Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReason {
    /// Normal: an interface was added to the pod.
    AddedInterface,
    /// Warning: an attachment failed, and all of the pod's attachments were undone.
    FailedAttach,
}

impl EventReason {
    /// The reason that is written like this.
    pub fn parse(text: &str) -> Option<EventReason> {
        [EventReason::AddedInterface, EventReason::FailedAttach]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }

    /// The `reason` field of the Event.
    pub fn as_str(self) -> &'static str {
        match self {
            EventReason::AddedInterface => "AddedInterface",
            EventReason::FailedAttach => "FailedAttach",
        }
    }

    /// The `type` field of the Event: `Normal` or `Warning`.
    pub fn kind(self) -> &'static str {
        match self {
            EventReason::AddedInterface => "Normal",
            EventReason::FailedAttach => "Warning",
        }
    }
}

/// What to do where RBAC refuses a request.
pub const GRANT_RIGHTS: &str = "grant this service account the rights in deploy/rbac.yaml";

/// A question to the cluster that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The object is not there.
    #[error("there is no {what}")]
    NotFound {
        /// Kind and name, for example `pod default/web`.
        what: String,
    },
    /// The pod there has another UID: it was deleted and made again.
    #[error("{what} has another UID now: it was deleted and made again")]
    Replaced {
        /// Kind and name.
        what: String,
    },
    /// Our rights, or an admission policy, do not allow the request.
    #[error("{what}: not allowed")]
    Forbidden {
        /// The request, for example `get pod default/web`.
        what: String,
        /// What to do, for example [`GRANT_RIGHTS`].
        remedy: String,
        /// What was answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cluster did not answer within the tries that are allowed.
    #[error("{what}")]
    Unavailable {
        /// The request, for example `get pod default/web from https://10.0.0.1:6443`.
        what: String,
        /// What a person should check.
        remedy: String,
        /// The last failure.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer, or the file, does not hold what it should.
    #[error("{what} is not valid")]
    Invalid {
        /// Object or file.
        what: String,
        /// What to do, if that is known.
        remedy: Option<String>,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClusterError {
    /// The answer about a network that is too large.
    pub fn too_large(name: &NadName, source: TooLarge) -> ClusterError {
        ClusterError::Invalid {
            what: format!("network-attachment-definition {name}"),
            remedy: source.remedy(),
            source: Box::new(source),
        }
    }

    /// Whether the same question may be answered later without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, ClusterError::Unavailable { .. })
    }
}

impl Explain for ClusterError {
    fn remedy(&self) -> Option<String> {
        match self {
            ClusterError::NotFound { .. } | ClusterError::Replaced { .. } => None,
            ClusterError::Forbidden { remedy, .. } | ClusterError::Unavailable { remedy, .. } => {
                Some(remedy.clone())
            }
            ClusterError::Invalid { remedy, .. } => remedy.clone(),
        }
    }
}

/// What a cluster knows, and takes reports of.
///
/// All calls block, are bounded in time, and are made from plain threads (never from inside an async
/// runtime).
pub trait Cluster: Sync {
    /// The pod as it is now.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`] if there is none of that name; [`ClusterError::Replaced`] if the
    /// reference has a UID, the pod has another and is not static; others as they are documented.
    fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError>;

    /// The named networks, in the order of `names`, each answered for itself.
    fn networks(&self, names: &[NadName]) -> Vec<Result<Nad, ClusterError>>;

    /// The AttachmentPolicies that match each of the namespaces, in the order of `namespaces` and of their names. Where
    /// their kind is not known, there are none.
    ///
    /// # Errors
    /// [`ClusterError::Forbidden`] if we may not read them, [`ClusterError::Unavailable`] and others as they are documented.
    fn policies(&self, namespaces: &[String]) -> Result<Vec<Vec<Policy>>, ClusterError>;

    /// Reports the result of an ADD: writes `network_status` (JSON text) to the pod's annotation
    /// `k8s.v1.cni.cncf.io/network-status` if there is one and it differs from what `pod` has, with the
    /// pod's UID as precondition, and then posts the Events. Events that cannot be posted are logged, never
    /// an error.
    ///
    /// # Errors
    /// The failure of the write of network-status.
    fn report(
        &self,
        pod: &Pod,
        network_status: Option<&str>,
        events: &[Event],
    ) -> Result<(), ClusterError>;

    /// Whether the cluster answers, asked once and within `limit`.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] and others as they are documented.
    fn ready(&self, limit: std::time::Duration) -> Result<(), ClusterError>;
}
