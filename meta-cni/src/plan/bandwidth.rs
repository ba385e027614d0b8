//! The bandwidth plugin shapes what a pod sends over an interface of the node that it calls after network and
//! container (containernetworking/plugins, `getIfbDeviceName`). A second attachment of the pod to the network
//! finds the name taken, and undoing it removes the interface of the first, which then sends nothing more.

use cni::key;
use cni::netconf::PluginConf;
use serde_json::{Map, Value};

use super::Attachment;
use crate::diagnosis::Diagnosis;
use crate::problem::Problem;

/// Attachments whose bandwidth would take that of an earlier one.
pub(super) fn problems(attachments: &[Attachment]) -> Vec<Problem> {
    let shaped: Vec<_> = attachments.iter().filter(|one| is_shaped(one)).collect();
    let mut problems = Vec::new();
    for (index, later) in shaped.iter().enumerate() {
        let mut before = shaped[..index].iter();
        if let Some(earlier) = before.find(|one| one.list.name == later.list.name) {
            let cause = format!(
                "egress bandwidth on {} and on {}: the plugin bandwidth can limit one interface of a pod on \
                 network {} only",
                earlier.ifname, later.ifname, later.list.name
            );
            let what = Diagnosis::new(cause, "leave it out of one of them");
            let subject = format!("network {}", later.network);
            problems.push(Problem::permanent(subject, what));
        }
    }
    problems
}

/// Whether the plugin limits what the pod sends over this attachment.
fn is_shaped(attachment: &Attachment) -> bool {
    let mut plugins = attachment.list.plugins.iter();
    plugins
        .any(|plugin| plugin.plugin_type() == "bandwidth" && limits(plugin).is_some_and(has_egress))
}

/// The limits of the configuration itself, else those of the pod.
fn limits(plugin: &PluginConf) -> Option<&Map<String, Value>> {
    let own = plugin.as_map();
    let asked = || plugin.get("runtimeConfig")?.get("bandwidth")?.as_object();
    if has_egress(own) { Some(own) } else { asked() }
}

fn has_egress(limits: &Map<String, Value>) -> bool {
    ["egressRate", "egressBurst"].into_iter().all(|name| {
        let limit = key::value_of(limits, name).and_then(Value::as_u64);
        limit.is_some_and(|limit| limit > 0)
    })
}
