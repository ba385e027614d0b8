//! What pools refuse, and allocations from pools that have nothing.

use proto::ipam::v1::{
    AllocateRequest, CordonPoolRequest, DeletePoolRequest, StoreMark, UpdatePoolRequest,
};

use super::*;

#[tokio::test]
async fn pools_are_refused_with_code_reason_and_details() {
    use Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
    use Detail::*;
    let (server, _) = scene().await;
    let mut pools = server.pool_client();
    let mut create = async |wanted| pools.create_pool(creating(wanted)).await;
    let bad = create(pool("p", "10.300.0.0/24", "")).await;
    refused(
        "a bad CIDR",
        bad,
        InvalidArgument,
        "INVALID_FIELD",
        Field("pool.ipv4.cidr"),
    );
    let exists = create(pool("green", "10.2.0.0/24", "")).await;
    refused(
        "a pool that exists",
        exists,
        AlreadyExists,
        "POOL_EXISTS",
        Nothing,
    );
    let overlaps = create(pool("p", "10.1.2.0/24", "")).await;
    refused(
        "an overlap",
        overlaps,
        FailedPrecondition,
        "POOL_OVERLAP",
        Nothing,
    );
    let delete = |name: &str, etag: &str| DeletePoolRequest {
        name: name.to_owned(),
        etag: etag.to_owned(),
        ..DeletePoolRequest::default()
    };
    let gone = pools.delete_pool(delete("red", "")).await;
    refused("an unknown pool", gone, NotFound, "POOL_NOT_FOUND", Nothing);
    let used = pools.delete_pool(delete("blue", "")).await;
    refused(
        "a delete with leases",
        used,
        FailedPrecondition,
        "POOL_IN_USE",
        Nothing,
    );
    let stale = pools.delete_pool(delete("green", "old")).await;
    refused("a stale etag", stale, Aborted, "STALE_GENERATION", Nothing);
    let mut smaller = pool("blue", "10.0.0.0/29", "fd00::/64");
    if let Some(ipv4) = &mut smaller.ipv4 {
        ipv4.ranges = vec!["10.0.0.4-10.0.0.6".to_owned()];
    }
    let shrunk = pools
        .update_pool(UpdatePoolRequest {
            pool: Some(smaller),
            update_mask: vec!["ipv4.ranges".to_owned()],
            ..UpdatePoolRequest::default()
        })
        .await;
    refused(
        "a shrink with leases",
        shrunk,
        FailedPrecondition,
        "POOL_IN_USE",
        Nothing,
    );
}

#[tokio::test]
async fn each_cause_of_a_pool_that_leases_nothing_has_its_reason() {
    use Code::{FailedPrecondition, ResourceExhausted};
    use Detail::*;
    let server = IpamServer::start();
    server
        .create_pool("small", "10.0.0.0/30", "fd00::/64")
        .await;
    server
        .create_pool("few6", "10.1.0.0/24", "fd01::/127")
        .await;
    let mut leases = server.lease_client();
    for (pool, pods) in [("small", 2), ("few6", 1)] {
        let mut given = 0;
        let refusal = loop {
            match leases
                .allocate(request(pool, &format!("pod-{given}")))
                .await
            {
                Ok(_) => given += 1,
                Err(status) => break status,
            }
        };
        assert!(given >= pods, "{pool}: {given}");
        let info = refusal.get_details_error_info().expect("a reason");
        let family = if pool == "small" { "IPv4" } else { "IPv6" };
        assert_eq!(info.metadata["family"], family, "{refusal:?}");
        refused::<()>(
            pool,
            Err(refusal),
            ResourceExhausted,
            "POOL_EXHAUSTED",
            Nothing,
        );
    }
    let cordon = CordonPoolRequest {
        name: "small".to_owned(),
    };
    server
        .pool_client()
        .cordon_pool(cordon)
        .await
        .expect("cordon");
    let cordoned = leases.allocate(request("small", "late")).await;
    refused(
        "a cordoned pool",
        cordoned,
        FailedPrecondition,
        "POOL_NOT_ACTIVE",
        Nothing,
    );
    let elsewhere = AllocateRequest {
        known_store: Some(StoreMark {
            proof: String::new(),
            id: "another".to_owned(),
            revision: 7,
        }),
        ..request("blue", "new")
    };
    refused(
        "a node that reported to another store",
        leases.allocate(elsewhere).await,
        FailedPrecondition,
        "REPORT_FIRST",
        Nothing,
    );
}
