//! What a migration changes, from what was read alone: nothing is asked and nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};

use cni::netconf::NetConfList;
use process::text;
use proto::ipam::v1::{Lease, Pool};
use serde::Serialize;
use serde_json::{Map, Value};

use super::cache::Cached;
use super::leases;
use super::multus::{Configuration, Multus};
use super::network::{Network, Read, subject};
use super::objects::{NadSeen, Objects};
use super::obstacle::Obstacle;
use super::pools::{PoolPlan, Pools};
use crate::author::Author;
use crate::cluster::NadName;
use crate::config::{AttachmentPolicies, Mode};
use crate::gather::Found;
use crate::policy::{Grade, Known, verdicts};
use crate::wanted::{Source, Wanted};

/// What was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    pub(super) objects: Objects,
    pub(super) cache: Vec<Cached>,
    /// The node's whereabouts.conf.
    pub(super) defaults: Option<Map<String, Value>>,
    pub(super) multus: Option<Multus>,
    /// The configuration of Multus' daemon.
    pub(super) daemon: Option<Map<String, Value>>,
    /// The pools of the server.
    pub(super) existing: Vec<Pool>,
    /// The leases of those pools that networks lease from.
    pub(super) leases: Vec<Lease>,
    /// The AttachmentPolicies of the cluster.
    pub(super) policies: Known,
    /// How names of new pools begin.
    pub(super) prefix: String,
}

/// What changes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// In the place of Multus' configuration on this node.
    pub(super) configuration: Option<Configuration>,
    /// In the place of whereabouts' ranges.
    pub(super) pools: Vec<PoolPlan>,
    /// In the place of whereabouts' allocations.
    pub(super) leases: Vec<Lease>,
    /// Networks whose text changes with `--rewrite-networks`.
    pub(super) networks: Vec<NetworkChange>,
    /// What is not carried over.
    pub(super) not_carried_over: Vec<Obstacle>,
    /// What `"attachmentPolicy": "enforce"` would refuse.
    pub(super) refused_by_policy: Vec<Obstacle>,
    /// Sentences about what is different afterwards.
    pub(super) notes: Vec<String>,
}

/// A network that leases by meta-ipam afterwards.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkChange {
    #[serde(flatten)]
    pub(super) name: NadName,
    pub(super) pool: String,
    /// `spec.config` before and afterwards.
    pub(super) before: String,
    pub(super) after: String,
    /// Whether `spec.config` is `after` already.
    pub(super) is_done: bool,
    /// `metadata.resourceVersion` of what was read.
    #[serde(skip)]
    pub(super) version: String,
}

impl Plan {
    /// Plans.
    pub(super) fn make(input: &Input) -> Plan {
        let mut plan = Plan {
            not_carried_over: input.objects.unread.clone(),
            ..Plan::default()
        };
        if let Some(multus) = &input.multus {
            let (configuration, obstacles) = multus.replaced(input.daemon.as_ref());
            plan.configuration = Some(configuration);
            plan.not_carried_over.extend(obstacles);
        }
        let networks = plan.read_networks(input);
        let pools = Pools::plan(&networks, &input.existing, &input.prefix);
        let leases = leases::plan(
            &input.objects,
            &input.cache,
            &networks,
            &pools,
            &input.leases,
        );
        plan.networks = networks
            .iter()
            .filter_map(|network| change(network, &pools))
            .collect();
        plan.not_carried_over.extend(pools.obstacles);
        plan.not_carried_over.extend(leases.obstacles);
        plan.notes.extend(pools.notes);
        plan.pools = pools.plans;
        plan.leases = leases.leases;
        plan.list_refused(input);
        plan
    }

    /// The networks that can be carried over.
    fn read_networks(&mut self, input: &Input) -> Vec<Network> {
        let mut networks = Vec::new();
        let mut files = BTreeSet::new();
        for nad in &input.objects.nads {
            match Network::read(nad, input.defaults.as_ref()) {
                Ok(Read::Network(network)) => {
                    self.not_carried_over.extend(network.losses());
                    networks.push(*network);
                }
                Ok(Read::Other) => {}
                Ok(Read::File) => drop(files.insert(nad.name.to_string())),
                Err(obstacle) => self.not_carried_over.push(obstacle),
            }
        }
        for name in files {
            self.notes.push(format!(
                "{name} has no spec.config: if the file of its name in confDir leases by whereabouts, change the file by hand"
            ));
        }
        networks
    }

