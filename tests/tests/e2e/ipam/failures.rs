//! The table of failures (docs/src/errors.md): each is caused at a real server, and has its code, its reason
//! and its details; what a plugin can meet is caused through meta-ipam as well, and has its CNI code.

use std::time::Duration;

use e2e::IpamServer;
use e2e::ipam::{pool, request};
use proto::ipam::v1::{
    AllocateRequest, BatchAllocateRequest, CordonPoolRequest, CreatePoolRequest, DeletePoolRequest,
    ListLeasesRequest, Pool, ReleaseAttachmentRequest, ReleaseRequest, RenewRequest, StoreMark,
    UpdatePoolRequest, WatchRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::ipam::plugin::{code, good, json_of, plugin};

/// Beside code and reason.
#[derive(Clone, Copy)]
enum Detail {
    Nothing,
    /// google.rpc.BadRequest names this field.
    Field(&'static str),
    /// google.rpc.RetryInfo.
    Retry,
}

#[track_caller]
fn refused<T: std::fmt::Debug>(
    what: &str,
    answer: Result<Response<T>, Status>,
    code: Code,
    reason: &str,
    detail: Detail,
) {
    let status = answer.expect_err(what);
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("{what}: {status:?}"));
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (code, reason),
        "{what}: {status:?}"
    );
    assert_eq!(info.domain, "ipam.meta-cni.io", "{what}");
    let message = status.message();
    assert!(
        !message.is_empty() && message.len() < 300,
        "{what}: {message}"
    );
    let fields = status.get_details_bad_request().map_or(Vec::new(), |bad| {
        let fields = bad.field_violations.into_iter();
        fields.map(|violation| violation.field).collect()
    });
    let retry = status.get_details_retry_info().is_some();
    match detail {
        Detail::Nothing => assert!(fields.is_empty() && !retry, "{what}: {status:?}"),
        Detail::Field(field) => assert_eq!(fields, [field], "{what}: {status:?}"),
        Detail::Retry => assert!(retry, "{what}: {status:?}"),
    }
}

fn asking(pools: &str, pod: &str, ip: &str) -> AllocateRequest {
    AllocateRequest {
        ips: vec![ip.to_owned()],
        ..request(pools, pod)
    }
}

fn creating(wanted: Pool) -> CreatePoolRequest {
    CreatePoolRequest {
        pool: Some(wanted),
        ..CreatePoolRequest::default()
    }
}

/// A server with the pool `blue`, whose addresses rest after their release, and one lease: 10.0.0.3.
async fn scene() -> (IpamServer, String) {
    let server = IpamServer::start();
    let mut blue = pool("blue", "10.0.0.0/29", "fd00::/64");
    blue.quarantine = Some(Duration::from_secs(3600).into());
    if let Some(ipv4) = &mut blue.ipv4 {
        ipv4.gateway = "10.0.0.1".to_owned();
    }
    let made = server.pool_client().create_pool(creating(blue)).await;
    made.expect("make a pool");
    server.create_pool("green", "10.1.0.0/16", "").await;
    let held = server
        .lease_client()
        .allocate(asking("blue", "holder", "10.0.0.3"))
        .await;
    let lease = held.expect("allocate").into_inner().lease.expect("a lease");
    (server, lease.id)
}

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
async fn pools_that_give_nothing_are_told_apart() {
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
    let told = match leases.watch(watch).await {
        Ok(stream) => stream.into_inner().message().await.map(Response::new),
        Err(status) => Err(status),
    };
    refused(
        "a watch from the past",
        told,
        Code::OutOfRange,
        "COMPACTED",
        Detail::Nothing,
    );
}

#[tokio::test]
async fn a_plugin_turns_each_into_its_cni_code() {
    let (server, _) = scene().await;
    let wish = |ip: &str| json!({"runtimeConfig": {"ips": [ip]}});
    let of_pool = |name: &str| {
        json!({"ipam": {
            "type": "meta-ipam", "pool": name, "server": format!("unix://{}", server.socket().display()),
            "stateDir": server.folder().join("state"), "timeoutSeconds": 2
        }})
    };
    good(plugin(&server, "ADD", "c1", wish("10.0.0.4")));
    let release = ReleaseAttachmentRequest {
        network: "blue".to_owned(),
        container_id: "holder".to_owned(),
        ifname: "net1".to_owned(),
    };
    // 10.0.0.3 rests from now on.
    let released = server.lease_client().release_attachment(release).await;
    released.expect("release");
    let rows: [(&str, &str, Value, u64); 9] = [
        ("a bad address", "c2", wish("10.0.0"), 7),
        ("an unknown pool", "c2", of_pool("red"), 7),
        ("outside of the pool", "c2", wish("10.9.0.1"), 101),
        ("the gateway", "c2", wish("10.0.0.1"), 102),
        ("an address in use", "c2", wish("10.0.0.4"), 103),
        ("an address that rests", "c2", wish("10.0.0.3"), 11),
        ("the same key, another request", "c1", wish("10.0.0.5"), 105),
        ("no pool", "c2", json!({"ipam": {"type": "meta-ipam"}}), 7),
        (
            "bytes that are no configuration",
            "c2",
            json!({"ipam": 7}),
            7,
        ),
    ];
    for (what, container, more, expected) in rows {
        let failed = plugin(&server, "ADD", container, more);
        assert_eq!(code(&failed), expected, "{what}: {failed:?}");
        assert!(
            json_of(&failed)["msg"]
                .as_str()
                .is_some_and(|text| text.len() < 300),
            "{what}"
        );
    }
    for (what, name, address) in [
        ("exhausted", "tiny", "10.3.0.0/31"),
        ("cordoned", "shut", "10.4.0.0/24"),
    ] {
        server.create_pool(name, address, "").await;
        if name == "shut" {
            let cordon = CordonPoolRequest {
                name: name.to_owned(),
            };
            server
                .pool_client()
                .cordon_pool(cordon)
                .await
                .expect("cordon");
        } else {
            for n in 0..2 {
                let taken = server
                    .lease_client()
                    .allocate(request(name, &format!("t{n}")))
                    .await;
                taken.expect("allocate");
            }
        }
        let failed = plugin(&server, "ADD", "c3", of_pool(name));
        assert_eq!(code(&failed), 11, "{what}: {failed:?}");
    }
    // What is not there any more is released all the same.
    good(plugin(&server, "DEL", "c9", json!({})));
    good(plugin(&server, "DEL", "c9", of_pool("red")));
}
