//! Everybody comes at once.

use std::collections::HashSet;
use std::sync::Arc;

use e2e::IpamServer;
use e2e::ipam::request;
use proto::ipam::v1::{BatchAllocateRequest, CreatePoolRequest};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt;

/// Clients with a connection of their own.
const CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_parallel_allocates_empty_a_pool_of_ten_thousand_pairs_without_a_duplicate() {
    let server = IpamServer::start();
    let mut pool = e2e::ipam::pool("blue", "10.0.0.0/16", "fd00::/64");
    if let (Some(ipv4), Some(ipv6)) = (&mut pool.ipv4, &mut pool.ipv6) {
        ipv4.ranges = vec!["10.0.1.0-10.0.40.15".to_owned()];
        ipv6.ranges = vec!["fd00::1-fd00::2710".to_owned()];
    }
    let create = CreatePoolRequest {
        pool: Some(pool),
        ..CreatePoolRequest::default()
    };
    server
        .pool_client()
        .create_pool(create)
        .await
        .expect("create");
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| server.lease_client()).collect();
    let clients = Arc::new(clients);
    let mut calls = JoinSet::new();
    for number in 0..10_000 {
        let clients = Arc::clone(&clients);
        calls.spawn(async move {
            let mut client = clients[number % CONNECTIONS].clone();
            client
                .allocate(request("blue", &format!("pod-{number}")))
                .await
        });
    }
    let (mut ipv4, mut ipv6) = (HashSet::new(), HashSet::new());
    while let Some(answer) = calls.join_next().await {
        let answer = answer.expect("no panic").expect("allocate").into_inner();
        let lease = answer.lease.expect("a lease");
        assert!(ipv4.insert(lease.ipv4.clone()), "twice: {}", lease.ipv4);
        assert!(ipv6.insert(lease.ipv6.clone()), "twice: {}", lease.ipv6);
    }
    assert_eq!((ipv4.len(), ipv6.len()), (10_000, 10_000));

    let refused = server
        .lease_client()
        .allocate(request("blue", "late"))
        .await;
    let refused = refused.expect_err("the pool is empty");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("IPv4"), "{refused}");
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "POOL_EXHAUSTED");
    server.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_finds_no_ipv6_address_leaves_the_ipv4_pool_as_it_was() {
    let server = IpamServer::start();
    server
        .create_pool("blue", "10.0.0.0/24", "fd00::/125")
        .await;
    let mut client = server.lease_client();
    client
        .allocate(request("blue", "first"))
        .await
        .expect("allocate");
    let before = server.pool("blue").await;
    let batch = BatchAllocateRequest {
        requests: (0..20)
            .map(|number| request("blue", &format!("pod-{number}")))
            .collect(),
        ..BatchAllocateRequest::default()
    };
    let refused = client
        .batch_allocate(batch)
        .await
        .expect_err("IPv6 is empty");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("IPv6"), "{refused}");
    assert_eq!(server.pool("blue").await, before);
    assert_eq!(server.leases().await.len(), 1);
    server.assert_consistent().await;

    let next = client
        .allocate(request("blue", "second"))
        .await
        .expect("allocate");
    let next = next.into_inner().lease.expect("a lease");
    assert_eq!(next.ipv4, "10.0.0.2/24", "the batch moved nothing");
}
