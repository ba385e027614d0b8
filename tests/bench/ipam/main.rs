//! `make bench-ipam`: the address service beside its floors, in turns within one run. What a lease costs as a CNI plugin
//! and over gRPC, with few leases and with a million, alone and in a crowd; what a server weighs and how soon it is back.
//!
//! `BENCH_LEASES` (1,000,000) sets how many leases the large server has.

mod crowd;
mod grpc;
mod load;
mod plugin;

use std::time::Instant;

use e2e::IpamServer;
use e2e::bench::{Better, Report, Samples, folder_bytes, resident_bytes};

/// Pairs in the pool that everything is measured on; more than are ever leased.
pub(crate) const POOL: (&str, &str) = ("10.0.0.0/11", "fd00::/64");
/// Leases of the small server.
const SMALL: usize = 1_000;

fn main() {
    let leases = std::env::var("BENCH_LEASES")
        .map_or(1_000_000, |n| n.parse().expect("BENCH_LEASES is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("start an async runtime");
    let mut report = Report::default();

    let (small, mut large) = (IpamServer::start(), IpamServer::start());
    for server in [&small, &large] {
        runtime.block_on(load::pools(server));
    }
    plugin::start(&mut report);
    plugin::beside_host_local(&small, &mut report);
    runtime.block_on(load::fill(&small, SMALL));
    runtime.block_on(grpc::beside_floor(&small, &mut report));
    runtime.block_on(crowd::beside_echo(&small, &mut report));
    runtime.block_on(grpc::special_pools(&small, &mut report));

    runtime.block_on(load::grow(&large, leases));
    runtime.block_on(grpc::large_beside_small(&large, &small, &mut report));
    plugin::large_beside_small(&large, &small, &mut report);

    let bytes = resident_bytes(large.pid()) as f64 / leases as f64;
    report.ratio("bytes_per_lease", bytes, 200.0, Better::Lower);
    large.kill9();
    let killed = Instant::now();
    large.restart();
    let mut ready = Samples::default();
    ready.push_value(killed.elapsed().as_secs_f64());
    report.ratio("ready_seconds_1m", ready.median(), 1.5, Better::Lower);
    let store = folder_bytes(large.store()) as f64 / leases as f64;
    report.ratio("disk_bytes_per_lease", store, 250.0, Better::Lower);

    eprintln!("{}", report.write("ipam").display());
}
