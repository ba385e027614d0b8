//! Reporting the result of an ADD to the cluster: network-status and Events.

use cni::result::CniResult;

use super::failure::Failure;
use crate::cluster::{Cluster, Event, EventReason, Pod};
use crate::config::Config;
use crate::device_files;
use crate::diagnosis::Explain as _;
use crate::record::Record;
use crate::status::{AttachmentStatus, network_status, summary};

/// The report of an ADD that succeeded.
pub(super) struct Success {
    /// The text of network-status.
    pub(super) network_status: String,
    /// An Event for each attachment.
    pub(super) events: Vec<Event>,
}

/// The report of a record whose attachments are all made.
pub(super) fn success(config: &Config, record: &Record) -> Success {
    let nothing = CniResult::default();
    let infos: Vec<_> = record
        .attachments
        .iter()
        .map(|entry| device_files::info_of(config, &entry.attachment))
        .collect();
    let statuses: Vec<_> = record
        .attachments
        .iter()
        .zip(&infos)
        .enumerate()
        .map(|(index, (entry, info))| AttachmentStatus {
            name: &entry.attachment.network,
            ifname: &entry.attachment.ifname,
            result: entry.result.as_ref().unwrap_or(&nothing),
            is_default: index == 0,
            device_info: info.as_ref(),
        })
        .collect();
    let events: Vec<_> = statuses
        .iter()
        .map(|status| Event {
            reason: EventReason::AddedInterface,
            note: format!(
                "Add {} [{}] from {}",
                status.ifname,
                summary(status.result),
                status.name
            )
            .into(),
        })
        .collect();
    Success {
        network_status: network_status(&statuses),
        events,
    }
}

/// Posts an Event that says why the ADD failed.
pub(super) fn failure(cluster: &dyn Cluster, pod: &Pod, failure: &Failure) {
    let event = Event {
        reason: EventReason::FailedAttach,
        note: failure.diagnosis(),
    };
    if let Err(error) = cluster.report(pod, None, &[event]) {
        let error = error.diagnosis();
        tracing::warn!(%error, "the Event of this failure could not be posted");
    }
}
