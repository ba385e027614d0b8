//! The AttachmentPolicies that match the namespaces of one question, and reading their text.

use std::collections::{BTreeMap, BTreeSet};

use crds::AttachmentPolicySpec;
use serde_json::Value;

use crate::cluster::{Pod, Policy};
use crate::config::attachment_policies::parse;
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

/// Whether a network is asked for by a tenant, and not by the node's own configuration.
pub(super) fn is_of_tenant(wanted: &Wanted) -> bool {
    matches!(wanted.source, Source::Nad(_))
}
