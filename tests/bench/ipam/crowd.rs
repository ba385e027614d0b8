//! Many callers at once: leases beside empty calls of the same server.

use e2e::IpamServer;
use e2e::bench::crowd::{allocates, rate};
use e2e::bench::{Better, Report, Samples, line_plot};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Callers of the ratio.
const CALLERS: usize = 256;
/// Turns of each kind.
const ROUNDS: usize = 12;

/// Calls per second of 256 callers: Allocate beside an empty call, in turns; and a plot of fewer callers.
pub(crate) async fn beside_echo(server: &IpamServer, report: &mut Report) {
    let (mut leases, mut echoes) = (Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        let lease = allocates(&[server.lease_client()], CALLERS).await;
        let echo = empty_calls(server, CALLERS).await;
        // The first turn warms both.
        if round > 0 {
            leases.push_value(lease);
            echoes.push_value(echo);
        }
    }
    report.ratio(
        "allocate_256_over_echo",
        leases.over(&echoes),
        0.8,
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
        leases.push((x, allocates(&[server.lease_client()], callers).await));
        echoes.push((x, empty_calls(server, callers).await));
    }
    line_plot(
        "ipam-throughput",
        "Calls per second",
        ("callers", "calls/s"),
        &[("Allocate, durable", &leases), ("empty call", &echoes)],
    );
}

async fn empty_calls(server: &IpamServer, callers: usize) -> f64 {
    let client = HealthClient::new(server.channel());
    rate(callers, |_, _| {
        let mut client = client.clone();
        async move {
            let check = HealthCheckRequest::default();
            client.check(check).await.expect("an answer");
        }
    })
    .await
}
