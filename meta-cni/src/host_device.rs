//! Devices that the host-device plugin moved into a pod whose namespace ended before DEL: the kernel gives physical ones back
//! to the host under the pod's name of them. The plugin, which would have given them their own name back, can do nothing any
//! more; the next pod would not find its device. The name is where the plugin wrote it: in the device's alias.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cni::netconf::PluginConf;
use netlink::{Link, Netlink, NetlinkError};

use crate::record::Entry;

/// The plugin's name.
const PLUGIN: &str = "host-device";
/// How long the kernel may take to give a device back after its namespace has ended: it does so in the background.
const LIMIT: Duration = Duration::from_secs(1);
/// The pause before another try.
const PAUSE: Duration = Duration::from_millis(20);
/// Where the kernel lists the devices of the PCI bus (sysfs(5)).
const PCI_DEVICES: &str = "/sys/bus/pci/devices";

/// A device that a plugin moved into a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Moved {
    /// Its name in the pod, CNI_IFNAME.
    ifname: String,
    /// Its name in the host, if the configuration has it.
    device: Option<String>,
    /// Its hardware address in the pod, if ADD succeeded.
    mac: Option<String>,
    /// Its address on the PCI bus, if it was chosen by that.
    pci: Option<String>,
}

/// Gives the devices of deleted attachments their own names back. The namespace of these attachments is gone. A failure is
/// logged.
pub fn restore_names<'a>(deleted: impl Iterator<Item = &'a Entry>) {
    let mut moved: Vec<Moved> = deleted.filter_map(moved).collect();
    let end = Instant::now() + LIMIT;
    while !moved.is_empty() {
        if let Err(error) = restore_found(&mut moved) {
            let error = cni::error::with_causes(&error);
            tracing::warn!(error, "a device of host-device may keep the pod's name");
            return;
        }
        if Instant::now() >= end {
            break;
        }
        sleep(PAUSE);
    }
}

/// What the host-device plugin of an attachment moved, if it has one.
fn moved(entry: &Entry) -> Option<Moved> {
    let ifname = &entry.attachment.ifname;
    let mut plugins = entry.attachment.list.plugins.iter();
    let conf = plugins.find(|plugin| plugin.plugin_type() == PLUGIN)?;
    let interfaces = entry.result.iter().flat_map(|result| &result.interfaces);
    let mut inside = interfaces.filter(|interface| interface.sandbox.is_some());
    let mac = inside
        .find(|interface| interface.name == *ifname)
        .and_then(|interface| interface.mac.clone());
    Some(Moved {
        ifname: ifname.clone(),
        device: text(conf, &["device"]),
        mac: mac.filter(|mac| !mac.is_empty()),
        pci: text(conf, &["runtimeConfig", "deviceID"]).or_else(|| text(conf, &["pciBusID"])),
    })
}

fn text(conf: &PluginConf, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let value = rest
        .iter()
        .try_fold(conf.get(first)?, |value, key| value.get(key))?;
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Drops those that have their names, or get them now.
fn restore_found(moved: &mut Vec<Moved>) -> Result<(), NetlinkError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let mut outcome = Ok(());
    moved.retain(|one| {
        if has_its_name(one, &links) {
            return false;
        }
        let Some(link) = links.iter().find(|link| is_it(one, link, is_at)) else {
            return true;
        };
        let renamed = netlink.rename(link.index, &link.alias);
        if renamed.is_ok() {
            tracing::info!(
                device = link.alias,
                ifname = link.name,
                "a device has its name back"
            );
        }
        outcome = std::mem::replace(&mut outcome, Ok(())).and(renamed);
        false
    });
    outcome
}

/// Whether the host has the device under its own name.
fn has_its_name(moved: &Moved, links: &[Link]) -> bool {
    links.iter().any(|link| match &moved.device {
        Some(device) => link.name == *device,
        None => has_mac(moved, link) && (link.alias.is_empty() || link.alias == link.name),
    })
}

/// Whether a link of the host is what was moved, under another name than its own. `is_at` says whether a link of this name is
/// at an address of the PCI bus.
fn is_it(moved: &Moved, link: &Link, is_at: impl Fn(&str, &str) -> bool) -> bool {
    // If the pod's name of it is taken, the kernel calls it dev and its index (default_device_exit_net).
    let is_called_so = link.name == moved.ifname || link.name.starts_with("dev");
    let has_other_name = !link.alias.is_empty() && link.alias != link.name;
    let is_asked_for = moved
        .device
        .as_ref()
        .is_none_or(|device| link.alias == *device);
    let is_known = match (&moved.mac, &moved.pci) {
        (Some(_), _) => has_mac(moved, link),
        (None, Some(pci)) => is_at(pci, &link.name),
        (None, None) => moved.device.is_some(),
    };
    is_called_so && has_other_name && is_asked_for && is_known
}

