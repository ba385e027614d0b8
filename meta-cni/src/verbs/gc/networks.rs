//! The networks of the sandboxes that GC saw, and which of their attachments are valid.

use std::collections::{BTreeMap, BTreeSet};

use cni::chain::AttachmentId;
use cni::netconf::NetConfList;

use crate::ipam::config::TYPE;
use crate::ipam::request::network_of;
use crate::record::{Entry, Record};

/// The recorded networks, and the valid attachments of each CNI name. Plugins keep their state by this
/// name, and several networks can have it: the list for the plugins of one network must hold the valid
/// attachments of the others.
#[derive(Default)]
pub(super) struct Networks {
    lists: BTreeMap<Identity, NetConfList>,
    valid: BTreeMap<String, BTreeSet<AttachmentId>>,
    /// The same by each network that leases may be filed under.
    leasing: BTreeMap<String, BTreeSet<AttachmentId>>,
    known: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

/// The identity of a network: several networks can have one CNI name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    /// The CNI name.
    name: String,
    /// The name for people: each NetworkAttachmentDefinition has plugins of its own.
    network: String,
    /// The network that leases of meta-ipam are filed under: another one if Multus made the attachment, none
    /// if the network had another IPAM plugin then.
    leases: Option<String>,
}

impl Identity {
    fn of(entry: &Entry) -> Identity {
        let list = &entry.attachment.list;
        Identity {
            name: list.name.clone(),
            network: entry.attachment.network.clone(),
            leases: leases_of(list),
        }
    }
}

/// The network that leases of a list are filed under, if it leases by meta-ipam.
fn leases_of(list: &NetConfList) -> Option<String> {
    let mut ours = list.plugins.iter();
    let ours = ours.find(|plugin| plugin.ipam_type() == Some(TYPE))?;
    Some(network_of(ours.as_map()).to_owned())
}

impl Networks {
    /// A sandbox that the runtime knows.
    pub(super) fn add_valid(&mut self, record: &Record) {
        self.add_gone(record);
        for attachment in record.attachments() {
            let name = attachment.list.name.clone();
            let id = AttachmentId {
                container_id: record.container_id.clone(),
                ifname: attachment.ifname.clone(),
            };
            // An import filed leases under the network, whatever IPAM plugin the record has.
            let of_network = [
                Some(attachment.network.clone()),
                leases_of(&attachment.list),
            ];
            for network in of_network.into_iter().flatten() {
                self.leasing.entry(network).or_default().insert(id.clone());
            }
            self.valid.entry(name).or_default().insert(id);
        }
    }

    /// A sandbox that is being deleted: its networks may have garbage of it.
    pub(super) fn add_gone(&mut self, record: &Record) {
        self.known.insert(record.container_id.clone());
        for entry in &record.attachments {
            self.lists
                .entry(Identity::of(entry))
                .or_insert_with(|| entry.attachment.list.clone());
        }
    }

    /// A sandbox whose networks are unknown.
    pub(super) fn add_unknown(&mut self, container_id: &str) {
        self.unknown.insert(container_id.to_owned());
    }

    /// A sandbox that the runtime lists and that may not be recorded.
    pub(super) fn add_unless_known(&mut self, container_id: &str) {
        if !self.known.contains(container_id) {
            self.add_unknown(container_id);
        }
    }

    /// The unknown sandboxes, if any.
    pub(super) fn unknown(&self) -> Option<String> {
        let all: Vec<&str> = self.unknown.iter().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Every network once.
    pub(super) fn lists(&self) -> impl Iterator<Item = &NetConfList> {
        self.lists.values()
    }

    /// Whether a network has this CNI name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lists.keys().any(|identity| identity.name == name)
    }

    /// The valid attachments of all networks that have this CNI name.
    pub(super) fn valid(&self, name: &str) -> Vec<AttachmentId> {
        let valid = self.valid.get(name).into_iter().flatten();
        valid.cloned().collect()
    }

