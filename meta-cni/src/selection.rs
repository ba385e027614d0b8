//! The annotations by which a pod asks for networks: their text → selection elements
//! (Network Plumbing Working Group, "Kubernetes Network Custom Resource Definition De-facto Standard",
//! section 4). Pure; which network an element means is `wanted`'s business.

mod entries;
mod json;
mod short;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::cluster::Pod;

/// The annotation that asks for more networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces the default network.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// One network that a pod asks for, with what it asks of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element {
    /// Name of the NetworkAttachmentDefinition.
    pub name: String,
    /// Its namespace, if the element names one.
    pub namespace: Option<String>,
    /// The interface's name, if the element asks for one.
    pub interface: Option<String>,
    /// Addresses as they were asked for: each an address or a CIDR.
    pub ips: Vec<String>,
    /// A hardware address, as `02:00:00:00:00:0a`.
    pub mac: Option<String>,
    /// An InfiniBand GUID, in the same form.
    pub infiniband_guid: Option<String>,
    /// Port mappings, as the portmap plugin reads them.
    pub port_mappings: Option<Value>,
    /// Bandwidth limits, as the bandwidth plugin reads them.
    pub bandwidth: Option<Value>,
    /// Gateways of the default routes that shall go over this interface; empty: this interface shall
    /// have none. At most one for each family.
    pub default_route: Option<Vec<IpAddr>>,
    /// What goes to `args.cni` of every plugin.
    pub cni_args: Option<Map<String, Value>>,
    /// A device.
    pub device_id: Option<String>,
    /// An IPAMClaim.
    pub ipam_claim_reference: Option<String>,
}

/// A part of an annotation that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SelectionProblem {
    /// Where, for example `[1].ips[0]` or `element 2`.
    pub place: String,
    /// What is wrong there and what would be right.
    pub problem: String,
}

impl SelectionProblem {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        SelectionProblem {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

/// Reads an annotation: a comma list of `[namespace/]name[@interface]`, or a JSON list of objects if
/// the text holds `[`, `{` or `"`. The empty text asks for nothing.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(text: &str) -> Result<Vec<Element>, Vec<SelectionProblem>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    if text.contains(['[', '{', '"']) {
        json::parse(text)
    } else {
        short::parse(text)
    }
}

/// What a pod asks for: the texts of these annotations, those that it has.
pub fn asked(pod: &Pod) -> BTreeMap<String, String> {
    let annotations = pod.annotations.iter();
    annotations
        .filter(|(key, _)| [NETWORKS, DEFAULT_NETWORK].contains(&key.as_str()))
        .map(|(key, text)| (key.clone(), text.clone()))
        .collect()
}

/// Whether `text` is `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, a DNS label but for its length.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            inner(first) && inner(last) && bytes.iter().all(|&byte| inner(byte) || byte == b'-')
        }
        _ => false,
    }
}

/// Whether `text` is labels with dots between them, as the name of a Kubernetes object may be.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
