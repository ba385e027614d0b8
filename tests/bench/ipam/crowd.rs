//! Many callers at once: leases beside empty calls of the same server.

use std::time::{Duration, Instant};

use e2e::IpamServer;
use e2e::bench::{Better, Report, Samples, line_plot};
use e2e::ipam::request;
use proto::ipam::v1::ReleaseAttachmentRequest;
use tokio::task::JoinSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Callers of the ratio.
const CALLERS: usize = 256;
/// Calls of each caller in one turn.
const CALLS: usize = 16;
/// Turns of each kind.
const ROUNDS: usize = 12;

/// Calls per second of 256 callers: Allocate beside an empty call, in turns; and a plot of fewer callers.
pub(crate) async fn beside_echo(server: &IpamServer, report: &mut Report) {
    let (mut leases, mut echoes) = (Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        let lease = allocates(server, CALLERS).await;
        let echo = empty_calls(server, CALLERS).await;
        // The first turn warms both.
        if round > 0 {
            leases.push_value(rate(CALLERS, lease));
            echoes.push_value(rate(CALLERS, echo));
        }
    }
    report.ratio(
        "allocate_256_over_echo",
        leases.over(&echoes),
        0.5,
        Better::Higher,
    );
    report.figure("Allocate, 256 callers", "pairs/s", &leases);
    report.figure("empty call, 256 callers", "calls/s", &echoes);
    plot(server).await;
}

async fn plot(server: &IpamServer) {
    let (mut leases, mut echoes) = (Vec::new(), Vec::new());
    for callers in [1, 4, 16, 64, 256] {
        let x = callers as f64;
        leases.push((x, rate(callers, allocates(server, callers).await)));
        echoes.push((x, rate(callers, empty_calls(server, callers).await)));
    }
    line_plot(
        "ipam-throughput",
        "Calls per second",
        ("callers", "calls/s"),
        &[("Allocate, durable", &leases), ("empty call", &echoes)],
    );
}

fn rate(callers: usize, took: Duration) -> f64 {
    (callers * CALLS) as f64 / took.as_secs_f64()
}

/// The time of all callers' Allocates; their leases are given back outside of it.
async fn allocates(server: &IpamServer, callers: usize) -> Duration {
    let client = server.lease_client();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let mut client = client.clone();
        tasks.spawn(async move {
            for call in 0..CALLS {
                let lease = request("bench", &format!("crowd-{caller}-{call}"));
                client.allocate(lease).await.expect("lease");
            }
        });
    }
    settle(tasks).await;
    let took = started.elapsed();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let mut client = client.clone();
        tasks.spawn(async move {
            for call in 0..CALLS {
                let release = ReleaseAttachmentRequest {
                    network: "bench".to_owned(),
                    container_id: format!("crowd-{caller}-{call}"),
                    ifname: "net1".to_owned(),
                };
                client.release_attachment(release).await.expect("release");
            }
        });
    }
    settle(tasks).await;
    took
}

async fn empty_calls(server: &IpamServer, callers: usize) -> Duration {
    let client = HealthClient::new(server.channel());
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let mut client = client.clone();
        tasks.spawn(async move {
            for _ in 0..CALLS {
                let check = HealthCheckRequest::default();
                client.check(check).await.expect("an answer");
            }
        });
    }
    settle(tasks).await;
    started.elapsed()
}

async fn settle(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no caller failed");
    }
}
