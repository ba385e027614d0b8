//! The AttachmentPolicies that match the namespaces of one question, and reading their text.

use std::collections::{BTreeMap, BTreeSet};

use crds::AttachmentPolicySpec;
use serde_json::Value;

use super::verdict::is_of_tenant;
use crate::cluster::{Pod, Policy};
use crate::gather::Found;
use crate::problem::Problem;
use crate::wanted::{Source, Wanted};

/// The policies of each namespace, in the order of their names; none of a namespace that is not in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(BTreeMap<String, Vec<Read>>);

/// A policy with what it says.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) name: String,
    /// What it allows, or why it cannot be read.
    pub(crate) spec: Result<AttachmentPolicySpec, String>,
}

impl Known {
    /// The policies of each of `namespaces`, in their order.
    pub(crate) fn of(namespaces: Vec<String>, policies: Vec<Vec<Policy>>) -> Known {
        let read = |policy: Policy| {
            let value = serde_json::from_str(&policy.spec).map_err(|error| error.to_string());
            Read {
                spec: value.and_then(|value: Value| parse(&value)),
                name: policy.name,
            }
        };
        let all = namespaces.into_iter().zip(policies);
        let all = all.map(|(namespace, found)| (namespace, found.into_iter().map(read).collect()));
        Known(all.collect())
    }

    /// The policies that match a namespace.
    pub(crate) fn matching(&self, namespace: &str) -> &[Read] {
        self.0.get(namespace).map_or(&[], Vec::as_slice)
    }
}

/// The namespaces whose policies judge a pod's networks: those of the networks, and that of the pod if it asks for any.
pub(crate) fn namespaces_of(
    pod: Option<&Pod>,
    wanted: &[Wanted],
    found: &[Result<Found, Problem>],
) -> Vec<String> {
    let mut namespaces = BTreeSet::new();
    for (wanted, _) in wanted
        .iter()
        .zip(found)
        .filter(|(wanted, found)| found.is_ok() && is_of_tenant(wanted))
    {
        if let Source::Nad(name) = &wanted.source {
            namespaces.insert(name.namespace.clone());
        }
        namespaces.extend(pod.map(|pod| pod.namespace.clone()));
    }
    namespaces.into_iter().collect()
}

/// Reads the `spec` of a policy. A field that is not known could be a limit: it is refused.
pub(super) fn parse(spec: &Value) -> Result<AttachmentPolicySpec, String> {
    let read: AttachmentPolicySpec =
        serde_path_to_error::deserialize(spec).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    match unknown(spec, &again) {
        Some(field) => Err(format!("unknown field {field}")),
        None => Ok(read),
    }
}

/// The first field of `given` that reading it left out.
fn unknown(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(name, value)| {
            let is_empty = match value {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            match read.get(name) {
                Some(read) => unknown(value, read).map(|field| format!("{name}.{field}")),
                None => (!is_empty).then(|| name.clone()),
            }
        }),
        (Value::Array(given), Value::Array(read)) => {
            given
                .iter()
                .zip(read)
                .enumerate()
                .find_map(|(index, (given, read))| {
                    Some(format!("[{index}].{}", unknown(given, read)?))
                })
        }
        _ => None,
    }
}
