//! The interfaces of this node that networks lie on: there, up, and with an MTU that is large enough.

use serde_json::Value;

use super::finding::{Area, Finding};
use super::networks::Network;
use crate::cni::netconf::{NetConfList, PluginConf};
use crate::netlink::{Family, Link, Netlink, NetlinkError};
use crate::record::Record;

/// What is seen of this node's interfaces.
#[derive(Default)]
pub(super) struct Links {
    links: Vec<Link>,
    /// The index of the interface that the default route goes over.
    default: Option<u32>,
    /// Devices that pods have: they are in the pods' namespaces.
    given: Vec<String>,
}

/// What a plugin lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parent {
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

/// Lists them.
pub(super) fn look<'r>(records: impl Iterator<Item = &'r Record>) -> Result<Links, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let mut default = None;
    for family in Family::BOTH {
        let routes = netlink.default_routes(family)?;
        default = default.or_else(|| {
            routes
                .first()
                .and_then(|route| route.hops.first())
                .map(|hop| hop.link)
        });
    }
    let given = records
        .flat_map(Record::attachments)
        .flat_map(|attachment| &attachment.list.plugins);
    Ok(Links {
        links: netlink.links()?,
        default,
        given: given.filter_map(|plugin| text(plugin, "device")).collect(),
    })
}

/// What is wrong with what the networks that are used here lie on.
pub(super) fn check(links: &Links, networks: &[Network]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for network in networks.iter().filter(|network| !network.users.is_empty()) {
        let Ok(found) = &network.found else {
            continue;
        };
        if let Some((plugin, parent)) = parent(&found.list) {
            findings.extend(links.problem(network, plugin, &parent));
        }
    }
    findings
}

impl Links {
    fn problem(&self, network: &Network, plugin: &PluginConf, parent: &Parent) -> Option<Finding> {
        let mtu = plugin
            .get("mtu")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let found = match parent {
            Parent::Master(name) => match self.named(name) {
                None => self.absent(name, "master", plugin),
                Some(link) => state(link, plugin).or_else(|| too_large(mtu, link, plugin))?,
            },
            Parent::DefaultRoute => match self
                .links
                .iter()
                .find(|link| Some(link.index) == self.default)
            {
                None => {
                    let cause = format!(
                        "{} names no master, and this node has no default route whose interface it could take",
                        plugin.plugin_type()
                    );
                    Finding::fault(Area::Link, cause, "name a master in the network")
                }
                Some(link) => too_large(mtu, link, plugin)?,
            },
            Parent::Unnamed => {
                let cause = format!(
                    "{} names no master, and takes none by itself",
                    plugin.plugin_type()
                );
                Finding::fault(Area::Link, cause, "name a master in the network")
            }
            Parent::Device(name) => match self.named(name) {
                None if !self.given.contains(name) => self.absent(name, "device", plugin),
                _ => return None,
            },
            Parent::Bridge(name) => self.narrow_port(name, mtu)?,
        };
        Some(found.seen(network.described()))
    }

    /// The interface that plugins find by this name.
    fn named(&self, name: &str) -> Option<&Link> {
        let goes_by = |link: &&Link| {
            link.name == name || link.alternative_names.iter().any(|other| other == name)
        };
        self.links.iter().find(goes_by)
    }

    fn absent(&self, name: &str, key: &str, plugin: &PluginConf) -> Finding {
        let cause = format!(
            "interface {name}, the {key} of {}, is not on this node",
            plugin.plugin_type()
        );
        let remedy =
            format!("correct `{key}` in the network, or make the interface {name} on this node");
        let names: Vec<_> = self
            .links
            .iter()
            .map(|link| link.name.as_str())
            .filter(|name| *name != "lo")
            .collect();
        let listed = match names.len() {
            0 => "it has none but lo".to_owned(),
            1..=20 => format!("it has {}", names.join(", ")),
            more => format!("it has {}, and {} more", names[..20].join(", "), more - 20),
        };
        Finding::fault(Area::Link, cause, remedy).seen(listed)
    }

    /// A port of a bridge, not of a pod, that is narrower than the network.
    fn narrow_port(&self, bridge: &str, mtu: u64) -> Option<Finding> {
        let index = self.named(bridge)?.index;
        let ports = self
            .links
            .iter()
            .filter(|link| link.controller == Some(index) && link.kind != "veth");
        let narrow = ports
            .min_by_key(|link| link.mtu)
            .filter(|port| u64::from(port.mtu) < mtu)?;
        let cause = format!(
            "the network's MTU {mtu} is above that of {}, the port of its bridge {bridge}: {}",
            narrow.name, narrow.mtu
        );
        let remedy = format!(
            "set mtu of the network to {} at most, or raise that of {}",
            narrow.mtu, narrow.name
        );
        Some(Finding::warning(Area::Link, cause, remedy))
    }
}

/// What is wrong with the state of a master.
fn state(link: &Link, plugin: &PluginConf) -> Option<Finding> {
    let what = plugin.plugin_type();
    let name = &link.name;
    if !link.is_up {
        let cause = format!("interface {name}, the master of {what}, is down");
        return Some(Finding::fault(
            Area::Link,
            cause,
            format!("ip link set {name} up, and see that it stays so after a restart"),
        ));
    }
    let cause = format!("interface {name}, the master of {what}, has no carrier");
    let remedy = "look at its cable, its switch, or what it lies on itself";
    (!link.has_carrier).then(|| Finding::warning(Area::Link, cause, remedy))
}

