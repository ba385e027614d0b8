//! GC: sandboxes that the runtime no longer knows get a full DEL; then every network that allows it is
//! called with its valid attachments.

mod networks;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cni::chain;
use cni::netconf::NetConfList;
use cni::valid_attachments::valid_attachments;
use jiff::Timestamp;
use serde_json::Map;

use super::context::Context;
use super::del::{Origin, delete, mark};
use super::failure::Failure;
use crate::gather::gather;
use crate::plan::inject_capabilities;
use crate::record::{Orphans, Record, RecordError, Sandbox};
use crate::trace::{step, words};
use crate::wanted::default_network;
use crate::{lease, limits};
use networks::Networks;
use turn::Turn;

/// How long a sandbox's lock is waited for: long enough for what a dead `meta-cni` left behind to be
/// ended, no longer, since a sandbox that is being worked on is not garbage yet.
const LOCK_LIMIT: Duration = Duration::from_secs(7);

/// Serves GC. Without `cni.dev/valid-attachments` nothing is deleted.
pub(super) fn gc(context: &Context<'_>) -> Result<(), Failure> {
    let Some(valid) = valid_attachments(&context.request.conf)? else {
        return Ok(());
    };
    context.records.make_folders()?;
    let mut failures = Vec::new();
    let mut networks = Networks::default();
    for id in known_containers(context)? {
        // What is left is collected by the next GC. Networks are not asked: which of their attachments are valid is not known.
        if limits::left().is_zero() {
            failures.push(Failure::NoTime);
            return Err(Failure::Several(failures));
        }
        let is_valid = valid.iter().any(|valid| valid.container_id == id);
        match context.records.peek(&id) {
            Ok(Some(record)) if is_valid => networks.add_valid(&record),
            // The runtime lists the sandboxes of this configuration only.
            Ok(Some(record)) if record.is_of_another(&context.config.name) => {
                networks.add_valid(&record);
            }
            Ok(None) if is_valid => match made_by_multus(context, &id) {
                Ok(Some(record)) => networks.add_valid(&record),
                Ok(None) => networks.add_unknown(&id),
                Err(failure) => {
                    networks.add_unknown(&id);
                    failures.push(failure);
                }
            },
            // It is in use: better to keep what may be garbage than to take what is not.
            Err(error) if is_valid => {
                networks.add_unknown(&id);
                failures.push(error.into());
            }
            _ => {
                let locked = context.records.lock(&id, LOCK_LIMIT);
                let collected = locked
                    .map_err(Failure::from)
                    .and_then(|sandbox| collect(context, &id, sandbox, &mut networks));
                if let Err(failure) = collected {
                    if matches!(failure, Failure::Lock(_)) {
                        // It may be an ADD that is under way: its addresses are no garbage.
                        networks.add_unknown(&id);
                    }
                    failures.push(failure);
                }
            }
        }
    }
    for id in &valid {
        networks.add_unless_known(&id.container_id);
    }
    failures.extend(collect_networks(context, &networks));
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => Err(Failure::Several(failures)),
    }
}

/// Every container that we or Multus have something of. First those whose deletion has not failed yet, then those that wait for the
/// next try for the longest time: what one GC does not reach is reached by a later one.
fn known_containers(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let mut known: BTreeSet<String> = context.records.container_ids()?.into_iter().collect();
    known.extend(context.multus.container_ids());
    let mut known: Vec<String> = known.into_iter().collect();
    let marks = context.records.orphans().marks().into_iter();
    let next_tries: BTreeMap<String, Timestamp> = marks
        .filter_map(|mark| Some((mark.container_id, mark.failed?.next_try)))
        .collect();
    known.sort_by_key(|id| next_tries.get(id));
    Ok(known)
}

/// Deletes the sandboxes that are marked, unless another process is at it.
pub(super) fn collect_orphans(context: &Context<'_>) -> Result<(), Failure> {
    let orphans = context.records.orphans();
    let Some(_turn) = orphans.turn() else {
        return Ok(());
    };
    let mut failures = Vec::new();
    for id in orphans.due(Timestamp::now()) {
        if limits::left().is_zero() {
            failures.push(Failure::NoTime);
            break;
        }
        match collect_orphan(context, orphans, &id) {
            Ok(()) => failures.extend(orphans.unmark(&id).err().map(Failure::from)),
            Err(failure) => failures.push(failure),
        }
    }
    match failures.len() {
        0 => Ok(()),
        _ => Err(Failure::Several(failures)),
    }
}

