//! Power cuts at every fsync of a traced server: what its callers had been answered is there.

use std::fs;

use e2e::IpamServer;
use e2e::ipam::request;
use fastrand::Rng;
use proto::ipam::v1::Lease;

use crate::scene::{self, lease_batch, rounds, seed};
use crate::trace::{CALLS, Trace};

/// Images that are opened.
const IMAGES: usize = 120;
const PODS: usize = 25;

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
    let image = folder.path().join("image");
    let mut answered = 0;
    for number in 0..count {
        let mut random = Rng::with_seed(seed.wrapping_add(number as u64));
        let at = syncs[number * syncs.len() / count];
        let kept = [0.0, 0.5, 0.9][number % 3];
        trace.image(at, &image, kept, &mut random);
        let what = format!("image {number} (seed {seed}) at operation {at}, {kept} kept");
        let server = match IpamServer::try_start_on(&image) {
            Ok(server) => server,
            Err(log) => panic!("{what}: {log}"),
        };
        let found = scene::leases(&server).await;
        for (pod, lease) in &pods {
            let is_there = found.get(&lease.id) == Some(lease);
            if trace.answered_before(at, pod.as_bytes()) {
                assert!(is_there, "{what}: {pod} was answered and is not there");
                answered += 1;
            }
        }
        let half = |lease: &&Lease| lease.ipv4.is_empty() != lease.ipv6.is_empty();
        assert_eq!(found.values().find(half), None, "{what}: half a pair");
        server.assert_consistent().await;
    }
    assert!(answered > count, "{answered} leases were answered");
    eprintln!(
        "power cuts: {count} images of {} fsyncs opened, {answered} answered leases found, none missing, no half pair",
        syncs.len()
    );
}
