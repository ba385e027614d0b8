//! Single calls of a caller, with their whole answers.

use proto::ipam::v1 as ipam;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use super::requests::{allocation, pool};
use crate::security::roles::scene::Target;

/// All leases that a caller is shown, page by page.
pub(crate) async fn list_as(channel: Channel) -> Result<Vec<ipam::Lease>, Status> {
    let mut client = LeaseServiceClient::new(channel);
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ipam::ListLeasesRequest {
            page_size: 1,
            page_token,
            ..Default::default()
        };
        let page = client.list_leases(request).await?.into_inner();
        all.extend(page.leases);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// A new attachment on the target's network, as a caller that names another node asks for it.
pub(crate) async fn allocate_as(
    channel: Channel,
    target: &Target,
    node: &str,
) -> Result<ipam::Lease, Status> {
    let mut request = allocation(target);
    let owner = request.owner.get_or_insert_default();
    owner.node = node.to_owned();
    owner.container_id = format!("new-{}", target.container);
    owner.pod.clone_from(&owner.container_id);
    let answer = LeaseServiceClient::new(channel).allocate(request).await?;
    Ok(answer.into_inner().lease.expect("a lease"))
}

/// The pools as a caller is shown them.
pub(crate) async fn pools_as(channel: Channel) -> Result<Vec<ipam::Pool>, Status> {
    let mut client = PoolServiceClient::new(channel);
    let listed = client.list_pools(ipam::ListPoolsRequest::default()).await?;
    Ok(listed.into_inner().pools)
}

pub(crate) async fn create_pool_as(channel: Channel) -> Result<ipam::Pool, Status> {
    let request = ipam::CreatePoolRequest {
        pool: Some(pool("new")),
        validate_only: true,
        ..Default::default()
    };
    let answer = PoolServiceClient::new(channel).create_pool(request).await?;
    Ok(answer.into_inner())
}

/// How many leases are suspected by a list that has none.
pub(crate) async fn reclaim_as(channel: Channel) -> Result<u64, Status> {
    let request = ipam::ReclaimOrphansRequest::default();
    let answer = AdminServiceClient::new(channel)
        .reclaim_orphans(request)
        .await?;
    Ok(answer.into_inner().suspected_count)
}

pub(crate) async fn release_as(channel: Channel, id: &str) -> Result<(), Status> {
    let request = ipam::ReleaseRequest {
        id: id.to_owned(),
        ..Default::default()
    };
    let answer = LeaseServiceClient::new(channel).release(request).await;
    answer.map(drop)
}
