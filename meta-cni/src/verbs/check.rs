//! CHECK: the default network is asked by its own plugins against its own result, and so is a network that wants it;
//! then every attachment is compared with what the kernel has, and its leases with what the server has.

mod compare;

use std::path::Path;

use super::context::Context;
use super::failure::Failure;
use crate::diagnosis::Diagnosis;
use crate::lease;
use crate::record::{Entry, Record};
use crate::snapshot;
use compare::{Comparison, MadeBy};

/// Serves CHECK.
pub(super) fn check(context: &Context<'_>) -> Result<(), Failure> {
    context.records.make_folders()?;
    let _sandbox = context
        .records
        .lock(context.container_id(), context.lock_limit())?;
    let (record, made_by) = load_record(context)?;
    let netns = &context.request.env.netns;
    context.runner().check(&record, netns)?;
    let now = snapshot::inspect(Path::new(netns))?;
    let comparison = Comparison {
        record: &record,
        made_by,
        netns,
        now: &now,
    };
    let detects = context.config.dad_timeout().is_some();
    for (index, entry) in record.attachments.iter().enumerate() {
        let whole = index > 0 && !entry.attachment.list.disable_check;
        let problem = comparison
            .missing_interface(entry)
            .or_else(|| comparison.wrong_default_route(entry))
            .or_else(|| comparison.duplicate(entry).filter(|_| detects))
            .or_else(|| comparison.change(entry).filter(|_| whole));
        if let Some(problem) = problem {
            return Err(failure(entry, problem));
        }
        if index > 0 {
            log_late_addresses(entry, &comparison.late_addresses(entry));
        }
        if whole {
            lease::check(&record, entry)?;
        }
    }
    Ok(())
}

/// Logs addresses that came after ADD: network-status does not have them.
fn log_late_addresses(entry: &Entry, addresses: &[String]) {
    if addresses.is_empty() {
        return;
    }
    let attachment = &entry.attachment;
    tracing::warn!(
        network = attachment.network,
        ifname = attachment.ifname,
        addresses = addresses.join(", "),
        "the interface has addresses that ADD did not give it: from router advertisements \
         (acceptRouterAdvertisements), or set by the pod"
    );
}

fn failure(entry: &Entry, problem: Diagnosis) -> Failure {
    Failure::Check {
        network: entry.attachment.network.clone(),
        ifname: entry.attachment.ifname.clone(),
        problem,
    }
}

fn load_record(context: &Context<'_>) -> Result<(Record, MadeBy), Failure> {
    let env = &context.request.env;
    if let Some(record) = context.records.peek(context.container_id())? {
        return if record.is_complete() {
            Ok((record, MadeBy::Us))
        } else {
            Err(Failure::Incomplete)
        };
    }
    let pod = context.pod_ref.clone();
    let record =
        context
            .multus
            .record(&env.container_id, &env.netns, &env.ifname, &env.args, pod)?;
    record
        .map(|record| (record, MadeBy::Multus))
        .ok_or_else(|| Failure::NotRecorded {
            container_id: env.container_id.clone(),
        })
}
