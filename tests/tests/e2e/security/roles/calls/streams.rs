//! Calls whose answer is more than one message, or more than one word.

use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::{self as ipam, watch_response::Message};
use tonic::Status;
use tonic::transport::Channel;

use super::requests::{allocation, filter};
use crate::security::roles::scene::Target;

pub(super) async fn report(channel: Channel, target: Target) -> Result<bool, Status> {
    let mut client = LeaseServiceClient::new(channel);
    let held = ipam::HeldLease {
        request: Some(allocation(&target)),
        ips: vec![target.address],
    };
    let request = ipam::ReportHeldRequest {
        node: "n1".to_owned(),
        store: Some(ipam::StoreMark {
            proof: String::new(),
            id: target.store,
            revision: 0,
        }),
        held: vec![held],
    };
    let answer = client.report_held(request).await?.into_inner();
    // Another node's attachment is a conflict, which this table calls a refusal.
    match answer.conflicts {
        0 => Ok(answer.unchanged == 1),
        _ => Err(Status::permission_denied(answer.conflict_details.join(" "))),
    }
}

pub(super) async fn watch(channel: Channel, target: Target) -> Result<bool, Status> {
    let request = ipam::WatchRequest {
        include_existing: true,
        filter: filter(&target),
        ..Default::default()
    };
    let mut changes = LeaseServiceClient::new(channel)
        .watch(request)
        .await?
        .into_inner();
    let mut seen = false;
    while let Some(message) = changes.message().await? {
        match message.message {
            Some(Message::Event(_)) => seen = true,
            Some(Message::BookmarkRevision(_)) | None => break,
        }
    }
    Ok(seen)
}

pub(super) async fn export(channel: Channel, target: Target) -> Result<bool, Status> {
    let found = exported(channel, &target).await?;
    Ok(found.is_some())
}

/// The target's lease as the export of a caller has it.
pub(crate) async fn exported(
    channel: Channel,
    target: &Target,
) -> Result<Option<ipam::Lease>, Status> {
    let mut items = AdminServiceClient::new(channel)
        .export(ipam::ExportRequest {})
        .await?
        .into_inner();
    let is_target = |lease: &ipam::Lease| {
        let owner = lease.owner.as_ref();
        owner.is_some_and(|owner| owner.container_id == target.container)
    };
    let mut found = None;
    while let Some(item) = items.message().await? {
        if let Some(ipam::export_item::Item::Lease(lease)) = item.item {
            found = Some(lease).filter(is_target).or(found);
        }
    }
    Ok(found)
}