fn too_large(mtu: u64, link: &Link, plugin: &PluginConf) -> Option<Finding> {
    let (name, most) = (&link.name, link.mtu);
    let cause = format!(
        "the network's MTU {mtu} is above that of {name}, the master of {}: {most}",
        plugin.plugin_type()
    );
    let remedy = format!(
        "set mtu of the network to {most} at most, or raise that of {name} (ip link set {name} mtu {mtu})"
    );
    (mtu > u64::from(most)).then(|| Finding::fault(Area::Link, cause, remedy))
}

/// What a network lies on, and the plugin that says so.
fn parent(list: &NetConfList) -> Option<(&PluginConf, Parent)> {
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

fn text(plugin: &PluginConf, key: &str) -> Option<String> {
    let text = plugin.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::finding::Severity;
    use super::*;
    use crate::gather::Found;
    use crate::wanted::Source;

    fn link(index: u32, name: &str, mtu: u32) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mtu,
            is_up: true,
            has_carrier: true,
            ..Link::default()
        }
    }

    fn node() -> Links {
        let down = Link {
            is_up: false,
            ..link(3, "eth2", 1500)
        };
        let unplugged = Link {
            has_carrier: false,
            ..link(4, "eth3", 1500)
        };
        let renamed = Link {
            alternative_names: vec!["storage-of-rack-17".to_owned()],
            ..link(2, "eth1", 1500)
        };
        let port = |name: &str, index, mtu, kind: &str| Link {
            controller: Some(5),
            kind: kind.to_owned(),
            ..link(index, name, mtu)
        };
        Links {
            links: vec![
                link(1, "lo", 65536),
                renamed,
                down,
                unplugged,
                link(5, "br0", 1500),
                port("veth7", 6, 1280, "veth"),
                port("bond0", 7, 1500, "bond"),
            ],
            default: Some(2),
            given: vec!["eth9".to_owned()],
        }
    }

    fn found(links: &Links, conf: Value) -> Vec<Finding> {
        let network = Network {
            label: "default/blue".to_owned(),
            source: Source::Inline(0, Value::Null),
            found: Ok(Found::of(NetConfList::from_value(conf).unwrap())),
            users: vec!["pod default/web".to_owned()],
        };
        check(links, &[network])
    }

    #[test]
    fn what_networks_lie_on_is_fine_if_it_is_there_and_wide_enough() {
        for conf in [
            json!({"type": "macvlan", "master": "eth1", "mtu": 1500}),
            json!({"type": "macvlan", "master": "storage-of-rack-17"}),
            json!({"type": "ipvlan"}),
            json!({"type": "vlan", "master": "inside", "linkInContainer": true}),
            json!({"type": "host-device", "device": "eth2"}),
            json!({"type": "host-device", "device": "eth9"}),
            json!({"type": "host-device", "pciBusID": "0000:00:1f.6"}),
            json!({"type": "bridge", "bridge": "br0", "mtu": 1400}),
            json!({"type": "bridge", "mtu": 9000}),
            json!({"plugins": [{"type": "ptp"}, {"type": "ipvlan"}]}),
            json!({"type": "unknown", "master": "eth7"}),
        ] {
            assert_eq!(found(&node(), conf.clone()), [], "{conf}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use Severity::{Fault, Warning};
        for (conf, severity, cause) in [
            (
                json!({"type": "macvlan", "master": "eth7"}),
                Fault,
                "interface eth7, the master of macvlan, is not on this node",
            ),
            (
                json!({"type": "ipvlan", "master": "eth2"}),
                Fault,
                "interface eth2, the master of ipvlan, is down",
            ),
            (
                json!({"type": "vlan", "master": "eth3"}),
                Warning,
                "interface eth3, the master of vlan, has no carrier",
            ),
            (
                json!({"type": "macvlan", "master": "eth1", "mtu": 9000}),
                Fault,
                "the network's MTU 9000 is above that of eth1, the master of macvlan: 1500",
            ),
            (
                json!({"type": "macvlan", "mtu": 1501}),
                Fault,
                "the network's MTU 1501 is above that of eth1",
            ),
            (
                json!({"type": "vlan", "vlanId": 5}),
                Fault,
                "vlan names no master, and takes none by itself",
            ),
            (
                json!({"type": "vlan", "vlanId": 5, "linkInContainer": true}),
                Fault,
                "vlan names no master, and takes none by itself",
            ),
            (
                json!({"type": "host-device", "device": "eth7"}),
                Fault,
                "interface eth7, the device of host-device, is not on this node",
            ),
            (
                json!({"type": "bridge", "bridge": "br0", "mtu": 9000}),
                Warning,
                "the network's MTU 9000 is above that of bond0, the port of its bridge br0: 1500",
            ),
        ] {
            let found = found(&node(), conf.clone());
            assert_eq!(found.len(), 1, "{conf}");
            assert_eq!(
                (
                    found[0].severity,
                    found[0].cause.as_str().starts_with(cause)
                ),
                (severity, true),
                "{found:?}"
            );
            assert!(
                found[0]
                    .evidence
                    .iter()
                    .any(|line| line == "network default/blue of pod default/web"),
                "{found:?}"
            );
        }
        let nowhere = Links::default();
        for (plugin, why) in [
            ("macvlan", "no default route"),
            ("vlan", "takes none by itself"),
        ] {
            let cause = &found(&nowhere, json!({"type": plugin}))[0].cause;
            assert!(cause.contains(why), "{cause}");
        }
    }
}
