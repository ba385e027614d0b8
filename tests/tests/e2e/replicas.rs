//! Three servers over three members of etcd, each in a namespace of its own: killed, stopped, cut off from one another, while callers
//! allocate, release, update and read. What they were answered is recorded, and one log must explain it.
//!
//! `E2E_REPLICAS_SEED` repeats a choice of faults, `E2E_REPLICAS_FAULTS` is how many there are (12). The history is in
//! `target/replicas/history-<etcd>.json`: `cargo run -p e2e --bin check-history FILE` checks it again.

mod callers;
mod site;
mod watchers;

use std::time::Duration;

use e2e::history::{Fault, History};
use e2e::locate;

use callers::Callers;
use site::{Kind, Site};
use watchers::Watchers;

/// Faults of a run, unless the environment says otherwise.
const FAULTS: usize = 12;
/// For how long something is broken, in milliseconds.
const BROKEN: std::ops::Range<u64> = 300..3_000;
/// Violations that are shown.
const SHOWN: usize = 20;
/// Answers between two faults.
const ANSWERS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_log_explains_what_callers_see_of_servers_and_members_that_fail() {
    let seed = setting("E2E_REPLICAS_SEED", fastrand::u64(..));
    println!("E2E_REPLICAS_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut site = tokio::task::block_in_place(Site::start);
    let sockets = site.sockets();
    let watchers = Watchers::start(&sockets).await;
    let callers = Callers::start(&sockets, chance.u64(..));
    let mut faults = Vec::new();
    let mut kinds = Vec::new();
    for _ in 0..setting("E2E_REPLICAS_FAULTS", FAULTS) {
        callers.wait(ANSWERS).await;
        if kinds.is_empty() {
            kinds = Kind::ALL.to_vec();
            chance.shuffle(&mut kinds);
        }
        let kind = kinds.pop().expect("it was filled");
        let which = chance.usize(..3);
        let began = callers.now();
        tokio::task::block_in_place(|| site.break_one(kind, which));
        tokio::time::sleep(Duration::from_millis(chance.u64(BROKEN))).await;
        tokio::task::block_in_place(|| site.mend(kind, which));
        faults.push(Fault {
            what: kind.name().to_owned(),
            began,
            ended: callers.now(),
        });
        callers.wait(ANSWERS).await;
    }
    let calls = callers.stop().await;
    let (listed, last) = site.leases().await;
    let watched = watchers.stop(last).await;
    let history = History {
        calls,
        from: watchers::FROM,
        watched,
        listed,
        faults,
    };
    let file = format!("replicas/history-{}.json", site.etcd_version());
    let file = locate::target().join(file);
    history.write(&file);
    println!("{}", history.table());
    let mut violations = history.violations();
    violations.truncate(SHOWN);
    assert_eq!(violations, [""; 0], "{}", file.display());
    println!("violations 0: {}", file.display());
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| match text.parse() {
        Ok(value) => value,
        Err(_) => panic!("{name}: {text:?} is no number"),
    })
}
