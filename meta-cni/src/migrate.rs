//! `meta-cni migrate`: from Multus and whereabouts to meta-cni and ipam-server, and back.
//!
//! `read`, `objects`, `cache`, `multus` say what there is; `plan` what changes, from that alone (`network` + `ipam` → `pools` →
//! `leases`); `apply` does it by `server`, `node` and the API server, `receipt` remembers it, `back` undoes it, `report` shows it.

mod apply;
mod back;
mod cache;
mod error;
mod ipam;
mod leases;
mod multus;
mod network;
mod node;
mod objects;
mod obstacle;
mod options;
mod plan;
mod pools;
mod progress;
mod read;
mod receipt;
mod report;
mod server;
mod span;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

use cni::name::is_identifier;
use proto::ipam::v1::Lease;

use crate::cluster::api::ApiCluster;
use crate::config::Config;
use apply::{Applier, Done};
use back::{Back, Mode};
use multus::Multus;
use objects::Objects;
use plan::{Input, Plan};
use progress::progress;
use server::Server;

pub use error::MigrateError;
pub use options::Options;

/// How a migration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is carried over, or would be.
    Whole,
    /// Something is not.
    Partial,
}

/// Migrates, or shows what would change, and writes the report to `to`.
///
/// # Errors
/// [`MigrateError`].
pub fn run(options: &Options, to: &mut dyn Write) -> Result<Outcome, MigrateError> {
    let api = options.kubeconfig.as_deref();
    let migration = Migration {
        options,
        api: api.map(ApiCluster::from_kubeconfig),
        server: options.server()?,
    };
    match options.back {
        true => migration.back(to),
        false => migration.forth(to),
    }
}

/// One run.
struct Migration<'o> {
    options: &'o Options,
    api: Option<ApiCluster>,
    server: Server,
}

impl Migration<'_> {
    fn forth(&self, to: &mut dyn Write) -> Result<Outcome, MigrateError> {
        let (plan, is_node) = self.plan()?;
        let done = match self.options.apply {
            true => Some(self.apply(&plan, is_node)?),
            false => None,
        };
        report::plan(self.options.output, &plan, done.as_ref(), to)
            .map_err(|source| MigrateError::Output { source })?;
        let is_refused = done.is_some_and(|done| !done.refused.is_empty());
        match plan.not_carried_over.is_empty() && !is_refused {
            true => Ok(Outcome::Whole),
            false => Ok(Outcome::Partial),
        }
    }

    /// The plan, and whether this is a node.
    fn plan(&self) -> Result<(Plan, bool), MigrateError> {
        let options = self.options;
        let multus = multus::find(&options.conf_dir);
        let is_node = multus.is_some() || options.state_dir.exists();
        let objects = self.objects()?;
        let mut notes = Vec::new();
        let existing = match self.server.pools() {
            Ok(pools) => pools,
            // The plan is worth something without them.
            Err(error) if !options.apply => {
                let error = cni::error::with_causes(&error);
                notes.push(format!("the pools of ipam-server are not known: {error}"));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let policies = match &self.api {
            Some(api) => read::policies(api, &objects)?,
            None => Default::default(),
        };
        let mut cached = Vec::new();
        for folder in self.caches(multus.as_ref()) {
            cached.extend(cache::read(&folder).map_err(MigrateError::read(&folder))?);
        }
        let mut input = Input {
            objects,
            cache: cached,
            defaults: read::defaults(options.whereabouts_conf.as_deref())?,
            daemon: options
                .daemon_config
                .as_deref()
                .map(read::object)
                .transpose()?,
            multus,
            existing,
            leases: Vec::new(),
            policies,
            prefix: options.pool_prefix.clone(),
        };
        let mut plan = Plan::make(&input);
        for pool in plan.pools.iter().filter(|pool| pool.exists) {
            input.leases.extend(self.server.leases(&pool.pool.name)?);
        }
        if !input.leases.is_empty() {
            plan = Plan::make(&input);
        }
        if input.multus.is_none() {
            let folder = options.conf_dir.display();
            notes.push(format!("{folder} has no configuration of Multus"));
        }
        plan.notes.extend(notes);
        Ok((plan, is_node))
    }

    fn objects(&self) -> Result<Objects, MigrateError> {
        match (&self.api, &self.options.objects) {
            (Some(api), _) => read::from_api(api),
            (None, Some(path)) => read::from_path(path),
            (None, None) => Ok(Objects::default()),
        }
    }

    fn caches(&self, multus: Option<&Multus>) -> Vec<PathBuf> {
        if !self.options.cache_dir.is_empty() {
            return self.options.cache_dir.clone();
        }
        let of_delegates = multus.map(Multus::cache);
        let usual = || Config::default().cni_dir.join("results");
        vec![
            "/var/lib/cni/results".into(),
            of_delegates.unwrap_or_else(usual),
        ]
    }

    fn apply(&self, plan: &Plan, is_node: bool) -> Result<Done, MigrateError> {
        let node = is_node.then(|| self.options.node()).transpose()?;
        let mut receipt = self.options.receipt()?;
        let mut applier = Applier {
            server: &self.server,
            node: node.as_ref(),
            receipt: &mut receipt,
            done: Done::default(),
        };
        applier.carry_over(plan)?;
        if let Some(api) = self.api.as_ref().filter(|_| self.options.rewrite_networks) {
            applier.rewrite(plan, api, || {
                progress("reading what whereabouts allocated meanwhile");
                self.plan().map(|(plan, _)| plan)
            })?;
        }
        Ok(applier.done)
    }

    fn back(&self, to: &mut dyn Write) -> Result<Outcome, MigrateError> {
        let mut receipt = self.options.receipt()?;
        let node = self.options.node()?;
        let objects = self.objects()?;
        let back = Back {
            server: &self.server,
            node: &node,
            api: self.api.as_ref(),
            objects: &objects,
        };
        let newer = back.newer(&receipt)?;
        if let Some(first) = newer.first()
            && !self.options.force
        {
            return Err(MigrateError::Newer {
                count: newer.len(),
                first: describe(first),
            });
        }
        let mode = match self.options.apply {
            true => Mode::Undo,
            false => Mode::Pretend,
        };
        let undone = back.undo(&mut receipt, mode)?;
        report::undone(self.options.output, &undone, mode, to)
            .map_err(|source| MigrateError::Output { source })?;
        match undone.left.is_empty() {
            true => Ok(Outcome::Whole),
            false => Ok(Outcome::Partial),
        }
    }
}

/// A lease's pod and addresses; names of strangers are shortened to what a name may be.
fn describe(lease: &Lease) -> String {
    let owner = lease.owner.clone().unwrap_or_default();
    let name = |text: String| {
        if is_identifier(&text) {
            text
        } else {
            "?".to_owned()
        }
    };
    let addresses = [lease.ipv4.as_str(), lease.ipv6.as_str()];
    let addresses: Vec<_> = addresses
        .into_iter()
        .filter(|one| !one.is_empty())
        .collect();
    format!(
        "{} of pod {}/{}",
        addresses.join(" "),
        name(owner.namespace),
        name(owner.pod)
    )
}
