//! Who holds an address of several that claim it, and what its lease is filed under.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proto::ipam::v1::Lease;

use super::super::cache::Cached;
use super::super::network::Network;
use super::super::objects::{Objects, PodName, PodSeen};
use super::super::obstacle::Obstacle;
use super::claims::{Claim, Claims, Place};

/// The interface of a holder that names none, as old versions wrote it: Multus' first.
const FIRST_INTERFACE: &str = "net1";

/// Who holds an address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holding {
    pub(super) address: IpAddr,
    /// Empty: not known.
    pub(super) container: String,
    pub(super) pod: Option<PodName>,
    pub(super) uid: String,
    pub(super) node: String,
    pub(super) ifname: String,
    /// NAMESPACE/NAME of the network, by which DEL and GC find the lease.
    pub(super) network: String,
}

/// What is known of holders.
pub(super) struct Holders<'o> {
    objects: &'o Objects,
    cache: &'o [Cached],
    networks: &'o [Network],
    /// The containers of a pod that whereabouts names.
    containers: BTreeMap<&'o PodName, BTreeSet<&'o str>>,
    /// The containers of leases of today, by address and pod.
    leased: BTreeMap<(IpAddr, PodName), &'o str>,
}

impl<'o> Holders<'o> {
    pub(super) fn new(
        objects: &'o Objects,
        cache: &'o [Cached],
        networks: &'o [Network],
        claims: &'o Claims,
        leases: &'o [Lease],
    ) -> Holders<'o> {
        let mut containers: BTreeMap<&PodName, BTreeSet<&str>> = BTreeMap::new();
        for claim in claims.of_address.values().flatten() {
            if let Some(pod) = &claim.pod
                && !claim.container.is_empty()
            {
                containers.entry(pod).or_default().insert(&claim.container);
            }
        }
        Holders {
            objects,
            cache,
            networks,
            containers,
            leased: leases.iter().flat_map(leased).collect(),
        }
    }

    /// The holder of an address: the first claim of a running pod, before all one whose status has the address.
    pub(super) fn holding(
        &self,
        place: &Place,
        claims: &[Claim],
        obstacles: &mut Vec<Obstacle>,
    ) -> Option<Holding> {
        let address = place.address;
        let mut live = Vec::new();
        for claim in claims {
            match self.over(address, claim) {
                Some(reason) => obstacles.push(Obstacle::new(
                    format!("{address} ({})", claim.source),
                    reason,
                    "it is not leased; remove the entry of whereabouts",
                )),
                None => live.push(claim),
            }
        }
        let has_it = |claim: &&&Claim| {
            let pod = self.pod(claim);
            pod.is_some_and(|pod| pod.with_address(address).is_some())
        };
        let claim = *live.iter().find(has_it).or(live.first())?;
        for other in live.iter().filter(|other| other.pod != claim.pod) {
            obstacles.push(Obstacle::new(
                format!("{address} ({})", other.source),
                format!(
                    "{} holds the same address, and has the lease",
                    describe(claim)
                ),
                format!("make {} anew: it gets another address", describe(other)),
            ));
        }
        Some(self.filed(place, claim))
    }

    /// Why the pod of a claim does not hold the address any more.
    fn over(&self, address: IpAddr, claim: &Claim) -> Option<String> {
        let name = claim.pod.as_ref()?;
        let Some(pod) = self.objects.pods.get(name) else {
            return Some(format!("pod {name} does not exist any more"));
        };
        if pod.has_ended {
            return Some(format!("pod {name} has ended"));
        }
        let of_family = |other: &&IpAddr| other.is_ipv4() == address.is_ipv4();
        let interface = pod.interface(&claim.ifname)?;
        let mut others = interface.ips.iter().filter(of_family);
        match interface.ips.contains(&address) {
            true => None,
            false => others
                .next()
                .map(|other| format!("{} of pod {name} has {other} by now", interface.interface)),
        }
    }

    fn pod(&self, claim: &Claim) -> Option<&'o PodSeen> {
        self.objects.pods.get(claim.pod.as_ref()?)
    }

    /// What the lease is filed under.
    fn filed(&self, place: &Place, claim: &Claim) -> Holding {
        let address = place.address;
        let pod = self.pod(claim);
        let cached = self.cached(address, claim, pod);
        let by_pod = pod.and_then(|pod| pod.with_address(address));
        let ifname = [
            Some(claim.ifname.as_str()),
            by_pod.map(|one| one.interface.as_str()),
            cached.map(|one| one.ifname.as_str()),
        ];
        let ifname = ifname.into_iter().flatten().find(|name| !name.is_empty());
        let ifname = ifname.unwrap_or(FIRST_INTERFACE).to_owned();
        let of_pod = claim.pod.as_ref().and_then(|pod| self.containers.get(pod));
        // All interfaces of a pod are of one container; two of them say nothing.
        let only = of_pod.filter(|all| all.len() == 1);
        let leased = || {
            let pod = claim.pod.clone()?;
            self.leased.get(&(address, pod)).copied()
        };
        let named = Some(claim.container.as_str()).filter(|container| !container.is_empty());
        let container = named
            .or(cached.map(|cached| cached.container.as_str()))
            .or_else(leased)
            .or(only.and_then(|all| all.first().copied()));
        Holding {
            address,
            container: container.unwrap_or_default().to_owned(),
            network: self.network(place, claim, pod, &ifname),
            pod: claim.pod.clone(),
            uid: pod.map(|pod| pod.uid.clone()).unwrap_or_default(),
            node: pod.map(|pod| pod.node.clone()).unwrap_or_default(),
            ifname,
        }
    }

    fn cached(&self, address: IpAddr, claim: &Claim, pod: Option<&PodSeen>) -> Option<&Cached> {
        let is_of = |one: &&Cached| {
            let same_uid = pod
                .is_none_or(|pod| pod.uid.is_empty() || one.uid.is_empty() || pod.uid == one.uid);
            Some(&one.pod) == claim.pod.as_ref() && same_uid && one.ips.contains(&address)
        };
        self.cache.iter().find(is_of)
    }

    /// The network of the pod's status, else the one network that leases the address, one of the pod's namespace first.
    fn network(&self, place: &Place, claim: &Claim, pod: Option<&PodSeen>, ifname: &str) -> String {
        let interface = pod.and_then(|pod| pod.interface(ifname));
        if let Some(interface) = interface.filter(|one| one.name.contains('/')) {
            return interface.name.clone();
        }
        let leases = |network: &&Network| {
            let mut settings = network.ipam.settings.iter();
            network.ipam.network_name == place.network_name
                && settings.any(|one| one.cidr.contains(place.address))
        };
        let all = || self.networks.iter().filter(leases);
        let near = |network: &&Network| {
            claim
                .pod
                .as_ref()
                .is_some_and(|pod| pod.namespace == network.name.namespace)
        };
        let found = all().find(near).or_else(|| all().next());
        found
            .map(|network| network.name.to_string())
            .unwrap_or_default()
    }
}

