//! What networks lie on: the masters, devices and bridges that the reference plugins take from their configuration, and
//! whether this node has them. Nothing is run and nothing is changed.

use cni::netconf::{NetConfList, PluginConf};
use netlink::{Family, Link, Netlink, NetlinkError};
use serde_json::Value;

/// What a plugin lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The interface of this name, which must be up.
    Master(String),
    /// The interface that the default route goes over.
    DefaultRoute,
    /// A master that had to be named and is not.
    Unnamed,
    /// The interface of this name, which goes to the pod.
    Device(String),
    /// The bridge of this name, if it is there already.
    Bridge(String),
}

/// The interfaces of this node.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    /// All of them.
    pub(crate) links: Vec<Link>,
    /// The index of the one that the default route goes over.
    pub(crate) default: Option<u32>,
}

impl Interfaces {
    /// Lists them.
    ///
    /// # Errors
    /// As [`Netlink`] has them.
    pub(crate) fn list() -> Result<Interfaces, NetlinkError> {
        let mut netlink = Netlink::open()?;
        let mut default = None;
        for family in Family::BOTH {
            let routes = netlink.default_routes(family)?;
            let first = routes.first().and_then(|route| route.hops.first());
            default = default.or_else(|| first.map(|hop| hop.link));
        }
        Ok(Interfaces {
            links: netlink.links()?,
            default,
        })
    }

    /// The interface that plugins find by this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        let goes_by = |link: &&Link| {
            link.name == name || link.alternative_names.iter().any(|other| other == name)
        };
        self.links.iter().find(goes_by)
    }

    /// The interface that the default route goes over.
    pub(crate) fn of_default_route(&self) -> Option<&Link> {
        let mut links = self.links.iter();
        links.find(|link| Some(link.index) == self.default)
    }

    /// Why `plugin` has no master here, if it needs one that is not there.
    pub(crate) fn missing_master(&self, plugin: &PluginConf, parent: &Parent) -> Option<String> {
        let kind = plugin.plugin_type();
        match parent {
            Parent::Master(name) if self.named(name).is_none() => Some(format!(
                "interface {name}, the master of {kind}, is not on this node"
            )),
            Parent::DefaultRoute if self.of_default_route().is_none() => Some(format!(
                "{kind} names no master, and this node has no default route whose interface it could take"
            )),
            Parent::Unnamed => Some(format!("{kind} names no master, and takes none by itself")),
            _ => None,
        }
    }
}

/// What a network lies on, and the plugin that says so.
pub(crate) fn parent(list: &NetConfList) -> Option<(&PluginConf, Parent)> {
    list.plugins
        .iter()
        .enumerate()
        .find_map(|(index, plugin)| Some((plugin, of_plugin(plugin, index > 0)?)))
}

/// As the reference plugins read their configuration. A chained one takes what is before it.
fn of_plugin(plugin: &PluginConf, is_chained: bool) -> Option<Parent> {
    let in_container = plugin.get("linkInContainer") == Some(&Value::Bool(true));
    let master = text(plugin, "master");
    match plugin.plugin_type() {
        "vlan" if master.is_none() => Some(Parent::Unnamed),
        "macvlan" | "ipvlan" | "vlan" if in_container => None,
        "macvlan" | "ipvlan" | "vlan" => match master {
            Some(master) => Some(Parent::Master(master)),
            None => (!is_chained).then_some(Parent::DefaultRoute),
        },
        "host-device" => text(plugin, "device").map(Parent::Device),
        "bridge" => Some(Parent::Bridge(
            text(plugin, "bridge").unwrap_or_else(|| "cni0".to_owned()),
        )),
        _ => None,
    }
}

/// A text that is not empty.
pub(crate) fn text(plugin: &PluginConf, key: &str) -> Option<String> {
    let text = plugin.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}
