//! Pools in the place of whereabouts' ranges: networks that share a range share a pool, and a network with a range of each family
//! leases pairs.

mod subnet;

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use proto::ipam::v1::{Pool, Subnet};
use serde::Serialize;

use super::network::{Network, subject};
use super::obstacle::Obstacle;
use crate::cluster::NadName;
pub(super) use subnet::Leasable;

/// The bytes that a pool's name and a VRF's may have (ipam.v1, Pool.name).
const NAME_BYTES: usize = 63;
/// The VRF of networks without a `network_name`.
const DEFAULT_VRF: &str = "default";

/// A pool that networks lease from after the migration.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolPlan {
    pub(super) pool: Pool,
    /// Whether the server has it.
    pub(super) exists: bool,
    /// The networks, as NAMESPACE/NAME.
    pub(super) networks: Vec<NadName>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pools {
    pub(super) plans: Vec<PoolPlan>,
    /// Networks that stay with whereabouts, and what networks lose.
    pub(super) obstacles: Vec<Obstacle>,
    /// Sentences about what is different afterwards.
    pub(super) notes: Vec<String>,
}

/// Ranges that networks tie together, and their networks.
struct Group<'n> {
    vrf: String,
    cidrs: Vec<IpNetwork>,
    networks: Vec<&'n Network>,
}

impl Pools {
    /// The pools of networks; `existing` are those of the server, `prefix` begins the names of new ones.
    pub(super) fn plan(networks: &[Network], existing: &[Pool], prefix: &str) -> Pools {
        let mut pools = Pools::default();
        let groups = groups(networks);
        for (at, group) in groups.iter().enumerate() {
            let others = groups.iter().enumerate();
            let others = others.filter(|(other, _)| *other != at);
            let overlap = others
                .filter(|(_, other)| other.vrf == group.vrf)
                .find_map(|(_, other)| overlap(&group.cidrs, &other.cidrs));
            match (group.problem(), overlap) {
                (Some((reason, remedy)), _) => pools.refuse(group, &reason, remedy),
                (None, Some((one, other))) => pools.refuse(
                    group,
                    &format!("its range {one} overlaps the range {other} of other networks"),
                    "give the networks one range, with range_start and range_end, or a network_name each",
                ),
                (None, None) => pools.add(group, existing, prefix),
            }
        }
        pools
    }

    /// The pool of a network.
    pub(super) fn of(&self, network: &NadName) -> Option<&PoolPlan> {
        let mut plans = self.plans.iter();
        plans.find(|plan| plan.networks.contains(network))
    }

    fn refuse(&mut self, group: &Group<'_>, reason: &str, remedy: &str) {
        for network in &group.networks {
            self.obstacles
                .push(Obstacle::new(subject(&network.name), reason, remedy));
        }
    }

    fn add(&mut self, group: &Group<'_>, existing: &[Pool], prefix: &str) {
        let of_vrf = || existing.iter().filter(|pool| vrf_of(pool) == group.vrf);
        let fits = |pool: &&Pool| {
            let has = |cidr: &IpNetwork| cidr_of(subnet_of(pool, cidr.is_ipv4())) == Some(*cidr);
            group.cidrs.iter().all(has)
        };
        let clash = of_vrf().find(|pool| {
            let cidrs: Vec<IpNetwork> = [true, false]
                .into_iter()
                .filter_map(|is_ipv4| cidr_of(subnet_of(pool, is_ipv4)))
                .collect();
            overlap(&group.cidrs, &cidrs).is_some()
        });
        let networks: Vec<NadName> = group.networks.iter().map(|one| one.name.clone()).collect();
        if let Some(pool) = of_vrf().find(fits) {
            self.plans.push(PoolPlan {
                pool: pool.clone(),
                exists: true,
                networks,
            });
            return;
        }
        if let Some(pool) = clash {
            let reason = format!("its range overlaps the existing pool {}", pool.name);
            let remedy = "let the pool have the same CIDRs as the network, or delete the pool";
            return self.refuse(group, &reason, remedy);
        }
        let mut pool = Pool {
            vrf: group.vrf.clone(),
            dns: group.networks.iter().find_map(|one| one.ipam.dns.clone()),
            ..Pool::default()
        };
        for cidr in &group.cidrs {
            let made = subnet::make(*cidr, &group.networks);
            self.notes.extend(made.notes);
            self.obstacles.extend(made.obstacles);
            match cidr.is_ipv4() {
                true => pool.ipv4 = Some(made.subnet),
                false => pool.ipv6 = Some(made.subnet),
            }
        }
        pool.name = self.free_name(&group.name(prefix), existing);
        self.plans.push(PoolPlan {
            pool,
            exists: false,
            networks,
        });
    }

