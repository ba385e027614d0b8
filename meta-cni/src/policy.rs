//! What tenants may ask for: the AttachmentPolicies of the cluster, the rules that hold where none matches, and
//! the floor of this node.
//!
//! The text of a NetworkAttachmentDefinition is judged by the policies of its own namespace, what a pod asks for
//! by those of the pod's. A network passes if one policy allows the whole of it (`rules`); policies add up and none takes away.
//! The floor holds besides. Networks of the node's own configuration are not judged.

mod breach;
mod built_in;
mod known;
mod prefix;
mod rules;
mod verdict;

pub(crate) use known::{Known, namespaces_of};
pub(crate) use verdict::{Grade, verdicts};

use crate::cluster::{Cluster, Pod};
use crate::config::{AttachmentPolicies, Config, Mode};
use crate::diagnosis::Explain as _;
use crate::gather::Found;
use crate::problem::Problem;
use crate::wanted::Wanted;

/// Replaces each network that is refused by why it is.
pub(crate) fn enforce(
    config: &Config,
    cluster: Option<&dyn Cluster>,
    pod: Option<&Pod>,
    wanted: &[Wanted],
    mut found: Vec<Result<Found, Problem>>,
) -> Vec<Result<Found, Problem>> {
    let node = &config.attachment_policy;
    let known = match ask(node, cluster, pod, wanted, &found) {
        Ok(known) => known,
        Err(unknown) => return refuse_tenants(found, wanted, &unknown),
    };
    for verdict in verdicts(node, &known, pod, wanted, &found) {
        let subject = format!("network {}", verdict.network);
        match verdict.grade {
            Grade::Refused => found[verdict.index] = Err(Problem::permanent(subject, verdict.why)),
            Grade::Reported => tracing::info!(
                network = verdict.network,
                why = %verdict.why,
                "attachmentPolicy \"enforce\" would refuse a network"
            ),
        }
    }
    found
}

/// The policies of the namespaces that matter. Where they only would be reported, nobody fails for not knowing them.
fn ask(
    node: &AttachmentPolicies,
    cluster: Option<&dyn Cluster>,
    pod: Option<&Pod>,
    wanted: &[Wanted],
    found: &[Result<Found, Problem>],
) -> Result<Known, Problem> {
    let namespaces = namespaces_of(pod, wanted, found);
    let Some(cluster) = cluster.filter(|_| node.mode != Mode::Off && !namespaces.is_empty()) else {
        return Ok(Known::default());
    };
    match cluster.policies(&namespaces) {
        Ok(policies) => Ok(Known::of(namespaces, policies)),
        Err(error) if node.mode == Mode::Report && !error.is_transient() => {
            let error = error.diagnosis();
            tracing::warn!(%error, "AttachmentPolicies are not known, none holds");
            Ok(Known::default())
        }
        Err(error) => {
            let what = error
                .diagnosis()
                .about("its AttachmentPolicies are not known");
            Err(match error.is_transient() {
                true => Problem::transient("", what),
                false => Problem::permanent("", what),
            })
        }
    }
}

/// Nobody knows what tenants may do: their networks wait.
fn refuse_tenants(
    mut found: Vec<Result<Found, Problem>>,
    wanted: &[Wanted],
    unknown: &Problem,
) -> Vec<Result<Found, Problem>> {
    for (index, wanted) in wanted.iter().enumerate() {
        if known::is_of_tenant(wanted) && found[index].is_ok() {
            let subject = format!("network {}", wanted.source.label());
            found[index] = Err(Problem {
                subject,
                ..unknown.clone()
            });
        }
    }
    found
}

#[cfg(test)]
mod tests;