/// One that is being worked on, that has no record any more, or whose record was written since it was marked, is no
/// orphan: the runtime lists a sandbox only once its ADD has ended.
fn collect_orphan(context: &Context<'_>, orphans: &Orphans, id: &str) -> Result<(), Failure> {
    if let Ok(None) = context.records.peek(id) {
        return Ok(());
    }
    let sandbox = context.records.lock(id, LOCK_LIMIT)?;
    if let Ok(written) = context.records.written(id)
        && orphans.is_outdated(id, written)
    {
        return Ok(());
    }
    collect(context, id, sandbox, &mut Networks::default()).inspect_err(|failure| {
        // One whose plugins failed is marked already.
        if !matches!(failure, Failure::Undeleted(_)) {
            mark(context, id, failure);
        }
    })
}

/// Deletes a sandbox that the runtime no longer knows.
fn collect(
    context: &Context<'_>,
    id: &str,
    sandbox: Sandbox<'_>,
    networks: &mut Networks,
) -> Result<(), Failure> {
    let record = match sandbox.load() {
        Ok(Some(record)) => Some(record),
        Ok(None) => made_by_multus(context, id)?,
        Err(source @ RecordError::Corrupt { .. }) => {
            let aside = sandbox.set_aside()?;
            return Err(Failure::SetAside { aside, source });
        }
        Err(error) => return Err(error.into()),
    };
    let Some(record) = record else {
        return Ok(sandbox.forget()?);
    };
    let pod = record.pod.as_ref().map(tracing::field::display);
    let span = tracing::info_span!(words::SANDBOX, container_id = id, pod);
    networks.add_gone(&record);
    step(span, || {
        tracing::info!(
            container_id = id,
            "deleting a sandbox that the runtime no longer knows"
        );
        // The path may be another sandbox's by now, so the delegates are not led there.
        let netns = if netns_is_taken(context, &record) {
            String::new()
        } else {
            record.netns.clone()
        };
        delete(context, sandbox, record, Origin::Recorded, &netns)
    })
}

/// What Multus made for a sandbox. GC does not get the interface of the default network: it is the one
/// that every runtime uses for pods.
fn made_by_multus(context: &Context<'_>, id: &str) -> Result<Option<Record>, Failure> {
    Ok(context
        .multus
        .record(id, "", "eth0", &context.request.env.args, None)?)
}

/// Whether another recorded sandbox has the same network namespace.
fn netns_is_taken(context: &Context<'_>, record: &Record) -> bool {
    let Ok(ids) = context.records.container_ids() else {
        return true;
    };
    ids.iter().filter(|id| **id != record.container_id).any(
        |id| matches!(context.records.peek(id), Ok(Some(other)) if other.netns == record.netns),
    )
}

/// GC of each network with its valid attachments; all are tried.
fn collect_networks(context: &Context<'_>, networks: &Networks) -> Vec<Failure> {
    if let Some(sandboxes) = networks.unknown() {
        tracing::warn!(
            sandboxes,
            "the runtime lists sandboxes that are not recorded; networks are not asked to collect garbage"
        );
        return Vec::new();
    }
    let mut failures = Vec::new();
    let default = default_of_configuration(context);
    let unused = default.iter().filter(|list| !networks.has(&list.name));
    let turn = Turn::of(&context.config.state_dir);
    let lists = turn.begin(networks.lists().chain(unused).collect());
    let mut unreached = None;
    for list in lists {
        if limits::left().is_zero() {
            failures.push(Failure::NoTime);
            unreached = Some(list.name.as_str());
            break;
        }
        let valid = networks.valid(&list.name);
        if let Err(errors) = chain::gc(context.plugins(), context.limit(), list, &valid) {
            failures.extend(errors.into_iter().map(|source| Failure::NetworkGc {
                network: list.name.clone(),
                source,
            }));
        }
        if let Err(source) = lease::collect(list, &networks.valid_leases(list)) {
            failures.push(Failure::LeaseGc {
                network: list.name.clone(),
                source,
            });
        }
    }
    turn.end(unreached);
    failures
}

/// The default network, which may have garbage though no sandbox of it is recorded any more.
fn default_of_configuration(context: &Context<'_>) -> Option<NetConfList> {
    let wanted = default_network(&context.config, context.cluster().is_some())?;
    let found = gather(&context.config, context.cluster(), &[wanted])
        .into_iter()
        .next()?;
    match found {
        Ok(mut found) => {
            inject_capabilities(&mut found.list, &Map::new()).ok()?;
            Some(found.list)
        }
        Err(problem) => {
            tracing::info!(
                problem = %problem.what,
                "the default network is not asked to collect garbage"
            );
            None
        }
    }
}
