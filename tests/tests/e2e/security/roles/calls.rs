//! One call of each method, about a target that is made for it, and what came of it.

mod by_caller;
mod contract;
mod requests;
mod streams;

use std::future::Future;
use std::pin::Pin;

use proto::ipam::v1 as ipam;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::reservation_service_client::ReservationServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;

use super::scene::Target;
pub(crate) use by_caller::{
    allocate_as, create_pool_as, list_as, pools_as, reclaim_as, release_as,
};
pub(crate) use contract::methods_of_the_contract;
use requests::{allocation, filter, owner, pool, reservation};
pub(crate) use streams::exported;
use streams::{export, report, watch};

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
