//! `make sim`: a large cluster, which never rests, on each engine. Nodes fill with pods, pods come and go for as long as a day's worth of
//! changes takes, and at the end the server holds exactly what the nodes were answered: no address twice, no lease too many or too few. Then a
//! tenth of the cluster, to see what a lease more costs a call.
//!
//! `SIM_NODES` (5000), `SIM_CHANGES` (3000000 allocations and releases) and `SIM_STORES` (`sled,etcd`) set how large it is.

mod fleet;
mod held;

use std::env;
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use e2e::bench::{Better, Report, Samples, folder_bytes, line_plot, resident_bytes};
use e2e::{Etcd, IpamServer};

use fleet::{Fleet, PODS};

/// What the changes are divided into: memory and disk are looked at after each.
const PARTS: usize = 10;
/// How many times fewer nodes the small cluster has.
const SMALLER: usize = 10;

/// What a cluster was like in one part of its life.
struct Part {
    /// Allocate calls, in milliseconds.
    calls: Samples,
    resident: f64,
    disk: f64,
}

/// A server, and the etcd that its store is in.
struct Engine {
    server: IpamServer,
    etcd: Option<Etcd>,
}

impl Engine {
    fn start(store: &str) -> Engine {
        match store {
            "sled" => Engine {
                server: IpamServer::start(),
                etcd: None,
            },
            "etcd" => {
                let etcd = Etcd::start();
                Engine {
                    server: IpamServer::start_in(&etcd.store()),
                    etcd: Some(etcd),
                }
            }
            other => panic!("SIM_STORES: {other} is none of sled, etcd"),
        }
    }

    fn disk(&self) -> f64 {
        let data = self.etcd.as_ref().map(Etcd::data);
        let folder: &Path = data.as_deref().unwrap_or(self.server.store());
        folder_bytes(folder) as f64
    }
}

fn main() {
    let nodes = setting("SIM_NODES", 5_000);
    let changes = setting("SIM_CHANGES", 3_000_000);
    assert!(nodes >= SMALLER, "SIM_NODES: at least {SMALLER}");
    let stores = env::var("SIM_STORES").unwrap_or_else(|_| "sled,etcd".to_owned());
    let mut report = Report::default();
    for store in stores.split(',') {
        let large = live(store, nodes, changes);
        let small = live(store, nodes / SMALLER, changes / SMALLER);
        compare(store, nodes, &large, &small, &mut report);
    }
    eprintln!("{}", report.write("sim").display());
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(text) = env::var(name) else {
        return default;
    };
    let Ok(value) = text.parse() else {
        panic!("{name}: {text:?} is no number");
    };
    value
}

/// The whole life of a cluster, by parts: filled first.
fn live(store: &str, nodes: usize, changes: usize) -> Vec<Part> {
    let engine = Engine::start(store);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("start an async runtime");
    let look = |calls| Part {
        calls,
        resident: resident_bytes(engine.server.pid()) as f64,
        disk: engine.disk(),
    };
    runtime.block_on(async {
        let began = Instant::now();
        let mut fleet = Fleet::new(&engine.server, nodes).await;
        let filled = fleet.fill().await;
        let rate = (nodes * PODS) as f64 / began.elapsed().as_secs_f64();
        eprintln!("{store}: {nodes} nodes hold {} pairs, {rate:.0} a second", nodes * PODS);
        let mut parts = vec![look(filled)];
        for part in 1..=PARTS {
            let began = Instant::now();
            let calls = fleet.churn(changes / PARTS).await;
            let rate = (changes / PARTS) as f64 / began.elapsed().as_secs_f64();
            eprintln!(
                "{store}: {part} of {PARTS}: {rate:.0} changes a second, Allocate p50 {:.2} ms, p99 {:.2} ms",
                calls.median(),
                calls.quantile(0.99)
            );
            parts.push(look(calls));
        }
        fleet.assert_held(&engine.server).await;
        parts
    })
}

/// What more leases, and more changes, cost.
fn compare(store: &str, nodes: usize, large: &[Part], small: &[Part], report: &mut Report) {
    let (Some(filled), Some(first), Some(last)) = (large.first(), large.get(1), large.last())
    else {
        return;
    };
    let Some(tenth) = small.last() else {
        return;
    };
    let mut ratio = |name: &str, value: f64, floor: f64| {
        report.ratio(
            &format!("{store}_{name}"),
            value / floor,
            1.1,
            Better::Lower,
        );
    };
    ratio("memory_last_over_first_part", last.resident, first.resident);
    ratio("disk_last_over_first_part", last.disk, first.disk);
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        let name = format!("allocate_{name}_over_tenth");
        ratio(&name, last.calls.quantile(q), tenth.calls.quantile(q));
    }
    let leases = (nodes * PODS) as f64;
    for (name, bytes) in [("resident", filled.resident), ("disk", filled.disk)] {
        let mut samples = Samples::default();
        samples.push_value(bytes / leases);
        report.figure(
            &format!("{store}: {name} a pair, filled"),
            "bytes",
            &samples,
        );
    }
    report.figure(&format!("{store}: Allocate, last part"), "ms", &last.calls);
    report.figure(&format!("{store}: Allocate, a tenth"), "ms", &tenth.calls);
    let points = |of: fn(&Part) -> f64| -> Vec<(f64, f64)> {
        let parts = (1..).zip(large);
        parts
            .map(|(number, part)| (f64::from(number), of(part) / 1e6))
            .collect()
    };
    line_plot(
        &format!("sim-{store}"),
        &format!("{} pairs that come and go, {store}", nodes * PODS),
        ("tenths of the changes, after filling (1)", "MB"),
        &[
            ("resident", &points(|part| part.resident)),
            ("disk", &points(|part| part.disk)),
        ],
    );
}
