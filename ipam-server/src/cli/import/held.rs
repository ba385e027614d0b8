//! Addresses as other IPAM plugins hold them, one by one, and the pairs that they become.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::{ExportItem, Lease, Owner, lease};

use crate::cli::labels::PodName;
use crate::cli::time::to_proto;

/// An address and its holder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// The address.
    pub(super) address: IpAddr,
    /// The prefix length of its pool's subnet.
    pub(super) prefix: u8,
    /// Pool that it goes into.
    pub(super) pool: String,
    /// VRF of that pool.
    pub(super) vrf: String,
    /// CNI_CONTAINERID.
    pub(super) container: String,
    /// CNI_IFNAME.
    pub(super) ifname: String,
    /// Name of the CNI network configuration.
    pub(super) network: String,
    /// The pod, if it is known.
    pub(super) pod: Option<PodName>,
    /// When it was given, if that is known.
    pub(super) since: Option<Timestamp>,
}

/// Leases, an IPv4 and an IPv6 address of one container and interface together; and a sentence for each address
/// that cannot be part of one.
pub(super) fn leases(held: Vec<Held>) -> (Vec<Lease>, Vec<String>) {
    let mut attachments: BTreeMap<(String, String), Vec<Held>> = BTreeMap::new();
    for one in held {
        let key = (one.container.clone(), one.ifname.clone());
        attachments.entry(key).or_default().push(one);
    }
    let mut problems = Vec::new();
    let mut leases: Vec<_> = attachments
        .into_values()
        .filter_map(|mut held| {
            held.sort_by_key(|one| one.address);
            lease(held, &mut problems)
        })
        .collect();
    leases.sort_by(|left, right| (&left.ipv4, &left.ipv6).cmp(&(&right.ipv4, &right.ipv6)));
    (leases, problems)
}

/// `held` is of one attachment, IPv4 before IPv6.
fn lease(held: Vec<Held>, problems: &mut Vec<String>) -> Option<Lease> {
    let mut held = held.into_iter();
    let first = held.next()?;
    let mut lease = begin(&first);
    for one in held {
        let other_family = first.address.is_ipv4() != one.address.is_ipv4();
        let whole = format!("{}/{}", one.address, one.prefix);
        if other_family && lease.ipv6.is_empty() && one.pool == first.pool {
            lease.ipv6 = whole;
        } else {
            let why = match one.pool == first.pool {
                true => "a lease holds one address a family".to_owned(),
                false => format!(
                    "a lease is of one pool, and these are of {} and {}",
                    first.pool, one.pool
                ),
            };
            problems.push(format!(
                "{}: interface {} of container {} holds {} already; {why}",
                one.address, one.ifname, one.container, first.address
            ));
        }
    }
    Some(lease)
}

fn begin(first: &Held) -> Lease {
    let whole = format!("{}/{}", first.address, first.prefix);
    let (ipv4, ipv6) = match first.address {
        IpAddr::V4(_) => (whole, String::new()),
        IpAddr::V6(_) => (String::new(), whole),
    };
    let pod = first.pod.clone();
    Lease {
        pool: first.pool.clone(),
        vrf: first.vrf.clone(),
        ipv4,
        ipv6,
        state: lease::State::Active.into(),
        owner: Some(Owner {
            kind: if pod.is_some() {
                "pod".to_owned()
            } else {
                "container".to_owned()
            },
            namespace: pod
                .as_ref()
                .map(|at| at.namespace.clone())
                .unwrap_or_default(),
            pod: pod.map(|at| at.name).unwrap_or_default(),
            container_id: first.container.clone(),
            ifname: first.ifname.clone(),
            network: first.network.clone(),
            ..Owner::default()
        }),
        create_time: first.since.map(to_proto),
        ..Lease::default()
    }
}

/// As an import has it.
pub(super) fn item(item: Item) -> ExportItem {
    ExportItem { item: Some(item) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(address: &str, container: &str, pool: &str) -> Held {
        let address: IpAddr = address.parse().expect("an address");
        Held {
            address,
            prefix: if address.is_ipv4() { 24 } else { 64 },
            pool: pool.to_owned(),
            vrf: "default".to_owned(),
            container: container.to_owned(),
            ifname: "eth0".to_owned(),
            network: "blue".to_owned(),
            pod: None,
            since: None,
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
    }

    #[test]
    fn what_does_not_fit_into_a_lease_is_told() {
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
}
