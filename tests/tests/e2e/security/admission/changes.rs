//! The changes that are tried, and which policy refuses each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// The caller of a change.
#[derive(Clone, Copy)]
pub(super) enum Who {
    /// The agent of node `n1`.
    Agent,
    /// The plugin of node `n1`.
    Plugin,
    /// The agent's account with a token that is bound to no node.
    Unbound,
    /// Somebody who may do everything to pods and networks.
    Tenant,
}

/// How a change is requested.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Method {
    Post,
    Patch,
    Delete,
}

/// A change, and which policy refuses it.
pub(super) struct Change {
    pub(super) what: &'static str,
    pub(super) who: Who,
    pub(super) method: Method,
    /// Below the namespace.
    pub(super) path: &'static str,
    /// The object of a number, which makes it differ from the one before.
    pub(super) object: fn(u32) -> Value,
    pub(super) refused_by: Option<&'static str>,
}

const OWN: &str = "pods/own";
const OWN_STATUS: &str = "pods/own/status";
const OTHER_STATUS: &str = "pods/other/status";
const PODS: &str = "pods";
pub(super) const NADS: &str = "network-attachment-definitions";
const OWN_PODS: &str = "meta-cni-own-pods";
const NOBODY_ELSE: &str = "meta-cni-network-status";
const DEFINITIONS: &str = "meta-cni-networks";

pub(super) fn annotated(key: &str, value: Value) -> Value {
    json!({ "metadata": { "annotations": { key: value } } })
}

fn status(number: u32) -> Value {
    annotated(STATUS, json!(format!("[{number}]")))
}

pub(super) fn image(number: u32) -> Value {
    json!({ "spec": { "containers": [{ "name": "main", "image": format!("evil{number}") }] } })
}

pub(super) fn nad(number: u32, config: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": format!("n{number}") }, "spec": { "config": config },
    })
}

const fn patch(
    what: &'static str,
    who: Who,
    path: &'static str,
    object: fn(u32) -> Value,
    refused_by: Option<&'static str>,
) -> Change {
    Change {
        what,
        who,
        method: Method::Patch,
        path,
        object,
        refused_by,
    }
}

const fn post(
    what: &'static str,
    who: Who,
    path: &'static str,
    object: fn(u32) -> Value,
    refused_by: Option<&'static str>,
) -> Change {
    Change {
        what,
        who,
        method: Method::Post,
        path,
        object,
        refused_by,
    }
}

