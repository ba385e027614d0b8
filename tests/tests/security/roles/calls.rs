//! One call of each method, about a target that is made for it, and what came of it.

use std::future::Future;
use std::pin::Pin;

use prost::Message as _;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::reservation_service_client::ReservationServiceClient;
use proto::ipam::v1::{self as ipam, watch_response::Message};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use super::scene::Target;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, or something was found.
    Done,
    /// As if there were nothing.
    Nothing,
    /// PERMISSION_DENIED.
    Refused,
}

type Calling = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A method, its row of the table, and a call of it.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) row: &'static str,
    pub(crate) make: fn(Channel, Target) -> Calling,
}

fn outcome(answer: Result<bool, Status>) -> Outcome {
    match answer {
        Ok(true) => Outcome::Done,
        Ok(false) => Outcome::Nothing,
        Err(status) if status.code() == Code::NotFound => Outcome::Nothing,
        Err(status) if status.code() == Code::PermissionDenied => Outcome::Refused,
        Err(status) => panic!("{status:?}"),
    }
}

/// A call: the client, the target's name, the request, and whether the answer has what was asked for.
macro_rules! call {
    ($row:literal, $method:literal, $client:ident, $call:ident, |$target:ident| $request:expr, |$answer:ident| $found:expr) => {
        Call {
            method: $method,
            row: $row,
            make: |channel, $target| {
                Box::pin(async move {
                    let answer = $client::new(channel).$call($request).await;
                    outcome(answer.map(|answer| {
                        let $answer = answer.into_inner();
                        $found
                    }))
                })
            },
        }
    };
}

fn owner(target: &Target) -> ipam::Owner {
    ipam::Owner {
        namespace: "default".to_owned(),
        pod: target.container.clone(),
        container_id: target.container.clone(),
        ifname: "net1".to_owned(),
        network: target.network.clone(),
        ..ipam::Owner::default()
    }
}

/// The request that the target's lease came of.
fn allocation(target: &Target) -> ipam::AllocateRequest {
    ipam::AllocateRequest {
        pools: vec!["blue".to_owned()],
        owner: Some(owner(target)),
        ..ipam::AllocateRequest::default()
    }
}

fn filter(target: &Target) -> String {
    format!("owner.container_id=\"{}\"", target.container)
}

fn pool(name: &str) -> ipam::Pool {
    e2e::ipam::pool(name, "10.200.0.0/24", "")
}

/// A reservation that nobody has yet.
fn reservation(target: &Target) -> ipam::Reservation {
    ipam::Reservation {
        name: format!("new-{}", target.container),
        pool: "spare".to_owned(),
        ipv4: "10.1.2.3".to_owned(),
        identity: Some(ipam::Identity {
            namespace: "default".to_owned(),
            pod: "other".to_owned(),
            ..ipam::Identity::default()
        }),
        ..ipam::Reservation::default()
    }
}

