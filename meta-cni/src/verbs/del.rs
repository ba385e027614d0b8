//! DEL: removes what is recorded for a sandbox. It needs nobody: not the API server, not the network's
//! definition.

mod give_up;
mod today;

use std::path::Path;

use jiff::Timestamp;
use netlink::netns::{self, NetnsError};

use super::context::Context;
use super::failure::Failure;
use super::planning::make_plan;
use crate::cluster::Pod;
use crate::diagnosis::Explain as _;
use crate::journal::learn;
use crate::record::{LockError, Record, RecordError, Sandbox};
use crate::run::RunError;
use crate::{device_files, host_device, lease};
use give_up::give_up;

/// Where the attachments that are to be deleted are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Our record, or the files of Multus.
    Recorded,
    /// What the pod asks for now: whether anything of it was made is not known.
    PlannedAnew,
}

/// Serves DEL. Nothing recorded, and nothing to be found out, is success. Whatever failed, a sandbox that stays recorded is
/// marked.
pub(super) fn del(context: &Context<'_>) -> Result<(), Failure> {
    let id = context.container_id();
    delete_known(context).inspect_err(|failure| {
        let is_marked = matches!(failure, Failure::Undeleted(_));
        if !is_marked && context.records.file(id).exists() {
            mark(context, id, failure);
        }
    })
}

fn delete_known(context: &Context<'_>) -> Result<(), Failure> {
    let sandbox = lock(context)?;
    match known_record(context, &sandbox)? {
        Some((record, origin)) => {
            let netns = &context.request.env.netns;
            delete(context, sandbox, record, origin, netns)
        }
        None => Ok(sandbox.forget()?),
    }
}

/// Deletes the attachments of `record` and forgets it; if one cannot be deleted, the record of that
/// one stays.
pub(super) fn delete(
    context: &Context<'_>,
    sandbox: Sandbox<'_>,
    mut record: Record,
    origin: Origin,
    netns: &str,
) -> Result<(), Failure> {
    device_files::clean_up(&context.config, record.attachments());
    match detach(context, &mut record, origin, netns) {
        Ok(()) => {
            context.multus.forget(&record)?;
            Ok(sandbox.forget()?)
        }
        Err(errors) => {
            let failure = Failure::Undeleted(errors);
            if keep(context, &sandbox, &record, &failure) {
                forget_results(context, &record);
            }
            Err(failure)
        }
    }
}

/// The one way to undo: DEL of every attachment of `record` that is left. Those that are deleted or given up are gone then,
/// and the leases of all that are gone are released.
pub(super) fn detach(
    context: &Context<'_>,
    record: &mut Record,
    origin: Origin,
    netns: &str,
) -> Result<(), Vec<RunError>> {
    let netns = still_there(netns);
    let was_left: Vec<bool> = record
        .attachments
        .iter()
        .map(|one| !one.is_gone())
        .collect();
    let detached = context.runner().detach(record, netns);
    let failures = match detached {
        Ok(()) => Vec::new(),
        Err(errors) => give_up(context, record, origin, netns, errors),
    };
    if netns.is_empty() {
        let entries = record.attachments.iter().zip(was_left);
        let deleted = entries.filter(|(entry, was_left)| *was_left && entry.is_gone());
        host_device::restore_names(deleted.map(|(entry, _)| entry));
    }
    lease::release_gone(record, &context.config.state_dir);
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures),
    }
}

/// Keeps what could not be deleted, and marks the sandbox so that it is tried again by whoever comes next: not every runtime
/// does. Gives whether the record was written.
pub(super) fn keep(
    context: &Context<'_>,
    sandbox: &Sandbox<'_>,
    record: &Record,
    failure: &Failure,
) -> bool {
    let saved = sandbox.save(record);
    if let Err(error) = &saved {
        let error = error.diagnosis();
        tracing::warn!(%error, "the record still has attachments that are gone");
    }
    // After the record, which counts as newer otherwise.
    mark(context, &record.container_id, failure);
    saved.is_ok()
}