pub(super) const CHANGES: [Change; 32] = [
    patch("network-status", Who::Agent, OWN_STATUS, status, None),
    patch(
        "network-status by the plugin",
        Who::Plugin,
        OWN_STATUS,
        status,
        None,
    ),
    patch(
        "no network-status",
        Who::Agent,
        OWN_STATUS,
        |_| annotated(STATUS, Value::Null),
        None,
    ),
    patch(
        "of another node",
        Who::Agent,
        OTHER_STATUS,
        status,
        Some(OWN_PODS),
    ),
    patch(
        "of another node by the plugin",
        Who::Plugin,
        OTHER_STATUS,
        status,
        Some(OWN_PODS),
    ),
    patch(
        "by a token of no node",
        Who::Unbound,
        OWN_STATUS,
        status,
        Some(OWN_PODS),
    ),
    patch(
        "not through the status",
        Who::Agent,
        OWN,
        status,
        Some(OWN_PODS),
    ),
    patch("an image", Who::Agent, OWN, image, Some(OWN_PODS)),
    patch(
        "an image of another node's pod",
        Who::Agent,
        "pods/other",
        image,
        Some(OWN_PODS),
    ),
    patch(
        "podIP",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "status": { "podIP": format!("10.0.0.{number}"), "podIPs": [{ "ip": format!("10.0.0.{number}") }] } }),
        Some(OWN_PODS),
    ),
    patch(
        "Ready",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": format!("R{number}") }] } }),
        Some(OWN_PODS),
    ),
    patch(
        "phase",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "status": { "phase": "Running", "message": format!("{number}") } }),
        Some(OWN_PODS),
    ),
    patch(
        "a label",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "metadata": { "labels": { "app": format!("v{number}") } } }),
        Some(OWN_PODS),
    ),
    patch(
        "a finalizer",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "metadata": { "finalizers": [format!("example.com/f{number}")] } }),
        Some(OWN_PODS),
    ),
    patch(
        "the networks annotation",
        Who::Agent,
        OWN_STATUS,
        |number| annotated(NETWORKS, json!(format!("n{number}"))),
        Some(OWN_PODS),
    ),
    patch(
        "another annotation",
        Who::Agent,
        OWN_STATUS,
        |number| annotated(&format!("new{number}"), json!("x")),
        Some(OWN_PODS),
    ),
    patch(
        "an annotation away",
        Who::Agent,
        OWN_STATUS,
        |_| annotated("keep", Value::Null),
        Some(OWN_PODS),
    ),
    post(
        "a pod by the agent",
        Who::Agent,
        PODS,
        |number| pod(&format!("p{number}"), &[]),
        Some(OWN_PODS),
    ),
    Change {
        what: "a pod away",
        who: Who::Agent,
        method: Method::Delete,
        path: OWN,
        object: |_| Value::Null,
        refused_by: Some(OWN_PODS),
    },
    patch(
        "network-status by a tenant",
        Who::Tenant,
        OWN,
        status,
        Some(NOBODY_ELSE),
    ),
    patch(
        "network-status by a tenant through the status",
        Who::Tenant,
        OWN_STATUS,
        status,
        Some(NOBODY_ELSE),
    ),
    patch(
        "a label by a tenant",
        Who::Tenant,
        OWN,
        |number| json!({ "metadata": { "labels": { "mine": format!("v{number}") } } }),
        None,
    ),
    post(
        "a pod with network-status",
        Who::Tenant,
        PODS,
        |number| pod(&format!("p{number}"), &[(STATUS, "[]")]),
        Some(NOBODY_ELSE),
    ),
    post(
        "a pod",
        Who::Tenant,
        PODS,
        |number| pod(&format!("p{number}"), &[(NETWORKS, "red")]),
        None,
    ),
    post(
        "network-status by a binding",
        Who::Tenant,
        "pods/unbound/binding",
        |number| binding(&[(STATUS, &format!("[{number}]"))]),
        Some(NOBODY_ELSE),
    ),
    post(
        "a binding",
        Who::Tenant,
        "pods/unbound/binding",
        |_| binding(&[]),
        None,
    ),
    post(
        "a network of 64 KiB",
        Who::Tenant,
        NADS,
        |number| nad(number, &sized(65_536)),
        None,
    ),
    post(
        "a network of more",
        Who::Tenant,
        NADS,
        |number| nad(number, &sized(65_537)),
        Some(DEFINITIONS),
    ),
    post(
        "a network of more, in letters of two bytes",
        Who::Tenant,
        NADS,
        |number| nad(number, &format!("{{\"a\":\"{}\"}}", "ä".repeat(32_766))),
        Some(DEFINITIONS),
    ),
    patch(
        "a network that grows",
        Who::Tenant,
        "network-attachment-definitions/kept",
        |number| json!({ "spec": { "config": sized(65_537 + number as usize) } }),
        Some(DEFINITIONS),
    ),
    post(
        "a network with an escape",
        Who::Tenant,
        NADS,
        |number| nad(number, r#"{"\u0074ype":"bridge"}"#),
        Some(DEFINITIONS),
    ),
    post(
        "a network without text",
        Who::Tenant,
        NADS,
        |number| nad(number, ""),
        None,
    ),
];

/// An object of so many bytes.
fn sized(bytes: usize) -> String {
    format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8))
}

pub(super) fn pod(name: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "annotations": annotations },
        "spec": { "containers": [{ "name": "main", "image": "pause" }] },
    })
}

/// What a scheduler writes; the server adds its annotations to the pod.
fn binding(annotations: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "unbound", "annotations": annotations },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "n1" },
    })
}