    /// Lists what AttachmentPolicies and the closed policy refuse: of the networks as they are afterwards, and until then.
    fn list_refused(&mut self, input: &Input) {
        let changes = self.networks.iter();
        let after: BTreeMap<&NadName, &str> = changes
            .map(|change| (&change.name, &*change.after))
            .collect();
        let now = judged(input, |nad| nad.config.clone());
        let afterwards = judged(input, |nad| match after.get(&nad.name) {
            Some(after) => (*after).to_owned(),
            None => nad.config.clone(),
        });
        let stays = |name: &NadName| afterwards.iter().any(|one| one.name == *name);
        let passing: Vec<_> = now.iter().filter(|one| !stays(&one.name)).collect();
        for (grade, refuses, remedy) in [
            (
                Grade::Reported,
                "\"attachmentPolicy\": \"enforce\" refuses",
                "install meta-cni with \"report\", and set \"enforce\" afterwards",
            ),
            (
                Grade::Refused,
                "an AttachmentPolicy refuses",
                "let it allow whereabouts until then",
            ),
        ] {
            let mut names = passing.iter().filter(|one| one.grade == grade);
            let Some(first) = names.next() else { continue };
            let more = match names.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            let name = text::shown(&first.name.to_string()).into_owned();
            self.notes.push(format!(
                "{refuses} new pods with network {name}{more} until the networks are rewritten; {remedy}"
            ));
        }
        self.refused_by_policy = afterwards.into_iter().map(|one| one.obstacle).collect();
    }
}

/// A network that is not allowed.
struct Judged {
    name: NadName,
    grade: Grade,
    obstacle: Obstacle,
}

/// The networks with these texts that are not allowed where the closed policy holds.
fn judged(input: &Input, text: impl Fn(&NadSeen) -> String) -> Vec<Judged> {
    let node = AttachmentPolicies {
        mode: Mode::Report,
        floor: None,
    };
    let mut judged = Vec::new();
    for nad in &input.objects.nads {
        let Some(found) = found(nad, &text(nad)) else {
            continue;
        };
        let wanted = Wanted {
            source: Source::Nad(nad.name.clone()),
            element: Default::default(),
        };
        for verdict in verdicts(&node, &input.policies, None, &[wanted], &[Ok(found)]) {
            let remedy = verdict.why.remedy.unwrap_or_default();
            judged.push(Judged {
                name: nad.name.clone(),
                grade: verdict.grade,
                obstacle: Obstacle::new(subject(&nad.name), verdict.why.cause, remedy),
            });
        }
    }
    judged
}

/// The text of a network as policies judge it; none if it is no configuration.
fn found(nad: &NadSeen, text: &str) -> Option<Found> {
    let mut list = NetConfList::parse(text).ok()?;
    if list.name.is_empty() {
        list.name.clone_from(&nad.name.name);
    }
    Some(Found {
        network: nad.name.to_string(),
        author: Author::Tenant,
        ..Found::of(list).ok()?
    })
}

fn change(network: &Network, pools: &Pools) -> Option<NetworkChange> {
    let PoolPlan { pool, .. } = pools.of(&network.name)?;
    let has = |is_ipv4: bool| {
        let mut settings = network.ipam.settings.iter();
        settings.any(|one| one.cidr.is_ipv4() == is_ipv4)
    };
    let families = match (has(true), has(false)) {
        (true, false) if pool.ipv6.is_some() => Some("V4"),
        (false, true) if pool.ipv4.is_some() => Some("V6"),
        _ => None,
    };
    let after = network.with_pool(&pool.name, families);
    Some(NetworkChange {
        name: network.name.clone(),
        pool: pool.name.clone(),
        before: network.before.clone(),
        is_done: after == network.now,
        after,
        version: network.version.clone(),
    })
}

#[cfg(test)]
mod tests;
