//! Whether a plugin of an attachment was removed on purpose: today's configuration of its network is without it. Only a DEL
//! whose plugin is not on the node asks; where nobody answers, the plugin counts as wanted.

use cni::netconf::NetConfList;
use serde_json::Value;

use crate::attachment::Attachment;
use crate::cluster::{ClusterError, NadName};
use crate::gather::{gather, of_nad};
use crate::verbs::context::Context;
use crate::wanted::of_network;

/// The interface of the default network, which GC does not get.
const DEFAULT_IFNAME: &str = "eth0";

/// Whether today's configuration of the attachment's network has no such plugin, IPAM plugins included.
pub(super) fn is_without(context: &Context<'_>, attachment: &Attachment, plugin: &str) -> bool {
    let lists = lists(context, attachment);
    let without = lists.is_some_and(|lists| lists.iter().all(|list| !has(list, plugin)));
    if without {
        tracing::info!(
            network = attachment.network,
            plugin,
            "neither on this node nor in today's configuration"
        );
    }
    without
}

fn has(list: &NetConfList, plugin: &str) -> bool {
    list.plugins.iter().any(|conf| {
        let ipam = conf.get("ipam").and_then(|ipam| ipam.get("type"));
        conf.plugin_type() == plugin || ipam.and_then(Value::as_str) == Some(plugin)
    })
}

/// What the network is today, by our configuration and by its NetworkAttachmentDefinition; nothing if one of them cannot
/// be known.
fn lists(context: &Context<'_>, attachment: &Attachment) -> Option<Vec<NetConfList>> {
    let (config, cluster) = (&context.config, context.cluster());
    let ifname = match context.request.env.ifname.as_str() {
        "" => DEFAULT_IFNAME,
        ifname => ifname,
    };
    let is_default = attachment.ifname == ifname;
    let wanted = of_network(config, &attachment.network, is_default, cluster.is_some());
    let found = gather(config, cluster, &wanted).into_iter();
    let mut lists: Vec<NetConfList> = found
        .map(|found| found.map(|found| found.list).ok())
        .collect::<Option<_>>()?;
    if let Some(name) = nad_name(&attachment.network) {
        let answer = cluster?.networks(&[name]).into_iter().next()?;
        match answer {
            Ok(nad) => lists.push(of_nad(config, nad).ok()?.list),
            Err(ClusterError::NotFound { .. }) => {}
            Err(_) => return None,
        }
    }
    Some(lists)
}

/// The NetworkAttachmentDefinition that a network is called after, if it is.
fn nad_name(network: &str) -> Option<NadName> {
    let (namespace, name) = network.split_once('/')?;
    let is_name = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
    is_name.then(|| NadName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_called_after_its_nad_or_a_file_or_by_its_name() {
        for (network, nad) in [
            ("shop/blue", true),
            ("calico", false),
            ("/etc/cni/net.d", false),
            ("/etc", false),
            ("etc/", false),
        ] {
            assert_eq!(nad_name(network).is_some(), nad, "{network}");
        }
    }
}
