//! Telling the cluster what an ADD came to: network-status and Events.

use std::sync::LazyLock;

use serde_json::Value;

use super::failure::Failure;
use crate::cluster::{Cluster, ClusterError, Event, EventReason, Pod};
use crate::cni::result::CniResult;
use crate::config::Config;
use crate::device;
use crate::record::Record;
use crate::status::{AttachmentStatus, network_status, summary};

/// Writes network-status, and an Event for each attachment.
pub(super) fn success(
    config: &Config,
    cluster: &dyn Cluster,
    pod: &Pod,
    record: &Record,
) -> Result<(), ClusterError> {
    let infos = device_infos(config, record);
    let statuses = statuses(record, &infos);
    let events: Vec<_> = statuses
        .iter()
        .map(|status| Event {
            reason: EventReason::AddedInterface,
            message: format!(
                "Add {} [{}] from {}",
                status.ifname,
                summary(status.result),
                status.name
            ),
        })
        .collect();
    cluster.report(pod, Some(&network_status(&statuses)), &events)
}

/// The network-status of a pod with this record.
pub(crate) fn network_status_of(config: &Config, record: &Record) -> String {
    network_status(&statuses(record, &device_infos(config, record)))
}

fn device_infos(config: &Config, record: &Record) -> Vec<Option<Value>> {
    record
        .attachments()
        .map(|attachment| device::info_of(config, attachment))
        .collect()
}

fn statuses<'r>(record: &'r Record, infos: &'r [Option<Value>]) -> Vec<AttachmentStatus<'r>> {
    static NOTHING: LazyLock<CniResult> = LazyLock::new(CniResult::default);
    record
        .attachments
        .iter()
        .zip(infos)
        .enumerate()
        .map(|(index, (entry, info))| AttachmentStatus {
            name: &entry.attachment.network,
            ifname: &entry.attachment.ifname,
            result: entry.result.as_ref().unwrap_or(&NOTHING),
            is_default: index == 0,
            device_info: info.as_ref(),
        })
        .collect()
}

/// Posts an Event that says why the ADD failed.
pub(super) fn failure(cluster: &dyn Cluster, pod: &Pod, failure: &Failure) {
    let event = Event {
        reason: EventReason::FailedAttach,
        message: failure.line(),
    };
    if let Err(error) = cluster.report(pod, None, &[event]) {
        tracing::warn!(%error, "the Event of this failure could not be posted");
    }
}
