//! Allocate over gRPC, one caller: beside its floor, beside a million leases, in special pools.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use e2e::IpamServer;
use e2e::bench::{Better, Report, Samples};
use e2e::ipam::{pool, request};
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::{CreatePoolRequest, ReleaseAttachmentRequest};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// How often each pair is measured.
pub(crate) const ROUNDS: usize = 2_000;
/// The block that the floor appends: what a disk writes at least.
const BLOCK: [u8; 4096] = [7; 4096];
/// Addresses of the pool that is filled to its last one.
const FILLED: usize = 8_192;

/// One Allocate, whose lease is given back; how long it took.
pub(crate) async fn allocate(server: &IpamServer, pool: &str) -> Duration {
    once(&mut server.lease_client(), pool).await
}

async fn once(client: &mut LeaseServiceClient<Channel>, pool: &str) -> Duration {
    let request = request(pool, "measured");
    let owner = request.owner.clone().expect("it has an owner");
    let started = Instant::now();
    client.allocate(request).await.expect("lease");
    let took = started.elapsed();
    let release = ReleaseAttachmentRequest {
        network: owner.network,
        container_id: owner.container_id,
        ifname: owner.ifname,
    };
    client.release_attachment(release).await.expect("release");
    took
}

/// Beside a 4 KiB append, an fsync and an empty call of the same server.
pub(crate) async fn beside_floor(server: &IpamServer, report: &mut Report) {
    let mut client = server.lease_client();
    let mut health = HealthClient::new(server.channel());
    // In the file system of the store.
    let path = server.store().join("..").join("floor");
    let mut file = File::create(path).expect("make a file");
    let (mut ours, mut floor, mut empty) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        ours.push(once(&mut client, "bench").await);
        let started = Instant::now();
        file.write_all(&BLOCK).expect("append");
        file.sync_all().expect("fsync");
        let called = Instant::now();
        let check = HealthCheckRequest::default();
        health.check(check).await.expect("an answer");
        floor.push(started.elapsed());
        empty.push(called.elapsed());
    }
    report.ratio(
        "allocate_1_over_floor",
        ours.over(&floor),
        1.2,
        Better::Lower,
    );
    report.figure("Allocate, 1 caller", "ms", &ours);
    report.figure("append + fsync + empty call", "ms", &floor);
    report.figure("empty call", "ms", &empty);
}

/// The last addresses of a pool, and a v6 /64 without IPv4, beside a pool with plenty.
pub(crate) async fn special_pools(server: &IpamServer, report: &mut Report) {
    let mut filled = pool("filled", "10.64.0.0/16", "fd02::/64");
    if let (Some(ipv4), Some(ipv6)) = (&mut filled.ipv4, &mut filled.ipv6) {
        ipv4.ranges = vec!["10.64.1.0-10.64.32.255".to_owned()];
        ipv6.ranges = vec![format!("fd02::1-fd02::{FILLED:x}")];
    }
    let create = CreatePoolRequest {
        pool: Some(filled),
        ..CreatePoolRequest::default()
    };
    let made = server.pool_client().create_pool(create).await;
    made.expect("make a pool");
    let mut client = server.lease_client();
    for number in 0..FILLED - 1 {
        let lease = request("filled", &format!("filled-{number}"));
        client.allocate(lease).await.expect("lease");
    }
    let (mut plenty, mut last, mut v6) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        plenty.push(once(&mut client, "bench").await);
        last.push(once(&mut client, "filled").await);
        v6.push(once(&mut client, "v6").await);
    }
    for (name, samples) in [("last_address", &last), ("v6_64", &v6)] {
        both(
            report,
            &format!("allocate_{name}_over_1k"),
            samples,
            &plenty,
        );
    }
}

/// A server with many leases beside one with few.
pub(crate) async fn large_beside_small(
    large: &IpamServer,
    small: &IpamServer,
    report: &mut Report,
) {
    let mut clients = [small.lease_client(), large.lease_client()];
    let mut samples = [Samples::default(), Samples::default()];
    for round in 0..2 * ROUNDS {
        for turn in 0..2 {
            let index = (round + turn) % 2;
            samples[index].push(once(&mut clients[index], "bench").await);
        }
    }
    let [few, many] = samples;
    both(report, "allocate_1m_over_1k", &many, &few);
    report.figure("Allocate at 1,000 leases", "ms", &few);
    report.figure("Allocate at 1,000,000 leases", "ms", &many);
}

/// The ratios of the medians and of the 99th percentiles.
fn both(report: &mut Report, name: &str, ours: &Samples, floor: &Samples) {
    for (suffix, q) in [("p50", 0.5), ("p99", 0.99)] {
        let ratio = ours.quantile(q) / floor.quantile(q);
        report.ratio(&format!("{name}_{suffix}"), ratio, 1.1, Better::Lower);
    }
}