fn has_mac(moved: &Moved, link: &Link) -> bool {
    let mac = moved.mac.as_ref();
    mac.is_some_and(|mac| mac.eq_ignore_ascii_case(&link.mac))
}

fn is_at(pci: &str, name: &str) -> bool {
    Path::new(PCI_DEVICES)
        .join(pci)
        .join("net")
        .join(name)
        .exists()
}

#[cfg(test)]
mod tests {
    use cni::netconf::NetConfList;
    use cni::result::CniResult;
    use cni::version::Version;
    use serde_json::{Value, json};

    use super::*;
    use crate::attachment::Attachment;

    const MAC: &str = "02:00:00:00:00:07";

    fn link(name: &str, alias: &str, mac: &str) -> Link {
        Link {
            name: name.to_owned(),
            alias: alias.to_owned(),
            mac: mac.to_owned(),
            ..Link::default()
        }
    }

    fn by_name(mac: Option<&str>) -> Moved {
        Moved {
            ifname: "net1".to_owned(),
            device: Some("ens7".to_owned()),
            mac: mac.map(str::to_owned),
            pci: None,
        }
    }

    fn by_pci() -> Moved {
        Moved {
            ifname: "net1".to_owned(),
            pci: Some("0000:03:02.1".to_owned()),
            ..Moved::default()
        }
    }

    #[test]
    fn a_device_is_known_by_its_alias_and_by_its_address() {
        let upper = MAC.to_ascii_uppercase();
        let cases = [
            (
                "under the pod's name",
                by_name(Some(MAC)),
                link("net1", "ens7", MAC),
                true,
            ),
            (
                "in capitals",
                by_name(Some(&upper)),
                link("net1", "ens7", MAC),
                true,
            ),
            (
                "the pod's name was taken",
                by_name(Some(MAC)),
                link("dev7", "ens7", MAC),
                true,
            ),
            (
                "ADD never succeeded",
                by_name(None),
                link("net1", "ens7", MAC),
                true,
            ),
            (
                "another one's name",
                by_name(Some(MAC)),
                link("eth0", "ens7", MAC),
                false,
            ),
            (
                "another one's alias",
                by_name(Some(MAC)),
                link("net1", "ens8", MAC),
                false,
            ),
            (
                "another address",
                by_name(Some(MAC)),
                link("net1", "ens7", "02::8"),
                false,
            ),
            ("no alias", by_name(Some(MAC)), link("net1", "", MAC), false),
            (
                "its own name",
                by_name(Some(MAC)),
                link("net1", "net1", MAC),
                false,
            ),
            (
                "at its place on the bus",
                by_pci(),
                link("net1", "ens7", MAC),
                true,
            ),
            (
                "elsewhere on the bus",
                by_pci(),
                link("dev9", "ens9", MAC),
                false,
            ),
        ];
        for (case, moved, link, expected) in cases {
            let is_at = |pci: &str, name: &str| pci == "0000:03:02.1" && name == "net1";
            assert_eq!(is_it(&moved, &link, is_at), expected, "{case}");
        }
    }

    #[test]
    fn a_device_that_has_its_name_is_left_alone() {
        let own = [link("ens7", "", MAC)];
        assert!(has_its_name(&by_name(Some(MAC)), &own));
        assert!(!has_its_name(
            &by_name(Some(MAC)),
            &[link("net1", "ens7", MAC)]
        ));
        let added = Moved {
            mac: Some(MAC.to_owned()),
            ..by_pci()
        };
        assert!(has_its_name(&added, &own));
        assert!(!has_its_name(&by_pci(), &own));
    }

    #[test]
    fn what_was_moved_stands_in_the_record() {
        let entry = |conf: Value, result: Option<Value>| {
            let attachment = Attachment {
                network: "shop/vf".to_owned(),
                ifname: "net1".to_owned(),
                args: String::new(),
                list: NetConfList::from_value(conf).unwrap(),
                check_by_plugins: false,
                default_route: None,
                device: None,
                device_info_file: None,
            };
            Entry {
                result: result.map(|value| CniResult::from_value(&value, Version::LATEST).unwrap()),
                ..Entry::planned(attachment)
            }
        };
        let conf =
            json!({"cniVersion": "1.0.0", "name": "hd", "type": "host-device", "device": "ens7"});
        let result = json!({"interfaces": [{"name": "net1", "mac": MAC, "sandbox": "/n"}]});
        assert_eq!(moved(&entry(conf, Some(result))), Some(by_name(Some(MAC))));
        let conf = json!({"cniVersion": "1.0.0", "name": "hd", "type": "host-device",
            "runtimeConfig": {"deviceID": "0000:03:02.1"}});
        assert_eq!(moved(&entry(conf, None)), Some(by_pci()));
        let conf = json!({"cniVersion": "1.0.0", "name": "br", "type": "bridge"});
        assert_eq!(moved(&entry(conf, None)), None);
    }
}