/// All of them.
pub(crate) const CALLS: [Call; 33] = [
    call!(
        "pools",
        "ipam.v1.PoolService/GetPool",
        PoolServiceClient,
        get_pool,
        |_target| ipam::GetPoolRequest {
            name: "blue".to_owned()
        },
        |answer| answer.name == "blue"
    ),
    call!(
        "pools",
        "ipam.v1.PoolService/ListPools",
        PoolServiceClient,
        list_pools,
        |_target| ipam::ListPoolsRequest::default(),
        |answer| answer.pools.len() == 2
    ),
    call!(
        "operate",
        "ipam.v1.PoolService/CreatePool",
        PoolServiceClient,
        create_pool,
        |_target| ipam::CreatePoolRequest {
            pool: Some(pool("new")),
            validate_only: true,
            ..Default::default()
        },
        |_answer| true
    ),
    call!(
        "operate",
        "ipam.v1.PoolService/UpdatePool",
        PoolServiceClient,
        update_pool,
        |_target| ipam::UpdatePoolRequest {
            pool: Some(e2e::ipam::pool("spare", "10.1.0.0/16", "")),
            update_mask: vec!["labels".to_owned()],
            validate_only: true,
        },
        |_answer| true
    ),
    call!(
        "operate",
        "ipam.v1.PoolService/DeletePool",
        PoolServiceClient,
        delete_pool,
        |_target| ipam::DeletePoolRequest {
            name: "spare".to_owned(),
            validate_only: true,
            ..Default::default()
        },
        |_answer| true
    ),
    call!(
        "operate",
        "ipam.v1.PoolService/CordonPool",
        PoolServiceClient,
        cordon_pool,
        |_target| ipam::CordonPoolRequest {
            name: "spare".to_owned()
        },
        |_answer| true
    ),
    call!(
        "operate",
        "ipam.v1.PoolService/UncordonPool",
        PoolServiceClient,
        uncordon_pool,
        |_target| ipam::UncordonPoolRequest {
            name: "spare".to_owned()
        },
        |_answer| true
    ),
    call!(
        "allocate",
        "ipam.v1.LeaseService/Allocate",
        LeaseServiceClient,
        allocate,
        |target| allocation(&target),
        |answer| answer.existing
    ),
    call!(
        "allocate",
        "ipam.v1.LeaseService/BatchAllocate",
        LeaseServiceClient,
        batch_allocate,
        |target| ipam::BatchAllocateRequest {
            requests: vec![allocation(&target)],
            ..Default::default()
        },
        |answer| answer.responses.len() == 1
    ),
    Call {
        method: "ipam.v1.LeaseService/ReportHeld",
        row: "allocate",
        make: |channel, target| Box::pin(async move { outcome(report(channel, target).await) }),
    },
    call!(
        "release",
        "ipam.v1.LeaseService/Release",
        LeaseServiceClient,
        release,
        |target| ipam::ReleaseRequest {
            id: target.id,
            ..Default::default()
        },
        |answer| answer.lease.is_some()
    ),
    call!(
        "release",
        "ipam.v1.LeaseService/ReleaseAttachment",
        LeaseServiceClient,
        release_attachment,
        |target| ipam::ReleaseAttachmentRequest {
            network: target.network,
            container_id: target.container,
            ifname: "net1".to_owned(),
        },
        |answer| answer.lease.is_some()
    ),
    call!(
        "release unlisted",
        "ipam.v1.LeaseService/ReleaseUnlisted",
        LeaseServiceClient,
        release_unlisted,
        |target| ipam::ReleaseUnlistedRequest {
            network: target.network,
            node: "n1".to_owned(),
            ..Default::default()
        },
        |answer| answer.count == 1
    ),
    call!(
        "release",
        "ipam.v1.LeaseService/Renew",
        LeaseServiceClient,
        renew,
        |target| ipam::RenewRequest {
            id: target.id,
            ..Default::default()
        },
        |_answer| true
    ),
    call!(
        "leases",
        "ipam.v1.LeaseService/GetLease",
        LeaseServiceClient,
        get_lease,
        |target| ipam::GetLeaseRequest { id: target.id },
        |_answer| true
    ),
    call!(
        "leases",
        "ipam.v1.LeaseService/ListLeases",
        LeaseServiceClient,
        list_leases,
        |target| ipam::ListLeasesRequest {
            filter: filter(&target),
            ..Default::default()
        },
        |answer| !answer.leases.is_empty()
    ),
    call!(
        "leases",
        "ipam.v1.LeaseService/Lookup",
        LeaseServiceClient,
        lookup,
        |target| ipam::LookupRequest {
            owner: Some(owner(&target)),
            ..Default::default()
        },
        |answer| !answer.leases.is_empty()
    ),
    Call {
        method: "ipam.v1.LeaseService/Watch",
        row: "leases",
        make: |channel, target| Box::pin(async move { outcome(watch(channel, target).await) }),
    },
    call!(
        "leases",
        "ipam.v1.LeaseService/Explain",
        LeaseServiceClient,
        explain,
        |target| ipam::ExplainRequest {
            request: Some(allocation(&target))
        },
        |answer| answer.would_give.is_some()
    ),
    call!(
        "reservations",
        "ipam.v1.ReservationService/GetReservation",
        ReservationServiceClient,
        get_reservation,
        |target| ipam::GetReservationRequest {
            name: target.reservation
        },
        |_answer| true
    ),
    call!(
        "reservations",
        "ipam.v1.ReservationService/ListReservations",
        ReservationServiceClient,
        list_reservations,
        |_target| ipam::ListReservationsRequest::default(),
        |answer| !answer.reservations.is_empty()
    ),
    call!(
        "operate",
        "ipam.v1.ReservationService/CreateReservation",
        ReservationServiceClient,
        create_reservation,
        |target| ipam::CreateReservationRequest {
            reservation: Some(reservation(&target)),
            validate_only: true,
            ..Default::default()
        },
        |_answer| true
    ),
    call!(
        "operate",
        "ipam.v1.ReservationService/DeleteReservation",
        ReservationServiceClient,
        delete_reservation,
        |target| ipam::DeleteReservationRequest {
            name: target.reservation
        },
        |_answer| true
    ),
    Call {
        method: "ipam.v1.AdminService/Export",
        row: "admin",
        make: |channel, target| Box::pin(async move { outcome(export(channel, target).await) }),
    },
    call!(
        "operate",
        "ipam.v1.AdminService/Import",
        AdminServiceClient,
        import,
        |_target| tokio_stream::iter([ipam::ImportRequest {
            validate_only: true,
            ..Default::default()
        }]),
        |_answer| true
    ),
    call!(
        "admin",
        "ipam.v1.AdminService/CheckConsistency",
        AdminServiceClient,
        check_consistency,
        |_target| ipam::CheckConsistencyRequest {},
        |answer| answer.problems.is_empty()
    ),
    call!(
        "admin",
        "ipam.v1.AdminService/ListEvents",
        AdminServiceClient,
        list_events,
        |_target| ipam::ListEventsRequest::default(),
        |answer| !answer.events.is_empty()
    ),
    call!(
        "reclaim",
        "ipam.v1.AdminService/ReclaimOrphans",
        AdminServiceClient,
        reclaim_orphans,
        |target| ipam::ReclaimOrphansRequest {
            network: target.network,
            ..Default::default()
        },
        |answer| answer.suspected_count == 1
    ),
    call!(
        "admin",
        "ipam.v1.AdminService/GetServer",
        AdminServiceClient,
        get_server,
        |_target| ipam::GetServerRequest {},
        |answer| answer.writable
    ),
    call!(
        "health",
        "grpc.health.v1.Health/Check",
        HealthClient,
        check,
        |_target| tonic_health::pb::HealthCheckRequest::default(),
        |_answer| true
    ),
    call!(
        "health",
        "grpc.health.v1.Health/Watch",
        HealthClient,
        watch,
        |_target| tonic_health::pb::HealthCheckRequest::default(),
        |_answer| true
    ),
    call!(
        "pools",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ServerReflectionClient,
        server_reflection_info,
        |_target| tokio_stream::iter([]),
        |_answer| true
    ),
    call!(
        "pools",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        AlphaClient,
        server_reflection_info,
        |_target| tokio_stream::iter([]),
        |_answer| true
    ),
];

use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;

/// The methods of ipam.v1, and those of health and reflection that a client uses.
pub(crate) fn methods_of_the_contract() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(proto::IPAM_DESCRIPTORS).expect("descriptors");
    let services = set.file.iter().flat_map(|file| {
        let package = file.package().to_owned();
        let all = file.service.iter();
        all.map(move |service| (package.clone(), service))
    });
    let of_contract = services.flat_map(|(package, service)| {
        let all = service.method.iter();
        all.map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
    });
    let others = [
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    of_contract.chain(others.map(str::to_owned)).collect()
}

async fn report(channel: Channel, target: Target) -> Result<bool, Status> {
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

async fn watch(channel: Channel, target: Target) -> Result<bool, Status> {
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

async fn export(channel: Channel, target: Target) -> Result<bool, Status> {
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
