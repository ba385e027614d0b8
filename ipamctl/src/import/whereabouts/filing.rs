//! Under which network a lease is filed: what DEL and GC of its pod ask for.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::dump::Dump;
use super::networks::Network;
use super::pods::Pod;
use crate::labels::PodName;

/// Files leases, and notes each range whose network is a guess.
pub(super) struct Filing<'d> {
    dump: &'d Dump,
    /// The network of all leases, if the command line names it.
    given: Option<&'d str>,
    /// IPPools that are noted.
    noted: BTreeSet<String>,
    /// Sentences that a person should read.
    pub(super) notes: Vec<String>,
}

impl<'d> Filing<'d> {
    pub(super) fn new(dump: &'d Dump, given: Option<&'d str>) -> Filing<'d> {
        Filing {
            dump,
            given,
            noted: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    /// The networks that lease from a range.
    pub(super) fn networks(
        &self,
        network_name: &str,
        cidr: IpNetwork,
    ) -> impl Iterator<Item = &'d Network> {
        self.dump.networks.iter().filter(move |network| {
            network.network_name == network_name
                && network.settings.iter().any(|setting| setting.cidr == cidr)
        })
    }

    /// The network of a holder's lease, and whether that is certain. `range` is an IPPool's name, and the range that
    /// networks name.
    pub(super) fn network(
        &mut self,
        network_name: &str,
        range: Option<(&str, IpNetwork)>,
        name: Option<&PodName>,
        pod: Option<&Pod>,
        ifname: &str,
    ) -> (String, bool) {
        if let Some(given) = self.given {
            return (given.to_owned(), true);
        }
        let interface = pod.and_then(|pod| pod.interface(ifname));
        let of_status = interface.and_then(|interface| {
            let mut all = self.dump.networks.iter();
            all.find(|network| network.full_name == interface.name)
        });
        if let Some(network) = of_status {
            return (network.owner.clone(), true);
        }
        let Some((pool, cidr)) = range else {
            let guess = match network_name {
                "" => "whereabouts",
                name => name,
            };
            return (guess.to_owned(), false);
        };
        let owners = self.owners(network_name, cidr, name);
        let network = match owners.first() {
            Some(first) => (*first).to_owned(),
            None if network_name.is_empty() => pool.to_owned(),
            None => network_name.to_owned(),
        };
        let why = match owners.len() {
            0 => "no NetworkAttachmentDefinition of the file leases from it",
            1 => return (network, true),
            _ => "several networks lease from it, and no pod of the file names which one",
        };
        if self.noted.insert(pool.to_owned()) {
            self.notes.push(format!(
                "IPPool {pool}: {why}; leases are filed under {network}, DEL finds them only if that is the network's name (--network), and GC does not"
            ));
        }
        (network, false)
    }

    /// What the leases of the networks of a range are filed under: those of the pod's namespace, if there are any.
    fn owners(
        &self,
        network_name: &str,
        cidr: IpNetwork,
        name: Option<&PodName>,
    ) -> BTreeSet<&'d str> {
        let all = || self.networks(network_name, cidr);
        let near = |network: &&Network| name.is_some_and(|pod| pod.namespace == network.namespace);
        let owners: BTreeSet<&str> = all()
            .filter(near)
            .map(|network| network.owner.as_str())
            .collect();
        match owners.is_empty() {
            true => all().map(|network| network.owner.as_str()).collect(),
            false => owners,
        }
    }
}
