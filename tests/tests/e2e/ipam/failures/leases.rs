//! What leases and watches refuse.

use proto::ipam::v1::{
    BatchAllocateRequest, ListLeasesRequest, ReleaseRequest, RenewRequest, WatchRequest,
};

use super::*;

#[tokio::test]
async fn leases_are_refused_with_code_reason_and_details() {
    use Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange};
    use Detail::*;
    let (server, held) = scene().await;
    let mut leases = server.lease_client();
    let unknown = leases.allocate(request("red", "a")).await;
    refused(
        "an unknown pool",
        unknown,
        NotFound,
        "POOL_NOT_FOUND",
        Nothing,
    );
    let mut partial = request("blue", "a");
    partial.owner.as_mut().expect("an owner").ifname.clear();
    let partial = leases.allocate(partial).await;
    refused(
        "half an attachment",
        partial,
        InvalidArgument,
        "INVALID_ATTACHMENT",
        Field("owner"),
    );
    let bad = leases.allocate(asking("blue", "a", "10.0.0")).await;
    refused(
        "a bad address",
        bad,
        InvalidArgument,
        "INVALID_FIELD",
        Field("ips[0]"),
    );
    for (what, ip, code, reason) in [
        (
            "outside of the pool",
            "10.9.0.1",
            OutOfRange,
            "ADDRESS_NOT_IN_POOL",
        ),
        (
            "the gateway",
            "10.0.0.1",
            FailedPrecondition,
            "ADDRESS_RESERVED",
        ),
        (
            "the network",
            "10.0.0.0",
            FailedPrecondition,
            "ADDRESS_RESERVED",
        ),
        (
            "the broadcast address",
            "10.0.0.7",
            FailedPrecondition,
            "ADDRESS_RESERVED",
        ),
        (
            "an address in use",
            "10.0.0.3",
            AlreadyExists,
            "ADDRESS_IN_USE",
        ),
    ] {
        let answer = leases.allocate(asking("blue", "a", ip)).await;
        refused(what, answer, code, reason, Nothing);
    }
    let other = leases.allocate(asking("blue", "holder", "10.0.0.4")).await;
    refused(
        "the same key, another request",
        other,
        AlreadyExists,
        "REQUEST_MISMATCH",
        Nothing,
    );
    let release = |id: &str, generation| ReleaseRequest {
        id: id.to_owned(),
        generation,
        ..ReleaseRequest::default()
    };
    let gone = leases.release(release("l999", 0)).await;
    refused(
        "an unknown lease",
        gone,
        NotFound,
        "LEASE_NOT_FOUND",
        Nothing,
    );
    let stale = leases.release(release(&held, 7)).await;
    refused(
        "a stale generation",
        stale,
        Aborted,
        "STALE_GENERATION",
        Nothing,
    );
    leases.release(release(&held, 0)).await.expect("release");
    let rests = leases.allocate(asking("blue", "a", "10.0.0.3")).await;
    refused(
        "an address that rests",
        rests,
        FailedPrecondition,
        "ADDRESS_QUARANTINED",
        Retry,
    );
    let renew = RenewRequest {
        id: held,
        ..RenewRequest::default()
    };
    let over = leases.renew(renew).await;
    refused(
        "renewal after the end",
        over,
        FailedPrecondition,
        "LEASE_EXPIRED",
        Nothing,
    );
    let token = leases
        .list_leases(ListLeasesRequest {
            page_token: "rubbish".to_owned(),
            ..ListLeasesRequest::default()
        })
        .await;
    refused(
        "a bad page token",
        token,
        InvalidArgument,
        "BAD_TOKEN",
        Nothing,
    );
}

#[tokio::test]
async fn a_watch_from_what_is_no_longer_kept_is_refused() {
    let server = IpamServer::start_with(&["--history-events=1"]);
    server.create_pool("wide", "10.0.0.0/16", "").await;
    let mut leases = server.lease_client();
    // The history is cut in steps of 1,024 changes.
    for batch in 0..40 {
        let requests = (0..64).map(|n| request("wide", &format!("pod-{batch}-{n}")));
        let batch = BatchAllocateRequest {
            requests: requests.collect(),
            ..BatchAllocateRequest::default()
        };
        leases.batch_allocate(batch).await.expect("allocate");
    }
    let watch = WatchRequest {
        after_revision: 1,
        ..WatchRequest::default()
    };
    let reported = match leases.watch(watch).await {
        Ok(stream) => stream.into_inner().message().await.map(Response::new),
        Err(status) => Err(status),
    };
    refused(
        "a watch from the past",
        reported,
        Code::OutOfRange,
        "COMPACTED",
        Detail::Nothing,
    );
}
