//! The order in which a pod's attachments are made: the default network first, then each behind those that
//! it stands on, as a bond stands on other interfaces of the pod, and a macvlan on its `master` there; and
//! behind earlier attachments of the same network. Pure, from configurations alone, so that DEL finds the
//! same order from a record.

use cni::netconf::PluginConf;
use serde_json::Value;

use crate::attachment::Attachment;
use crate::diagnosis::Diagnosis;
use crate::problem::Problem;

/// Plugins of which it is known that they make no interface in the pod but that of CNI_IFNAME.
const MAKE_ONE: [&str; 15] = [
    "bandwidth",
    "bond",
    "bridge",
    "dummy",
    "firewall",
    "host-device",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "tap",
    "tuning",
    "vlan",
];

/// The attachments in levels, by index: each stands on attachments of earlier levels only, so that those of
/// one level may be made side by side. The first level is the default network, on which all others stand.
pub fn levels(attachments: &[&Attachment]) -> Vec<Vec<usize>> {
    let mut levels: Vec<Vec<usize>> = Vec::new();
    let mut level_of: Vec<usize> = Vec::with_capacity(attachments.len());
    for (index, below) in dependences(attachments).into_iter().enumerate() {
        let level = match index {
            0 => 0,
            _ => {
                1 + below
                    .iter()
                    .map(|&below| level_of[below])
                    .max()
                    .unwrap_or(0)
            }
        };
        level_of.push(level);
        levels.resize_with(levels.len().max(level + 1), Vec::new);
        levels[level].push(index);
    }
    levels
}

/// For each attachment the earlier ones that it stands on, by index. An interface that no attachment is
/// known to make may come from any earlier one. Attachments of one network share what plugins keep for a
/// container and network (the iptables chain of `ipMasq`), and plugins do not lock that.
pub fn dependences(attachments: &[&Attachment]) -> Vec<Vec<usize>> {
    let below = |(index, attachment): (usize, &&Attachment)| {
        let mut below: Vec<usize> = Vec::new();
        for link in links(attachment) {
            match maker(attachments, &link.name) {
                Some(maker) if maker < index => below.push(maker),
                Some(_) => {}
                None => below.extend(0..index),
            }
        }
        below
            .extend((0..index).filter(|&earlier| is_one_network(attachments[earlier], attachment)));
        below.sort_unstable();
        below.dedup();
        below
    };
    attachments.iter().enumerate().map(below).collect()
}

fn is_one_network(one: &Attachment, other: &Attachment) -> bool {
    !one.list.name.is_empty() && one.list.name == other.list.name
}

/// Attachments that cannot be made in any order, each with what is in the way.
pub(crate) fn problems(attachments: &[&Attachment]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, attachment) in attachments.iter().enumerate() {
        for link in links(attachment) {
            if let Some(what) = problem(attachments, index, &link) {
                let subject = format!("network {}", attachment.network);
                problems.push(Problem::permanent(subject, what));
            }
        }
    }
    problems
}

/// An interface of the pod that a plugin stands on.
struct Link {
    /// The key that names it.
    key: &'static str,
    name: String,
    /// The place of the plugin in its list.
    plugin: usize,
}

fn problem(attachments: &[&Attachment], index: usize, link: &Link) -> Option<Diagnosis> {
    let Link { key, name, plugin } = link;
    match maker(attachments, name) {
        Some(maker) if maker < index => None,
        // An earlier plugin of the list has made it.
        Some(maker) if maker == index && *plugin > 0 => None,
        Some(maker) if maker == index => Some(Diagnosis::new(
            format!("its {key} {name} is its own interface"),
            format!("name another interface of the pod in {key}"),
        )),
        Some(maker) => {
            let network = &attachments[maker].network;
            Some(Diagnosis::new(
                format!(
                    "its {key} {name} is the interface of network {network}, which comes later"
                ),
                format!("ask for {network} before it"),
            ))
        }
        None if may_be_made(&attachments[..index], attachments[index], *plugin) => None,
        None => {
            let earlier = attachments[..index].iter().map(|one| one.ifname.as_str());
            let earlier: Vec<_> = std::iter::once("lo").chain(earlier).collect();
            let earlier = earlier.join(", ");
            Some(Diagnosis::new(
                format!(
                    "its {key} {name} is no interface of the pod, which has {earlier} before it"
                ),
                format!("correct {key}, or ask for the network of {name} first"),
            ))
        }
    }
}

/// Whether the earlier attachments, or the earlier plugins of this one, may make an interface that no
/// configuration names.
fn may_be_made(earlier: &[&Attachment], own: &Attachment, plugin: usize) -> bool {
    let before = earlier.iter().flat_map(|one| &one.list.plugins);
    before
        .chain(own.list.plugins.iter().take(plugin))
        .any(|plugin| !MAKE_ONE.contains(&plugin.plugin_type()))
}

/// The attachment that makes the interface.
fn maker(attachments: &[&Attachment], name: &str) -> Option<usize> {
    let makes = |attachment: &&Attachment| {
        let mut plugins = attachment.list.plugins.iter();
        // bond-cni calls its interface as its configuration says.
        attachment.ifname == name || plugins.any(|plugin| text(plugin, "ifname") == Some(name))
    };
    attachments.iter().position(makes)
}

/// The interfaces of the pod that an attachment stands on (macvlan, ipvlan and vlan: `linkInContainer`;
/// bond-cni: `linksInContainer`).
fn links(attachment: &Attachment) -> Vec<Link> {
    let mut links = Vec::new();
    for (index, plugin) in attachment.list.plugins.iter().enumerate() {
        let mut add = |key, name: &str| {
            // Loopback is there before any plugin runs.
            if !name.is_empty() && name != "lo" {
                links.push(Link {
                    key,
                    name: name.to_owned(),
                    plugin: index,
                });
            }
        };
        let is_set = |key| plugin.get(key) == Some(&Value::Bool(true));
        if is_set("linkInContainer") {
            add("master", text(plugin, "master").unwrap_or_default());
        }
        if is_set("linksInContainer") {
            let all = plugin.get("links").and_then(Value::as_array);
            for link in all.into_iter().flatten() {
                add("link", link["name"].as_str().unwrap_or_default());
            }
        }
    }
    links
}

fn text<'a>(plugin: &'a PluginConf, key: &str) -> Option<&'a str> {
    plugin.get(key)?.as_str()
}

#[cfg(test)]
mod tests;
