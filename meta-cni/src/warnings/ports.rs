//! Host ports of two attachments of a pod. portmap keeps them by container: with iptables in one chain for a
//! container and network, with nftables under a comment that names the container.

use super::{Warning, named, text};
use crate::attachment::Attachment;

const REMEDY: &str = "ask for all host ports of a pod on one of its networks";

pub(super) fn of_pod(attachments: &[Attachment]) -> Vec<Warning> {
    let mapped: Vec<_> = attachments
        .iter()
        .filter_map(|one| Some((one, backend(one)?)))
        .collect();
    let mut warnings = Vec::new();
    for (index, (later, backend)) in mapped.iter().enumerate() {
        for (earlier, other) in &mapped[..index] {
            let (first, last) = (named(earlier), named(later));
            let what = if earlier.list.name == later.list.name {
                format!(
                    "{first} and {last} both map host ports on network {}, of which portmap keeps one set a \
                     container: those of {last} take the place of those of {first}",
                    later.list.name
                )
            } else if [*backend, *other].contains(&Some("iptables")) {
                continue;
            } else {
                format!(
                    "{first} and {last} both map host ports: where portmap uses nftables, deleting one of \
                     them takes the host ports of the other as well"
                )
            };
            warnings.push(Warning {
                what,
                remedy: REMEDY,
            });
        }
    }
    warnings
}

/// The backend that portmap's configuration names, if the attachment maps host ports; inside, nothing if portmap
/// chooses.
fn backend(attachment: &Attachment) -> Option<Option<&str>> {
    let mut plugins = attachment.list.plugins.iter();
    let portmap = plugins.find(|plugin| plugin.plugin_type() == "portmap")?;
    let mappings = portmap.get("runtimeConfig")?.get("portMappings")?;
    let mapped = mappings.as_array().is_some_and(|all| !all.is_empty());
    mapped.then(|| text(portmap, "backend"))
}