/// Addresses and pod of a lease, with its container.
fn leased(lease: &Lease) -> Vec<((IpAddr, PodName), &str)> {
    let Some(owner) = lease
        .owner
        .as_ref()
        .filter(|owner| !owner.container_id.is_empty())
    else {
        return Vec::new();
    };
    let pod = PodName {
        namespace: owner.namespace.clone(),
        name: owner.pod.clone(),
    };
    let plain = |text: &String| text.split('/').next()?.parse().ok();
    let addresses = [&lease.ipv4, &lease.ipv6].into_iter().filter_map(plain);
    addresses
        .map(|address| ((address, pod.clone()), owner.container_id.as_str()))
        .collect()
}

fn describe(claim: &Claim) -> String {
    match &claim.pod {
        Some(pod) => format!("pod {pod}"),
        None => format!("container {}", claim.container),
    }
}

impl Holding {
    fn what(&self) -> String {
        match &self.pod {
            Some(pod) => format!("{} ({} of pod {pod})", self.address, self.ifname),
            None => format!(
                "{} ({} of container {})",
                self.address, self.ifname, self.container
            ),
        }
    }

    /// The pool never leases the address.
    pub(super) fn unleasable(&self, pool: &str, why: &str) -> Obstacle {
        Obstacle::new(
            self.what(),
            format!("it {why} of pool {pool}, which never leases it"),
            "nobody else gets it; it ends with its pod",
        )
    }

    /// A lease of the attachment exists already.
    pub(super) fn further(&self) -> Obstacle {
        Obstacle::new(
            self.what(),
            "the interface has another address of the pool, and a lease has one a family",
            "make the pod anew",
        )
    }

    /// DEL does not find a lease without a container.
    pub(super) fn nameless(&self) -> Obstacle {
        Obstacle::new(
            self.what(),
            "its container is not known: the lease is the pod's, and DEL does not end it",
            format!(
                "run this on node {} once more, where libcni's cache names the container, or end the lease by `ipamctl lease release` after the pod",
                match self.node.as_str() {
                    "" => "of the pod",
                    node => node,
                }
            ),
        )
    }
}
