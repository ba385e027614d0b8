//! What interfaces of plugins do to others that lie on the same interface of the node.

use cni::netconf::{NetConfList, PluginConf};
use serde_json::Value;

use super::{Warning, is_set, named, text};
use crate::attachment::Attachment;

/// The interface of the node that a network lies on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Master {
    /// The one of this name.
    Named(String),
    /// The one of the default route.
    DefaultRoute,
}

impl std::fmt::Display for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Master::Named(name) => f.write_str(name),
            Master::DefaultRoute => f.write_str("the interface of the default route"),
        }
    }
}

pub(super) fn of_pod(attachments: &[Attachment]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (index, later) in attachments.iter().enumerate() {
        for earlier in &attachments[..index] {
            warnings.extend(modes(earlier, later));
            warnings.extend(same_vlan(earlier, later));
        }
    }
    warnings
}

/// All ipvlans of a master are of one mode, that of the newest (drivers/net/ipvlan, `ipvlan_set_port_mode`).
fn modes(earlier: &Attachment, later: &Attachment) -> Option<Warning> {
    let (before, after) = (ipvlan_mode(&earlier.list)?, ipvlan_mode(&later.list)?);
    let differ = before.0 == after.0 && before.1 != after.1;
    differ.then(|| Warning {
        what: format!(
            "{} is an ipvlan of mode {} and {} one of mode {} of the same master {}: the kernel gives all \
             the mode of the newest",
            named(earlier),
            before.1,
            named(later),
            after.1,
            after.0
        ),
        remedy: "give all ipvlan networks of a master the same mode",
    })
}

/// A master has one interface of a vlan, wherever that is.
fn same_vlan(earlier: &Attachment, later: &Attachment) -> Option<Warning> {
    let same = vlan_id(&earlier.list)? == vlan_id(&later.list)?;
    let (master, id) = vlan_id(&later.list)?;
    same.then(|| Warning {
        what: format!(
            "{} and {} both ask for vlan {id} of {master}, which one interface of the node can have",
            named(earlier),
            named(later)
        ),
        remedy: "make the vlan an interface of the node, and use macvlan or bridge over it",
    })
}

/// Master and mode of an ipvlan over an interface of the node.
pub(crate) fn ipvlan_mode(list: &NetConfList) -> Option<(Master, &str)> {
    let plugin = on_node(list, "ipvlan")?;
    Some((master(plugin), text(plugin, "mode").unwrap_or("l2")))
}

/// Master and id of a vlan over an interface of the node.
pub(crate) fn vlan_id(list: &NetConfList) -> Option<(Master, u64)> {
    let plugin = on_node(list, "vlan")?;
    let id = plugin.get("vlanId").and_then(Value::as_u64);
    Some((master(plugin), id.unwrap_or_default()))
}

/// What a plugin names as its master.
fn master(plugin: &PluginConf) -> Master {
    text(plugin, "master").map_or(Master::DefaultRoute, |name| Master::Named(name.to_owned()))
}

fn on_node<'a>(list: &'a NetConfList, kind: &str) -> Option<&'a PluginConf> {
    let plugin = list.plugins.first()?;
    (plugin.plugin_type() == kind && !is_set(plugin, "linkInContainer")).then_some(plugin)
}
