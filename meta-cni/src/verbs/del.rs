//! DEL: removes what is recorded for a sandbox. It needs nobody: not the API server, not the network's
//! definition.

use std::path::Path;

use super::add::make_plan;
use super::context::Context;
use super::failure::Failure;
use crate::cluster::Pod;
use crate::netns::{self, NetnsError};
use crate::record::{LockError, Record, RecordError, Sandbox};
use crate::{device, lease};

/// Serves DEL. Nothing recorded, and nothing to be found out, is success.
pub(super) fn del(context: &Context<'_>) -> Result<(), Failure> {
    let sandbox = lock(context)?;
    match recorded(context, &sandbox)? {
        Some(record) => delete(context, sandbox, record, &context.request.env.netns),
        None => Ok(sandbox.forget()?),
    }
}

/// Deletes the attachments of `record` and forgets it; if one cannot be deleted, the record of that
/// one stays.
pub(super) fn delete(
    context: &Context<'_>,
    sandbox: Sandbox<'_>,
    mut record: Record,
    netns: &str,
) -> Result<(), Failure> {
    device::clean_up(&context.config, record.attachments());
    let whole = record.clone();
    let detached = context.runner().detach(&mut record, still_there(netns));
    lease::give_back(&whole, &record);
    match detached {
        Ok(()) => {
            context.multus.forget(&whole)?;
            Ok(sandbox.forget()?)
        }
        Err(errors) => {
            match sandbox.save_soon(&record) {
                Ok(()) => forget_results(context, &whole, &record),
                Err(error) => {
                    tracing::warn!(%error, "the record still has attachments that are gone");
                }
            }
            Err(Failure::Undeleted(errors))
        }
    }
}

/// Removes what Multus kept of the attachments of `whole` that are not in `rest` any more.
fn forget_results(context: &Context<'_>, whole: &Record, rest: &Record) {
    let gone = whole.attachments().filter(|attachment| {
        rest.attachments()
            .all(|left| left.ifname != attachment.ifname)
    });
    if let Err(error) = context.multus.forget_results(&whole.container_id, gone) {
        tracing::warn!(%error, "a file of Multus stays");
    }
}

/// The network namespace for a DEL: none once it is gone, since some plugins take a path that leads
/// nowhere for a failure, and none for the end of the pod (CNI specification 1.1.0, "DEL").
pub(super) fn still_there(netns: &str) -> &str {
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
fn recorded(context: &Context<'_>, sandbox: &Sandbox<'_>) -> Result<Option<Record>, Failure> {
    let env = &context.request.env;
    match sandbox.load() {
        Ok(Some(record)) => Ok(Some(record)),
        Ok(None) => {
            let path = context.delegate_path();
            let pod = context.pod_ref.clone();
            let made_by_multus = context.multus.record(
                &env.container_id,
                &env.netns,
                &env.ifname,
                &path,
                &env.args,
                pod,
            )?;
            match made_by_multus {
                Some(record) => Ok(Some(record)),
                None if context.records.container_ids()?.is_empty() => Ok(found_out(context)),
                None => Ok(None),
            }
        }
        Err(source @ RecordError::Corrupt { .. }) => {
            let aside = sandbox.set_aside()?;
            match found_out(context) {
                Some(record) => Ok(Some(record)),
                None => Err(Failure::SetAside { aside, source }),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Plans the sandbox again from the pod and its networks, if these can still be read and the pod is
/// still the same one.
fn found_out(context: &Context<'_>) -> Option<Record> {
    let pod_ref = context.pod_ref.as_ref()?;
    let pod: Pod = match context.cluster()?.pod(pod_ref) {
        Ok(pod) => pod,
        Err(error) => {
            tracing::info!(%error, "nothing is recorded and the pod cannot be looked up");
            return None;
        }
    };
    match make_plan(context, Some(&pod)) {
        Ok(attachments) => {
            let env = &context.request.env;
            let path = context.delegate_path();
            Some(Record::planned(
                &env.container_id,
                &env.netns,
                &path,
                Some(pod_ref.clone()),
                attachments,
            ))
        }
        Err(failure) => {
            tracing::info!(%failure, "nothing is recorded and the networks cannot be looked up");
            None
        }
    }
}