    /// The attachments that may hold leases of a network: all that lease under the same network, also those from before the
    /// network got its CNI name, and all of its CNI name.
    pub(super) fn valid_leases(&self, list: &NetConfList) -> Vec<AttachmentId> {
        let of_network = leases_of(list).and_then(|network| self.leasing.get(&network));
        let of_name = self.valid.get(&list.name);
        let all: BTreeSet<_> = of_network.into_iter().chain(of_name).flatten().collect();
        all.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::attachment::Attachment;

    /// The record of a container with one attachment.
    fn record(container_id: &str, network: &str, conf: Value) -> Record {
        let attachment = Attachment {
            network: network.to_owned(),
            ifname: "net1".to_owned(),
            args: String::new(),
            list: NetConfList::from_value(conf).unwrap(),
            check_by_plugins: false,
            default_route: None,
            device: None,
            device_info_file: None,
        };
        Record::planned(container_id, "/run/netns/pod", None, vec![attachment])
    }

    fn leasing(network: Option<&str>) -> Value {
        let mut ipam = json!({"type": "meta-ipam", "pool": "p"});
        if let Some(network) = network {
            ipam["network"] = json!(network);
        }
        json!({"name": "blue", "type": "bridge", "ipam": ipam})
    }

    fn containers(networks: &Networks, name: &str) -> Vec<String> {
        let valid = networks.valid(name).into_iter();
        valid.map(|id| id.container_id).collect()
    }

    #[test]
    fn networks_of_one_name_share_one_list_of_valid_attachments() {
        let mut networks = Networks::default();
        networks.add_valid(&record("c1", "shop/blue", leasing(Some("shop/blue"))));
        networks.add_valid(&record("c2", "other/blue", leasing(Some("other/blue"))));
        networks.add_valid(&record("c3", "other/blue", leasing(Some("other/blue"))));
        networks.add_gone(&record("c4", "third/blue", leasing(Some("third/blue"))));
        networks.add_valid(&record(
            "c5",
            "shop/red",
            json!({"name": "red", "type": "ptp"}),
        ));
        assert_eq!(containers(&networks, "blue"), ["c1", "c2", "c3"]);
        assert_eq!(containers(&networks, "red"), ["c5"]);
        let leases: Vec<_> = networks
            .lists()
            .map(|list| network_of(list.plugins[0].as_map()))
            .collect();
        assert_eq!(leases, ["other/blue", "shop/blue", "third/blue", "red"]);
        assert!(networks.has("red") && !networks.has("green"));
    }

    #[test]
    fn a_network_that_got_another_name_keeps_the_leases_of_its_pods() {
        let mut networks = Networks::default();
        let named = |name: &str| {
            let mut conf = leasing(Some("shop/blue"));
            conf["name"] = json!(name);
            conf
        };
        networks.add_valid(&record("c1", "shop/blue", named("before")));
        networks.add_valid(&record("c2", "shop/blue", named("after")));
        let imported = json!({"name": "older", "type": "bridge", "ipam": {"type": "host-local"}});
        networks.add_valid(&record("c3", "shop/blue", imported));
        networks.add_valid(&record("c4", "bank/blue", leasing(Some("bank/blue"))));
        let valid = |list: &NetConfList| -> Vec<String> {
            let valid = networks.valid_leases(list).into_iter();
            valid.map(|id| id.container_id).collect()
        };
        let all: Vec<_> = networks
            .lists()
            .filter(|list| leases_of(list).is_some())
            .collect();
        let of = |name: &str| {
            all.iter()
                .find(|list| list.name == name)
                .map(|list| valid(list))
        };
        for name in ["before", "after"] {
            assert_eq!(of(name).unwrap(), ["c1", "c2", "c3"], "{name}");
        }
        assert_eq!(of("blue").unwrap(), ["c4"]);
    }

    #[test]
    fn leases_that_multus_had_filed_under_the_bare_name_are_collected_too() {
        let mut networks = Networks::default();
        networks.add_valid(&record("c1", "shop/blue", leasing(Some("shop/blue"))));
        networks.add_valid(&record("c2", "shop/blue", leasing(None)));
        let leases: Vec<_> = networks
            .lists()
            .map(|list| network_of(list.plugins[0].as_map()))
            .collect();
        assert_eq!(leases, ["blue", "shop/blue"]);
    }

    #[test]
    fn a_network_of_which_older_pods_had_another_ipam_plugin_is_collected_as_each_of_them() {
        let mut networks = Networks::default();
        let before = json!({"name": "blue", "type": "bridge", "ipam": {"type": "host-local"}});
        networks.add_valid(&record("c1", "shop/blue", before));
        networks.add_valid(&record("c2", "shop/blue", leasing(None)));
        let ipam = |list: &NetConfList| list.plugins[0].ipam_type().map(str::to_owned);
        let types: Vec<_> = networks.lists().filter_map(ipam).collect();
        assert_eq!(types, ["host-local", "meta-ipam"]);
        assert_eq!(containers(&networks, "blue"), ["c1", "c2"]);
    }

    #[test]
    fn a_sandbox_of_which_nothing_is_recorded_is_unknown() {
        let mut networks = Networks::default();
        networks.add_valid(&record("c1", "shop/blue", leasing(None)));
        networks.add_unless_known("c1");
        assert_eq!(networks.unknown(), None);
        networks.add_unless_known("c3");
        networks.add_unknown("c2");
        assert_eq!(networks.unknown().as_deref(), Some("c2, c3"));
    }
}
