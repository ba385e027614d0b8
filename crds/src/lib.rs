//! The Kubernetes API types that this project reads, one file a kind, and the list of their
//! CustomResourceDefinitions. `yaml/` is written from these types by `examples/generate.rs`; a test
//! fails when the two differ.

pub mod attachment_policy;
pub mod network_attachment_definition;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use attachment_policy::{AttachmentPolicy, AttachmentPolicySpec};
pub use network_attachment_definition::{
    NetworkAttachmentDefinition, NetworkAttachmentDefinitionFields, NetworkAttachmentDefinitionSpec,
};

/// Every CustomResourceDefinition of this crate, in the order of their file names.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![NetworkAttachmentDefinition::crd(), AttachmentPolicy::crd()]
}

/// The file in `crds/yaml/` that holds a definition: `<group>_<plural>.yaml`.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}