    /// The name, with a number behind it if it is taken.
    fn free_name(&self, name: &str, existing: &[Pool]) -> String {
        let is_taken = |name: &str| {
            let planned = self.plans.iter().map(|plan| &plan.pool);
            planned.chain(existing).any(|pool| pool.name == name)
        };
        let numbered = (2..).map(|number| format!("{}-{number}", shortened(name, NAME_BYTES - 8)));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names
            .find(|name| !is_taken(name))
            .unwrap_or_else(|| name.to_owned())
    }
}

impl Group<'_> {
    /// Why it is no pool.
    fn problem(&self) -> Option<(String, &'static str)> {
        let of = |is_ipv4: bool| {
            let cidrs = self.cidrs.iter().filter(|cidr| cidr.is_ipv4() == is_ipv4);
            cidrs.map(IpNetwork::to_string).collect::<Vec<_>>()
        };
        if let Some(cidrs) = [of(true), of(false)].into_iter().find(|of| of.len() > 1) {
            return Some((
                format!(
                    "networks tie {} together by a range of the other family, and a pool has one range a family",
                    cidrs.join(" and ")
                ),
                "let networks that share a range share both, or none",
            ));
        }
        (!is_name(&self.vrf)).then(|| {
            (
                format!("network_name {:?} cannot be the name of a VRF", self.vrf),
                "use up to 63 of a-z, 0-9, - and ., and a letter or digit first and last",
            )
        })
    }

    /// `PREFIX[VRF-]CIDR`, of the first family.
    fn name(&self, prefix: &str) -> String {
        let mut name = prefix.to_owned();
        if self.vrf != DEFAULT_VRF {
            name.push_str(&self.vrf);
            name.push('-');
        }
        let cidr = self.cidrs.first().map(IpNetwork::to_string);
        let cidr = cidr.unwrap_or_default().replace([':', '/'], "-");
        let parts = cidr.split('-').filter(|part| !part.is_empty());
        name.push_str(&parts.collect::<Vec<_>>().join("-"));
        shortened(&name, NAME_BYTES).to_owned()
    }
}

/// Networks by the ranges that they share, IPv4 first.
fn groups(networks: &[Network]) -> Vec<Group<'_>> {
    let mut groups: Vec<Option<Group<'_>>> = Vec::new();
    let mut of_range: BTreeMap<(String, IpNetwork), usize> = BTreeMap::new();
    for network in networks {
        let vrf = match network.ipam.network_name.as_str() {
            "" => DEFAULT_VRF.to_owned(),
            name => name.to_owned(),
        };
        let mut group = Group {
            vrf: vrf.clone(),
            cidrs: network.ipam.settings.iter().map(|one| one.cidr).collect(),
            networks: vec![network],
        };
        let shared: Vec<usize> = group
            .cidrs
            .iter()
            .filter_map(|cidr| of_range.get(&(vrf.clone(), *cidr)).copied())
            .collect();
        for other in shared {
            if let Some(mut other) = groups.get_mut(other).and_then(Option::take) {
                other.cidrs.append(&mut group.cidrs);
                other.networks.append(&mut group.networks);
                group = other;
            }
        }
        group.cidrs.sort_unstable();
        group.cidrs.dedup();
        for cidr in &group.cidrs {
            of_range.insert((vrf.clone(), *cidr), groups.len());
        }
        groups.push(Some(group));
    }
    groups.into_iter().flatten().collect()
}

/// Two ranges with addresses in common.
fn overlap(one: &[IpNetwork], other: &[IpNetwork]) -> Option<(IpNetwork, IpNetwork)> {
    let common = |one: &IpNetwork, other: &IpNetwork| {
        one.is_ipv4() == other.is_ipv4()
            && (one.contains(other.network()) || other.contains(one.network()))
    };
    one.iter().find_map(|one| {
        let other = other.iter().find(|other| common(one, other))?;
        Some((*one, *other))
    })
}

fn subnet_of(pool: &Pool, is_ipv4: bool) -> Option<&Subnet> {
    match is_ipv4 {
        true => pool.ipv4.as_ref(),
        false => pool.ipv6.as_ref(),
    }
}

fn cidr_of(subnet: Option<&Subnet>) -> Option<IpNetwork> {
    subnet?.cidr.parse().ok()
}

fn vrf_of(pool: &Pool) -> &str {
    match pool.vrf.as_str() {
        "" => DEFAULT_VRF,
        vrf => vrf,
    }
}

fn is_name(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let may_be =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte);
    bytes.len() <= NAME_BYTES
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(may_be)
}

/// At most so many bytes of an ASCII text; it ends with a letter or digit.
fn shortened(text: &str, bytes: usize) -> &str {
    let short = text.get(..bytes).unwrap_or(text);
    short.trim_end_matches(['-', '.'])
}

#[cfg(test)]
mod tests;
