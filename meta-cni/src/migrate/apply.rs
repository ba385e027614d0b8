//! Carrying out a plan. What is there already is left alone, so that a second run changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use proto::ipam::v1::Lease;
use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::pool::State;
use serde::Serialize;
use serde_json::json;

use super::MigrateError;
use super::leases::LABEL;
use super::network::subject;
use super::node::Node;
use super::objects::BEFORE;
use super::plan::{NetworkChange, Plan};
use super::progress::progress;
use super::receipt::{Entry, Held, Receipt};
use super::server::{BATCH, Server};
use crate::cluster::NadName;
use crate::cluster::api::ApiCluster;

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    pub(super) pools: usize,
    pub(super) leases: u64,
    pub(super) networks: usize,
    /// Networks that were noted on this node.
    pub(super) noted: usize,
    /// What the server refused, a sentence each.
    pub(super) refused: Vec<String>,
}

/// What a migration changes.
pub(super) struct Applier<'a> {
    pub(super) server: &'a Server,
    /// None: this is no node.
    pub(super) node: Option<&'a Node>,
    pub(super) receipt: &'a mut Receipt,
    pub(super) done: Done,
}

impl Applier<'_> {
    /// Makes the pools, imports the leases, and notes the networks on this node.
    ///
    /// # Errors
    /// [`MigrateError`]; what was done stays, and is in the receipt.
    pub(super) fn carry_over(&mut self, plan: &Plan) -> Result<(), MigrateError> {
        self.pools(plan)?;
        self.leases(plan)?;
        let Some(node) = self.node else {
            return Ok(());
        };
        for change in &plan.networks {
            let network = change.name.to_string();
            if !node.is_noted(&network) {
                let entry = Entry::Noted {
                    network: network.clone(),
                };
                self.receipt.note([entry])?;
                node.note(&network)?;
                self.done.noted += 1;
            }
        }
        Ok(())
    }

    fn pools(&mut self, plan: &Plan) -> Result<(), MigrateError> {
        for pool in plan.pools.iter().filter(|pool| !pool.exists) {
            let name = pool.pool.name.clone();
            self.receipt.note([Entry::Pool { name }])?;
            let imported = self.server.import(vec![Item::Pool(pool.pool.clone())])?;
            self.done.pools += usize::from(imported.imported > 0);
            self.done.refused.extend(imported.conflicts);
        }
        Ok(())
    }

    /// Imports the leases that are missing.
    pub(super) fn leases(&mut self, plan: &Plan) -> Result<(), MigrateError> {
        let mut missing = Vec::new();
        for pool in &plan.pools {
            let name = &pool.pool.name;
            let existing = self.server.leases(name)?;
            let held: BTreeSet<Held> = existing.iter().map(Held::of).collect();
            let planned = plan.leases.iter().filter(|lease| lease.pool == *name);
            let lacking: Vec<Lease> = planned
                .filter(|lease| !held.contains(&Held::of(lease)))
                .cloned()
                .collect();
            self.make_room(&existing, &lacking)?;
            missing.extend(lacking);
        }
        let total = missing.len();
        for (at, batch) in missing.chunks(BATCH).enumerate() {
            let held = batch.iter().map(Held::of).collect();
            self.receipt.note([Entry::Leases(held)])?;
            let items = batch.iter().cloned().map(Item::Lease).collect();
            let imported = self.server.import(items)?;
            self.done.leases += imported.imported;
            self.done.refused.extend(imported.conflicts);
            progress(&format!(
                "imported {} of {total} leases",
                at * BATCH + batch.len()
            ));
        }
        Ok(())
    }

    /// Ends leases of an earlier run that did not know the container of an address, where it is known now.
    fn make_room(&self, existing: &[Lease], lacking: &[Lease]) -> Result<(), MigrateError> {
        let nameless: BTreeMap<(&str, &str), &Lease> = existing
            .iter()
            .filter(|lease| lease.labels.contains_key(LABEL))
            .filter(|lease| Held::of(lease).container.is_empty())
            .map(|lease| ((lease.ipv4.as_str(), lease.ipv6.as_str()), lease))
            .collect();
        for lease in lacking
            .iter()
            .filter(|one| !Held::of(one).container.is_empty())
        {
            if let Some(older) = nameless.get(&(lease.ipv4.as_str(), lease.ipv6.as_str())) {
                self.server.release(older)?;
            }
        }
        Ok(())
    }

    /// Rewrites networks. Their pools allocate nothing until `again` has read and planned once more: what whereabouts allocated
    /// meanwhile is imported first.
    ///
    /// # Errors
    /// [`MigrateError`]; pools allocate again also then.
    pub(super) fn rewrite(
        &mut self,
        plan: &Plan,
        api: &ApiCluster,
        again: impl FnOnce() -> Result<Plan, MigrateError>,
    ) -> Result<(), MigrateError> {
        let changes: Vec<&NetworkChange> =
            plan.networks.iter().filter(|one| !one.is_done).collect();
        if changes.is_empty() {
            return self.uncordon();
        }
        let used: BTreeSet<&str> = changes.iter().map(|change| change.pool.as_str()).collect();
        for pool in &plan.pools {
            let is_open = pool.pool.state() != State::Cordoned;
            if is_open && used.contains(pool.pool.name.as_str()) {
                let name = pool.pool.name.clone();
                self.receipt.note([Entry::Cordoned { name }])?;
                self.server.cordon(&pool.pool.name)?;
            }
        }
        let rewritten = self.write_networks(&changes, api).and_then(|()| {
            let plan = again()?;
            self.leases(&plan)
        });
        // The failure that is reported is the first one.
        rewritten.and(self.uncordon())
    }

    fn write_networks(
        &mut self,
        changes: &[&NetworkChange],
        api: &ApiCluster,
    ) -> Result<(), MigrateError> {
        for change in changes {
            self.receipt.note([Entry::Network {
                name: change.name.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
            }])?;
            write_network(
                api,
                &change.name,
                &change.version,
                &change.after,
                Some(&change.before),
            )?;
            self.done.networks += 1;
        }
        Ok(())
    }

    /// Lets pools allocate again, also those of an earlier run that was killed.
    fn uncordon(&mut self) -> Result<(), MigrateError> {
        let cordoned: Vec<Entry> = self
            .receipt
            .entries()
            .iter()
            .filter(|entry| matches!(entry, Entry::Cordoned { .. }))
            .cloned()
            .collect();
        for entry in cordoned {
            if let Entry::Cordoned { name } = &entry {
                self.server.uncordon(name)?;
            }
            self.receipt.forget(&entry)?;
        }
        Ok(())
    }
}

/// Changes the text of a network, if it is still the version that was read; `before` is kept beside it.
///
/// # Errors
/// [`MigrateError::Cluster`].
pub(super) fn write_network(
    api: &ApiCluster,
    name: &NadName,
    version: &str,
    config: &str,
    before: Option<&str>,
) -> Result<(), MigrateError> {
    let path = format!(
        "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions/{}",
        name.namespace, name.name
    );
    let patch = json!({
        "metadata": { "resourceVersion": version, "annotations": { BEFORE: before } },
        "spec": { "config": config },
    });
    let what = subject(name);
    api.merge(path, &what, &patch)
        .map_err(|source| MigrateError::Cluster {
            doing: format!("rewriting {what}"),
            source,
        })
}