/// Marks a sandbox that could not be deleted.
pub(super) fn mark(context: &Context<'_>, container_id: &str, failure: &Failure) {
    let orphans = context.records.orphans();
    let marked = orphans.mark_failed(container_id, Timestamp::now(), failure.diagnosis());
    if let Err(error) = marked {
        let error = error.diagnosis();
        tracing::warn!(%error, container_id, "only the runtime can have it deleted");
    }
}

/// Removes what Multus kept of the attachments that are gone.
fn forget_results(context: &Context<'_>, record: &Record) {
    let gone = record.gone().map(|entry| &entry.attachment);
    if let Err(error) = context.multus.forget_results(&record.container_id, gone) {
        let error = error.diagnosis();
        tracing::warn!(%error, "a file of Multus stays");
    }
}

/// The network namespace for a DEL: none once it is gone, since some plugins take a path that leads
/// nowhere for a failure, and none for the end of the pod (CNI specification 1.1.0, "DEL").
fn still_there(netns: &str) -> &str {
    match netns::exists(Path::new(netns)) {
        Err(NetnsError::Missing { .. } | NetnsError::NotANamespace { .. }) => "",
        _ => netns,
    }
}

/// The sandbox's lock. On a file system that takes no file any more, a DEL goes on without.
fn lock<'a>(context: &'a Context<'_>) -> Result<Sandbox<'a>, Failure> {
    let made = context.records.make_folders();
    match context
        .records
        .lock(context.container_id(), context.lock_limit())
    {
        Ok(sandbox) => Ok(sandbox),
        Err(busy @ LockError::Busy { .. }) => Err(busy.into()),
        Err(error @ LockError::Io { .. }) => {
            let cause = made
                .err()
                .map_or(error.to_string(), |error| error.to_string());
            tracing::warn!(cause, "going on without a lock");
            Ok(context.records.without_lock(context.container_id()))
        }
    }
}

/// What there is to delete: our record, else what Multus left, else what can still be found out.
fn known_record(
    context: &Context<'_>,
    sandbox: &Sandbox<'_>,
) -> Result<Option<(Record, Origin)>, Failure> {
    let env = &context.request.env;
    match sandbox.load() {
        Ok(Some(record)) => {
            for plugin in record.attachments().flat_map(|one| &one.list.plugins) {
                learn(plugin.as_map());
            }
            Ok(Some((record, Origin::Recorded)))
        }
        Ok(None) => {
            let pod = context.pod_ref.clone();
            let made_by_multus = context.multus.record(
                &env.container_id,
                &env.netns,
                &env.ifname,
                &env.args,
                pod,
            )?;
            match made_by_multus {
                Some(record) => Ok(Some((record, Origin::Recorded))),
                None if context.records.container_ids()?.is_empty() => Ok(found_out(context)),
                None => Ok(None),
            }
        }
        Err(source @ RecordError::Corrupt { .. }) => {
            let aside = sandbox.set_aside()?;
            match found_out(context) {
                Some(found) => Ok(Some(found)),
                None => Err(Failure::SetAside { aside, source }),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Plans the sandbox again from the pod and its networks, if these can still be read and the pod is
/// still the same one. Without CNI_NETNS the runtime says that the sandbox has ended: what was made in it is gone, and
/// what the pod asks for now may be for another sandbox.
fn found_out(context: &Context<'_>) -> Option<(Record, Origin)> {
    if context.request.env.netns.is_empty() {
        tracing::info!("nothing is recorded and nothing is planned anew without CNI_NETNS");
        return None;
    }
    let pod_ref = context.pod_ref.as_ref()?;
    let pod: Pod = match context.cluster()?.pod(pod_ref) {
        Ok(pod) => pod,
        Err(error) => {
            tracing::info!(%error, "nothing is recorded and the pod cannot be read");
            return None;
        }
    };
    match make_plan(context, Some(&pod)) {
        Ok(attachments) => {
            let env = &context.request.env;
            let record = Record::planned(
                &env.container_id,
                &env.netns,
                Some(pod_ref.clone()),
                attachments,
            );
            Some((record, Origin::PlannedAnew))
        }
        Err(failure) => {
            tracing::info!(%failure, "nothing is recorded and the networks cannot be read");
            None
        }
    }
}
