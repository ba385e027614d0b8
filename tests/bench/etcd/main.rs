//! `make bench-etcd`: the address service over etcd beside transactions of etcd, in turns within one run: one caller, a crowd, and a
//! crowd of three servers beside that of one.

mod floor;

use e2e::bench::crowd::{allocates, rate, time};
use e2e::bench::{Better, Report, Samples, line_plot};
use e2e::ipam::request;
use e2e::{Etcd, IpamServer};
use proto::ipam::v1::ReleaseAttachmentRequest;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use floor::Floor;

/// The pool that everything is leased of: more pairs than are ever leased.
const POOL: (&str, &str) = ("10.0.0.0/11", "fd00::/64");
/// Callers of the crowd.
const CALLERS: usize = 256;
/// How often one caller's calls are measured, and how often the crowd's.
const CALLS: usize = 1_000;
const ROUNDS: usize = 12;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("start an async runtime");
    let mut report = Report::default();
    let etcd = Etcd::start();
    let servers: Vec<IpamServer> = (0..3)
        .map(|_| IpamServer::start_in(&etcd.store()))
        .collect();
    runtime.block_on(async {
        servers[0].create_pool("bench", POOL.0, POOL.1).await;
        let floor = Floor::new(&etcd);
        one_caller(&servers[0], &floor, &mut report).await;
        crowd(&servers, &floor, &mut report).await;
        plot(&servers, &floor).await;
    });
    eprintln!("{}", report.write("etcd").display());
}

/// Allocate beside a transaction and an empty call of the same server.
async fn one_caller(server: &IpamServer, floor: &Floor, report: &mut Report) {
    let mut leases = server.lease_client();
    let mut health = HealthClient::new(server.channel());
    let (mut ours, mut floors) = (Samples::default(), Samples::default());
    for number in 0..=CALLS {
        let (lease, txn) = (
            allocate(&mut leases).await,
            time(async {
                floor.txn(0).await;
                let check = HealthCheckRequest::default();
                health.check(check).await.expect("an answer");
            })
            .await,
        );
        // The first ones connect.
        if number > 0 {
            ours.push(lease);
            floors.push(txn);
        }
    }
    report.ratio("etcd_1_over_txn", ours.over(&floors), 1.3, Better::Lower);
    report.figure("Allocate, 1 caller", "ms", &ours);
    report.figure("transaction + empty call", "ms", &floors);
}

/// The time of one Allocate, whose lease is given back.
async fn allocate(client: &mut LeaseServiceClient<Channel>) -> std::time::Duration {
    let took = time(async {
        let lease = client.allocate(request("bench", "measured")).await;
        lease.expect("lease")
    });
    let took = took.await;
    let release = ReleaseAttachmentRequest {
        network: "bench".to_owned(),
        container_id: "measured".to_owned(),
        ifname: "net1".to_owned(),
    };
    client.release_attachment(release).await.expect("release");
    took
}

/// Pairs per second of 256 callers: by one server beside transactions by as many clients, and by three servers beside one.
async fn crowd(servers: &[IpamServer], floor: &Floor, report: &mut Report) {
    let clients: Vec<_> = servers.iter().map(IpamServer::lease_client).collect();
    let mut samples = [(); 3].map(|()| Samples::default());
    for round in 0..=ROUNDS {
        let rates = [
            allocates(&clients[..1], CALLERS).await,
            allocates(&clients, CALLERS).await,
            rate(CALLERS, |caller, _| floor.txn(caller)).await,
        ];
        if round > 0 {
            samples
                .iter_mut()
                .zip(rates)
                .for_each(|(samples, rate)| samples.push_value(rate));
        }
    }
    let [one, three, txns] = samples;
    report.ratio("etcd_256_over_txn", one.over(&txns), 1.0, Better::Higher);
    report.ratio("three_over_one", three.over(&one), 0.9, Better::Higher);
    report.figure("Allocate, 256 callers, 1 server", "pairs/s", &one);
    report.figure("Allocate, 256 callers, 3 servers", "pairs/s", &three);
    report.figure("transactions, 256 clients", "txns/s", &txns);
}

async fn plot(servers: &[IpamServer], floor: &Floor) {
    let clients: Vec<_> = servers.iter().map(IpamServer::lease_client).collect();
    let (mut one, mut three, mut txns) = (Vec::new(), Vec::new(), Vec::new());
    for callers in [1, 4, 16, 64, 256] {
        let x = callers as f64;
        one.push((x, allocates(&clients[..1], callers).await));
        three.push((x, allocates(&clients, callers).await));
        txns.push((x, rate(callers, |caller, _| floor.txn(caller)).await));
    }
    line_plot(
        "etcd-throughput",
        "Per second, in etcd",
        ("callers", "1/s"),
        &[
            ("Allocate, 1 server", &one),
            ("Allocate, 3 servers", &three),
            ("transaction of one key", &txns),
        ],
    );
}
