//! Power cuts at every fsync of a traced server: what its callers had been answered is there.

use std::fs;
use std::path::Path;

use e2e::IpamServer;
use e2e::ipam::request;
use fastrand::Rng;
use proto::ipam::v1::Lease;

use crate::damage::scene::{self, lease_batch, rounds, seed};
use crate::damage::trace::{CALLS, Trace};

/// Images that are opened.
const IMAGES: usize = 120;
const PODS: usize = 25;
/// Images of the time in which a base is written.
const BASE_IMAGES: usize = 30;
/// Batches that follow a base.
const BATCHES_BEHIND: usize = 3;

#[tokio::test]
async fn what_was_answered_outlasts_a_power_cut_at_any_fsync() {
    let seed = seed("power cuts");
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let output = folder.path().join("trace");
    let path = output.to_str().expect("a path");
    let mut server = IpamServer::start_under(&[
        "strace", "-f", "-y", "-xx", "-A", "-s", "67108864", "-e", CALLS, "-o", path,
    ]);
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut pods = Vec::new();
    // The second half is of a server that found a store, and a stop lies between them.
    for half in 0..2 {
        for number in 0..PODS {
            let pod = format!("pod-{half}-{number:03}.");
            let answer = server.lease_client().allocate(request("blue", &pod)).await;
            let lease = answer.expect("allocate").into_inner().lease;
            pods.push((pod, lease.expect("a lease")));
        }
        // Long values, which sled would keep in files of their own.
        lease_batch(&server, &format!("fat-{half}"), 20, 4000).await;
        server.stop();
        if half == 0 {
            server.restart();
        }
    }
    let text = fs::read_to_string(&output).expect("read the trace");
    let trace = Trace::read(&text, server.store());
    let syncs = trace.syncs();
    assert!(syncs.len() > PODS * 2, "{} fsyncs", syncs.len());
    let count = rounds(IMAGES);
    let cuts: Vec<usize> = (0..count)
        .map(|number| syncs[number * syncs.len() / count])
        .collect();
    let pods: Vec<(Option<usize>, Lease)> = pods
        .into_iter()
        .map(|(pod, lease)| (trace.answered(pod.as_bytes()), lease))
        .collect();
    let answered = opens_after_each(&trace, &cuts, &pods, seed, folder.path()).await;
    assert!(answered > count, "{answered} leases were answered");
    eprintln!(
        "power cuts: {count} images of {} fsyncs opened, {answered} answered leases found, none missing, no half pair",
        syncs.len()
    );
}

#[tokio::test]
async fn what_was_answered_outlasts_a_power_cut_while_a_base_is_written() {
    let seed = seed("power cuts at a base");
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let output = folder.path().join("trace");
    let path = output.to_str().expect("a path");
    let mut server = IpamServer::start_under(&[
        "strace", "-f", "-y", "-xx", "-A", "-s", "67108864", "-e", CALLS, "-o", path,
    ]);
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let base = |store: &Path| {
        let names = scene::names(store).into_iter();
        names.filter(|name| name.starts_with("base-")).max()
    };
    let first = base(server.store()).expect("a base");
    let has_another = |store: &Path| base(store).is_some_and(|name| name != first);
    // A base is written once a segment of 4 MiB is full.
    let (mut batch, mut behind) = (0, 0);
    while behind < BATCHES_BEHIND {
        assert!(batch < 200, "no base after {batch} batches");
        lease_batch(&server, &format!("fat-{batch}"), 64, 4000).await;
        batch += 1;
        behind += usize::from(has_another(server.store()));
    }
    let held = scene::leases(&server).await;
    server.stop();
    let base = base(server.store()).expect("a base");
    let text = fs::read_to_string(&output).expect("read the trace");
    let trace = Trace::read(&text, server.store());
    let begins = trace.last_named("base.tmp").expect("a base");
    let ends = trace.last_named(&base).expect("a base");
    let mut cuts = trace.syncs();
    cuts.retain(|at| (begins.saturating_sub(30)..ends + 60).contains(at));
    let step = cuts.len().div_ceil(rounds(BASE_IMAGES));
    cuts = cuts.into_iter().step_by(step).collect();
    // One answer has all leases of a batch.
    let lines: Vec<Option<usize>> = (0..batch)
        .map(|batch| trace.answered(format!("fat-{batch}-0").as_bytes()))
        .collect();
    let mut pods = Vec::new();
    for lease in held.into_values() {
        let pod = &lease.owner.as_ref().expect("an owner").pod;
        let batch = pod.split('-').nth(1).expect("the number of a batch");
        let batch: usize = batch.parse().expect("the number of a batch");
        pods.push((lines[batch], lease));
    }
    let answered = opens_after_each(&trace, &cuts, &pods, seed, folder.path()).await;
    assert!(answered > pods.len(), "{answered} leases were answered");
    eprintln!(
        "power cuts at a base: {} images opened, {answered} answered leases found, none missing",
        cuts.len()
    );
}

/// Cuts the power at each of these operations, opens what is left, and checks that it has every one of `pods` that was
/// answered by then: each has the line of the trace after which it was. Returns how many those were.
async fn opens_after_each(
    trace: &Trace,
    cuts: &[usize],
    pods: &[(Option<usize>, Lease)],
    seed: u64,
    folder: &Path,
) -> usize {
    let image = folder.join("image");
    let mut answered = 0;
    for (number, &at) in cuts.iter().enumerate() {
        let mut random = Rng::with_seed(seed.wrapping_add(number as u64));
        let kept = [0.0, 0.5, 0.9][number % 3];
        trace.image(at, &image, kept, &mut random);
        let what = format!("image {number} (seed {seed}) at operation {at}, {kept} kept");
        let server = match IpamServer::try_start_on(&image) {
            Ok(server) => server,
            Err(log) => panic!("{what}: {log}"),
        };
        let found = scene::leases(&server).await;
        for (line, lease) in pods {
            if line.is_some_and(|line| line < trace.line(at)) {
                let is_there = found.get(&lease.id) == Some(lease);
                assert!(is_there, "{what}: {lease:?} was answered and is not there");
                answered += 1;
            }
        }
        let half = |lease: &&Lease| lease.ipv4.is_empty() != lease.ipv6.is_empty();
        assert_eq!(found.values().find(half), None, "{what}: half a pair");
        server.assert_consistent().await;
    }
    answered
}
