//! Addresses as other IPAM plugins hold them, one by one, and the leases that they become.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;
use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::{ExportItem, Lease, Owner, lease};

use super::source::{LABEL, Source};
use crate::labels::PodName;
use crate::time::to_proto;

/// An address and its holder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// The address.
    pub(super) address: IpAddr,
    /// VRF of its pool.
    pub(super) vrf: String,
    /// The pool that it goes into, and the prefix length of the pool's subnet.
    pub(super) destination: Destination,
    /// Who has it.
    pub(super) holder: Holder,
    /// When it was allocated, if that is known.
    pub(super) since: Option<Timestamp>,
    /// Where it was read.
    pub(super) source: Source,
}

/// A pool, and the prefix length of its subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) pool: String,
    pub(super) prefix: u8,
}

/// Who has an address: an attachment, or a pod of which no more is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    /// CNI_CONTAINERID; empty: not known.
    pub(super) container: String,
    /// CNI_IFNAME.
    pub(super) ifname: String,
    /// The network that leases are filed under: the name of the CNI configuration, else NAMESPACE/NAME of the
    /// NetworkAttachmentDefinition.
    pub(super) network: String,
    /// The node; empty: not known.
    pub(super) node: String,
    /// The cluster; empty: there is one only.
    pub(super) cluster: String,
    /// The pod, if it is known.
    pub(super) pod: Option<PodName>,
    /// UID of the pod; empty: not known.
    pub(super) pod_uid: String,
}

impl Holder {
    fn into_owner(self) -> Owner {
        let attachment = !self.container.is_empty();
        let (namespace, name) = match self.pod {
            Some(pod) => (pod.namespace, pod.name),
            None => (String::new(), String::new()),
        };
        Owner {
            kind: match name.is_empty() {
                true => "container".to_owned(),
                false => "pod".to_owned(),
            },
            cluster: self.cluster,
            namespace,
            pod: name,
            pod_uid: self.pod_uid,
            // An attachment has container and interface, or neither.
            ifname: if attachment {
                self.ifname
            } else {
                String::new()
            },
            container_id: self.container,
            network: self.network,
            node: self.node,
            ..Owner::default()
        }
    }
}

/// Leases, an IPv4 and an IPv6 address of one attachment together; and a sentence for each address that cannot be
/// part of a lease.
pub(super) fn leases(held: Vec<Held>) -> (Vec<Lease>, Vec<String>) {
    let mut attachments: BTreeMap<(String, String, Option<PodName>), Vec<Held>> = BTreeMap::new();
    for one in held {
        let holder = &one.holder;
        let key = match holder.container.is_empty() {
            true => (String::new(), holder.ifname.clone(), holder.pod.clone()),
            false => (holder.container.clone(), holder.ifname.clone(), None),
        };
        attachments.entry(key).or_default().push(one);
    }
    let mut problems = Vec::new();
    let mut leases = Vec::new();
    for mut held in attachments.into_values() {
        held.sort_by_key(|one| one.address);
        of_attachment(held.into(), &mut leases, &mut problems);
    }
    leases.sort_by(|left, right| (&left.ipv4, &left.ipv6).cmp(&(&right.ipv4, &right.ipv6)));
    (leases, problems)
}

/// `held` is of one attachment or pod, IPv4 before IPv6.
fn of_attachment(mut held: VecDeque<Held>, leases: &mut Vec<Lease>, problems: &mut Vec<String>) {
    while let Some(first) = held.pop_front() {
        let pair = held.iter().position(|one| {
            one.address.is_ipv4() != first.address.is_ipv4()
                && one.destination.pool == first.destination.pool
        });
        let second = pair.and_then(|at| held.remove(at));
        leases.push(lease(&first, second.as_ref()));
        // What has no attachment may have several leases.
        if !first.holder.container.is_empty() {
            problems.extend(held.drain(..).map(|one| rest(&one, &first)));
        }
    }
}

