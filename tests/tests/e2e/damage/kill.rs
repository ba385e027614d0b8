//! kill -9 at any moment of a start, also while sled writes its snapshot, and of an end in order.

use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::IpamServer;
use fastrand::Rng;

use crate::damage::scene::{self, lease_batch, release_some, rounds, seed};

const ROUNDS: usize = 200;
const MIGRATIONS: usize = 60;

/// Lets a random part of `longest` pass: the moment of the kill is what is tried out here.
fn wait_somewhat(random: &mut Rng, longest: Duration) {
    sleep(longest.mul_f64(random.f64()));
}

#[tokio::test]
async fn a_kill_at_any_moment_of_start_and_end_leaves_a_store_that_starts() {
    let seed = seed("kills");
    let mut random = Rng::with_seed(seed);
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut starts = Duration::ZERO;
    let mut ends = Duration::from_millis(50);
    let (mut at_start, mut at_end) = (0, 0);
    for round in 0..rounds(ROUNDS) {
        // Something that sled has not written yet.
        lease_batch(&server, &format!("pod-{round}"), 5, round % 7 * 600).await;
        if round % 10 == 0 {
            release_some(&server).await;
        }
        let held = scene::leases(&server).await;
        if round % 3 == 0 {
            let began = Instant::now();
            server.terminate();
            wait_somewhat(&mut random, ends);
            server.kill9();
            ends = ends.max(began.elapsed()).min(Duration::from_millis(200));
            at_end += 1;
        } else {
            server.kill9();
        }
        // Once or twice it does not come to serve.
        for _ in 0..=round % 2 {
            server.launch();
            wait_somewhat(&mut random, starts.max(Duration::from_millis(20)));
            server.kill9();
            at_start += 1;
        }
        let began = Instant::now();
        if let Err(log) = server.try_restart() {
            panic!("round {round} (seed {seed}): {log}");
        }
        starts = began.elapsed().min(Duration::from_millis(500));
        let found = scene::leases(&server).await;
        assert!(found == held, "round {round} (seed {seed})");
    }
    server.assert_consistent().await;
    eprintln!("kills: {at_start} at a start, {at_end} at an end; it always started");
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_migration_loses_nothing() {
    let seed = seed("kills in a migration");
    let mut random = Rng::with_seed(seed);
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    for batch in 0..20 {
        lease_batch(&server, &format!("pod-{batch}"), 50, 0).await;
    }
    let held = scene::leases(&server).await;
    server.stop();
    let store = server.store().to_owned();
    scene::make_schema_1(&store);
    let old = tempfile::tempdir().expect("make a temporary folder");
    let old = old.path().join("old");
    scene::copy(&store, &old);
    let mut longest = Duration::from_millis(500);
    for round in 0..rounds(MIGRATIONS) {
        scene::copy(&old, &store);
        for _ in 0..=round % 2 {
            server.launch();
            wait_somewhat(&mut random, longest);
            server.kill9();
        }
        let began = Instant::now();
        if let Err(log) = server.try_restart() {
            panic!("round {round} (seed {seed}): {log}");
        }
        longest = longest.min(began.elapsed());
        let found = scene::leases(&server).await;
        assert!(found == held, "round {round} (seed {seed})");
        server.kill9();
        let names: Vec<String> = scene::names(&store);
        let is_left = |name: &&String| name.contains("salvage") || name.ends_with(".tmp");
        assert_eq!(names.iter().find(is_left), None, "round {round}: {names:?}");
    }
    eprintln!("kills in a migration: it always went on");
}
