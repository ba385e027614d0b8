//! The interfaces of this node that networks lie on: there, up, and with an MTU that is large enough.

use cni::netconf::PluginConf;
use netlink::{Link, NetlinkError};
use serde_json::Value;

use super::finding::{Area, Finding};
use super::networks::Network;
use crate::record::Record;
use crate::underlay::{Interfaces, Parent, parent, text};

/// What is seen of this node's interfaces.
#[derive(Default)]
pub(super) struct Links {
    there: Interfaces,
    /// Devices that pods have: they are in the pods' namespaces.
    given: Vec<String>,
}

/// Lists them.
pub(super) fn inspect<'r>(
    records: impl Iterator<Item = &'r Record>,
) -> Result<Links, NetlinkError> {
    let given = records
        .flat_map(Record::attachments)
        .flat_map(|attachment| &attachment.list.plugins);
    Ok(Links {
        there: Interfaces::list()?,
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
        let missing = self.there.missing_master(plugin, parent);
        let found = match (parent, missing) {
            (Parent::Master(name), Some(cause)) => self.absent(cause, name, "master"),
            (_, Some(cause)) => Finding::fault(Area::Link, cause, "name a master in the network"),
            (Parent::Master(name), None) => {
                let link = self.there.named(name)?;
                state(link, plugin).or_else(|| too_large(mtu, link, plugin))?
            }
            (Parent::DefaultRoute, None) => too_large(mtu, self.there.of_default_route()?, plugin)?,
            (Parent::Device(name), None) => match self.there.named(name) {
                None if !self.given.contains(name) => {
                    let kind = plugin.plugin_type();
                    let cause =
                        format!("interface {name}, the device of {kind}, is not on this node");
                    self.absent(cause, name, "device")
                }
                _ => return None,
            },
            (Parent::Bridge(name), None) => self.narrow_port(name, mtu)?,
            (Parent::Unnamed, None) => return None,
        };
        Some(found.seen(network.described()))
    }

    fn absent(&self, cause: String, name: &str, key: &str) -> Finding {
        let remedy =
            format!("correct `{key}` in the network, or make the interface {name} on this node");
        let names: Vec<_> = self
            .there
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
        let index = self.there.named(bridge)?.index;
        let ports = self
            .there
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
    let remedy = "check its cable, its switch, or the interface below it";
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

#[cfg(test)]
mod tests {
    use cni::netconf::NetConfList;
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
        let there = Interfaces {
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
        };
        Links {
            there,
            given: vec!["eth9".to_owned()],
        }
    }

    fn found(links: &Links, conf: Value) -> Vec<Finding> {
        let network = Network {
            label: "default/blue".to_owned(),
            source: Source::Inline(0, Value::Null),
            found: Ok(Found::of(NetConfList::from_value(conf).unwrap()).unwrap()),
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
