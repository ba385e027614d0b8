//! The table of failures (docs/src/errors.md): each is caused at a real server, and has its code, its reason
//! and its details; what a plugin can meet is caused through meta-ipam as well, and has its CNI code.

mod leases;
mod plugin;
mod pools;

use std::time::Duration;

use e2e::IpamServer;
use e2e::ipam::{pool, request};
use proto::ipam::v1::{AllocateRequest, CreatePoolRequest, Pool};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

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