/// Why an address is in no lease.
fn rest(one: &Held, first: &Held) -> String {
    let why = match one.destination.pool == first.destination.pool {
        true => "a lease holds one address a family".to_owned(),
        false => format!(
            "a lease is of one pool, and these are of {} and {}",
            first.destination.pool, one.destination.pool
        ),
    };
    format!(
        "{}: interface {} of container {} holds {} already; {why}",
        one.address, one.holder.ifname, one.holder.container, first.address
    )
}

fn lease(first: &Held, second: Option<&Held>) -> Lease {
    let mut lease = Lease {
        pool: first.destination.pool.clone(),
        vrf: first.vrf.clone(),
        state: lease::State::Active.into(),
        owner: Some(first.holder.clone().into_owner()),
        create_time: first.since.map(to_proto),
        ..Lease::default()
    };
    for one in std::iter::once(first).chain(second) {
        let whole = format!("{}/{}", one.address, one.destination.prefix);
        match one.address {
            IpAddr::V4(_) => lease.ipv4 = whole,
            IpAddr::V6(_) => lease.ipv6 = whole,
        }
    }
    let source = second.map_or(first.source, |second| first.source.max(second.source));
    lease
        .labels
        .insert(LABEL.to_owned(), source.name().to_owned());
    lease
}

/// As an import has it.
pub(super) fn item(item: Item) -> ExportItem {
    ExportItem { item: Some(item) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address that interface eth0 of a container of network blue holds.
    fn held(address: &str, container: &str, pool: &str) -> Held {
        let address: IpAddr = address.parse().expect("an address");
        Held {
            address,
            vrf: "default".to_owned(),
            destination: Destination {
                pool: pool.to_owned(),
                prefix: if address.is_ipv4() { 24 } else { 64 },
            },
            holder: Holder {
                container: container.to_owned(),
                ifname: "eth0".to_owned(),
                network: "blue".to_owned(),
                ..Holder::default()
            },
            since: None,
            source: Source::HostLocal,
        }
    }

    #[test]
    fn both_families_of_an_interface_become_one_lease() {
        let (leases, problems) = leases(vec![
            held("fd00::7", "a", "p"),
            held("10.0.0.7", "a", "p"),
            held("10.0.0.8", "b", "p"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let pairs: Vec<_> = leases
            .iter()
            .map(|lease| (lease.ipv4.as_str(), lease.ipv6.as_str()))
            .collect();
        assert_eq!(pairs, [("10.0.0.7/24", "fd00::7/64"), ("10.0.0.8/24", "")]);
        assert_eq!(
            leases[0].labels.get(LABEL).map(String::as_str),
            Some("host-local")
        );
    }

    #[test]
    fn what_does_not_fit_into_a_lease_is_reported() {
        let (leases, problems) = leases(vec![
            held("10.0.0.7", "a", "p"),
            held("10.0.0.8", "a", "p"),
            held("fd00::7", "a", "q"),
        ]);
        assert_eq!(leases.len(), 1);
        assert_eq!(
            problems,
            [
                "10.0.0.8: interface eth0 of container a holds 10.0.0.7 already; a lease holds one address a family",
                "fd00::7: interface eth0 of container a holds 10.0.0.7 already; a lease is of one pool, and these are of p and q",
            ]
        );
    }

    #[test]
    fn a_pod_whose_container_is_not_known_has_a_lease_for_each_address() {
        let mut of_pod = [
            held("10.0.0.7", "", "p"),
            held("10.0.0.8", "", "p"),
            held("fd00::7", "", "p"),
        ];
        for one in &mut of_pod {
            one.holder.pod = crate::labels::pod("ns/web").ok();
        }
        let (leases, problems) = leases(of_pod.into());
        assert!(problems.is_empty(), "{problems:?}");
        let summary: Vec<_> = leases
            .iter()
            .map(|lease| {
                let owner = lease.owner.clone().unwrap_or_default();
                (lease.ipv4.as_str(), lease.ipv6.as_str(), owner.ifname)
            })
            .collect();
        assert_eq!(
            summary,
            [
                ("10.0.0.7/24", "fd00::7/64", String::new()),
                ("10.0.0.8/24", "", String::new())
            ]
        );
    }
}
