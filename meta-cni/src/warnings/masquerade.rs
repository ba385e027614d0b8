//! One network that masquerades, twice in a pod. bridge and ptp of the reference plugins keep one iptables chain a container
//! and network: the second DEL finds the chain of the first family gone and never removes that of the second.

use super::{Warning, is_set, named, text};
use crate::attachment::Attachment;

const REMEDY: &str =
    "attach the pod to the network once, or define a second network with a name of its own";

pub(super) fn of_pod(attachments: &[Attachment]) -> Vec<Warning> {
    let masquerading: Vec<_> = attachments.iter().filter(|one| masquerades(one)).collect();
    let mut warnings = Vec::new();
    for (index, later) in masquerading.iter().enumerate() {
        let mut before = masquerading[..index].iter();
        let Some(earlier) = before.find(|one| one.list.name == later.list.name) else {
            continue;
        };
        let what = format!(
            "{} and {} are both on network {}, which masquerades by iptables: if it has addresses of both families, an ip6tables \
             rule and a chain stay on the node when the pod is deleted",
            named(earlier),
            named(later),
            later.list.name
        );
        warnings.push(Warning {
            what,
            remedy: REMEDY,
        });
    }
    warnings
}

fn masquerades(attachment: &Attachment) -> bool {
    let mut plugins = attachment.list.plugins.iter();
    !attachment.list.name.is_empty()
        && plugins.any(|plugin| {
            matches!(plugin.plugin_type(), "bridge" | "ptp")
                && is_set(plugin, "ipMasq")
                && text(plugin, "ipMasqBackend") != Some("nftables")
        })
}
