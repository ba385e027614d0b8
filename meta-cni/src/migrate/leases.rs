//! The leases in the place of what whereabouts has allocated: one for each attachment of a running pod, with the owner that
//! its own ADD would have leased by, so that DEL, GC and ReclaimOrphans find the lease.

mod claims;
mod holder;

use std::collections::BTreeMap;
use std::net::IpAddr;

use proto::ipam::v1::{Lease, Owner, lease};

use super::cache::Cached;
use super::network::Network;
use super::objects::{Objects, PodName};
use super::obstacle::Obstacle;
use super::pools::{Leasable, PoolPlan, Pools};
use claims::Claims;
use holder::{Holders, Holding};

/// The label of a lease that an import made, as `ipamctl import` sets it.
pub(super) const LABEL: &str = "meta-cni.io/imported-from";

/// What is leased, and what is not.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    pub(super) leases: Vec<Lease>,
    pub(super) obstacles: Vec<Obstacle>,
}

/// One attachment and the pool of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    pool: String,
    /// Empty: not known.
    container: String,
    pod: Option<PodName>,
    ifname: String,
}

/// Plans the leases of everything that holds an address of a pool; `existing` are leases of today.
pub(super) fn plan(
    objects: &Objects,
    cache: &[Cached],
    networks: &[Network],
    pools: &Pools,
    existing: &[Lease],
) -> Leases {
    let claims = Claims::of(objects, cache, networks);
    let mut planned = Leases {
        obstacles: claims.obstacles.clone(),
        ..Leases::default()
    };
    let holders = Holders::new(objects, cache, networks, &claims, existing);
    let mut attachments: BTreeMap<Key, Vec<Holding>> = BTreeMap::new();
    for (place, claimed) in &claims.of_address {
        let Some(plan) = pool_of(pools, networks, &place.network_name, place.address) else {
            continue;
        };
        let Some(holding) = holders.holding(place, claimed, &mut planned.obstacles) else {
            continue;
        };
        if let Some(why) = refused(plan, place.address) {
            planned
                .obstacles
                .push(holding.unleasable(&plan.pool.name, why));
            continue;
        }
        let key = Key {
            pool: plan.pool.name.clone(),
            container: holding.container.clone(),
            pod: holding.pod.clone(),
            ifname: holding.ifname.clone(),
        };
        attachments.entry(key).or_default().push(holding);
    }
    for (key, holdings) in attachments {
        planned.add(&key, &holdings, pools);
    }
    planned.obstacles.sort();
    planned.obstacles.dedup();
    planned
}

/// The pool of the networks that lease an address.
fn pool_of<'p>(
    pools: &'p Pools,
    networks: &[Network],
    network_name: &str,
    address: IpAddr,
) -> Option<&'p PoolPlan> {
    let mut of_address = networks.iter().filter(|network| {
        let has = |one: &super::ipam::Setting| one.cidr.contains(address);
        network.ipam.network_name == network_name && network.ipam.settings.iter().any(has)
    });
    of_address.find_map(|network| pools.of(&network.name))
}

/// Why a pool never leases an address.
fn refused(plan: &PoolPlan, address: IpAddr) -> Option<&'static str> {
    let subnet = match address {
        IpAddr::V4(_) => plan.pool.ipv4.as_ref(),
        IpAddr::V6(_) => plan.pool.ipv6.as_ref(),
    };
    match subnet.and_then(Leasable::of) {
        Some(leasable) => leasable.refuses(address),
        None => Some("is outside of the ranges"),
    }
}

impl Leases {
    /// Pairs of the addresses of an attachment: one lease, or several where the container is not known.
    fn add(&mut self, key: &Key, holdings: &[Holding], pools: &Pools) {
        let of = |is_ipv4: bool| {
            holdings
                .iter()
                .filter(move |one| one.address.is_ipv4() == is_ipv4)
        };
        let (mut four, mut six) = (of(true), of(false));
        loop {
            let pair = (four.next(), six.next());
            let Some(first) = pair.0.or(pair.1) else {
                return;
            };
            let is_further = self.leases.last().is_some_and(|last| is_of(last, key));
            if is_further && !key.container.is_empty() {
                for holding in [pair.0, pair.1].into_iter().flatten() {
                    self.obstacles.push(holding.further());
                }
                continue;
            }
            if key.container.is_empty() {
                self.obstacles.push(first.nameless());
            }
            let plan = pools.plans.iter().find(|plan| plan.pool.name == key.pool);
            if let Some(plan) = plan {
                let lease = lease(key, first, pair, plan);
                self.leases.push(lease);
            }
        }
    }
}

fn is_of(lease: &Lease, key: &Key) -> bool {
    let owner = lease.owner.as_ref();
    owner.is_some_and(|owner| owner.container_id == key.container && owner.ifname == key.ifname)
}

fn lease(
    key: &Key,
    first: &Holding,
    (four, six): (Option<&Holding>, Option<&Holding>),
    plan: &PoolPlan,
) -> Lease {
    let whole = |holding: Option<&Holding>| match holding {
        Some(holding) => {
            let subnet = match holding.address {
                IpAddr::V4(_) => plan.pool.ipv4.as_ref(),
                IpAddr::V6(_) => plan.pool.ipv6.as_ref(),
            };
            let prefix = subnet.and_then(|subnet| subnet.cidr.split('/').nth(1));
            format!("{}/{}", holding.address, prefix.unwrap_or_default())
        }
        None => String::new(),
    };
    let is_attachment = !key.container.is_empty();
    let of_attachment = |text: &str| match is_attachment {
        true => text.to_owned(),
        false => String::new(),
    };
    let (namespace, pod) = match &key.pod {
        Some(pod) => (pod.namespace.clone(), pod.name.clone()),
        None => (String::new(), String::new()),
    };
    Lease {
        pool: plan.pool.name.clone(),
        vrf: plan.pool.vrf.clone(),
        ipv4: whole(four),
        ipv6: whole(six),
        owner: Some(Owner {
            kind: "pod".to_owned(),
            namespace,
            pod,
            pod_uid: first.uid.clone(),
            container_id: key.container.clone(),
            ifname: of_attachment(&key.ifname),
            network: of_attachment(&first.network),
            node: first.node.clone(),
            ..Owner::default()
        }),
        state: lease::State::Active.into(),
        labels: [(LABEL.to_owned(), super::ipam::TYPE.to_owned())].into(),
        ..Lease::default()
    }
}

#[cfg(test)]
mod tests;
