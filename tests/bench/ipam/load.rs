//! Pools, and the leases that are there before anything is measured.

use std::time::Instant;

use e2e::IpamServer;
use e2e::bench::{Samples, line_plot};
use e2e::ipam::request;
use proto::ipam::v1::BatchAllocateRequest;
use tokio::task::JoinSet;

use crate::{POOL, grpc};

/// Leases of one batch (ipam.v1: at most 64).
const BATCH: usize = 64;
/// Batches in flight.
const AT_ONCE: usize = 32;

/// The pools of a server: `bench` for everything, `v6` without IPv4.
pub(crate) async fn pools(server: &IpamServer) {
    server.create_pool("bench", POOL.0, POOL.1).await;
    server.create_pool("v6", "", "fd01::/64").await;
}

/// Leases until `count` are there, which are numbered from 0.
pub(crate) async fn fill(server: &IpamServer, count: usize) {
    fill_from(server, 0, count).await;
}

async fn fill_from(server: &IpamServer, first: usize, end: usize) {
    let client = server.lease_client();
    let mut batches = JoinSet::new();
    for start in (first..end).step_by(BATCH) {
        if batches.len() >= AT_ONCE {
            batches
                .join_next()
                .await
                .expect("it is not empty")
                .expect("a batch");
        }
        let batch = BatchAllocateRequest {
            requests: (start..(start + BATCH).min(end))
                .map(|number| request("bench", &format!("loaded-{number}")))
                .collect(),
            ..BatchAllocateRequest::default()
        };
        let mut client = client.clone();
        batches.spawn(async move {
            client.batch_allocate(batch).await.expect("lease");
        });
    }
    while let Some(batch) = batches.join_next().await {
        batch.expect("a batch");
    }
}

/// Leases until `count` are there, and plots what one costs on the way.
pub(crate) async fn grow(server: &IpamServer, count: usize) {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    let (mut first, mut end) = (0, 1_000);
    let started = Instant::now();
    while first < count {
        fill_from(server, first, end).await;
        let mut samples = Samples::default();
        for _ in 0..grpc::ROUNDS / 4 {
            samples.push(grpc::allocate(server, "bench").await);
        }
        let leases = end as f64;
        p50.push((leases, samples.median()));
        p99.push((leases, samples.quantile(0.99)));
        (first, end) = (end, (end * 10).min(count));
    }
    eprintln!(
        "{count} leases after {:.0} s",
        started.elapsed().as_secs_f64()
    );
    line_plot(
        "ipam-latency",
        "Allocate of a pair, durable, one caller",
        ("leases", "ms"),
        &[("p50", &p50), ("p99", &p99)],
    );
}
