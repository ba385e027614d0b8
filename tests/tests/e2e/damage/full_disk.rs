//! The disk is full, and has room again; with and without a kill in between.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::IpamServer;
use e2e::ipam::request;

use crate::damage::scene::{self, Leases, rounds};

const ROUNDS: usize = 20;

struct Small(tempfile::TempDir);

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
        assert!(unmounted.expect("run umount").success());
    }
}

#[tokio::test]
async fn a_disk_that_was_full_is_gone_on_with_by_itself() {
    let disk = Small(tempfile::tempdir().expect("make a temporary folder"));
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(disk.0.path())
        .status();
    assert!(mounted.expect("run mount").success());
    let filler = disk.0.path().join("filler");
    let mut server = IpamServer::start_on(&disk.0.path().join("store"));
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut held = Leases::new();
    for round in 0..rounds(ROUNDS) {
        // Ends when there is no room; that is what it is for.
        let _full = fs::write(&filler, vec![1; 24 << 20]);
        let mut number = 0;
        loop {
            number += 1;
            assert!(number < 100_000, "a full disk takes everything");
            let pod = format!("pod-{round}-{number}");
            match server.lease_client().allocate(request("blue", &pod)).await {
                Ok(answer) => {
                    let lease = answer.into_inner().lease.expect("a lease");
                    held.insert(lease.id.clone(), lease);
                }
                Err(_) => break,
            }
        }
        if round % 2 == 1 {
            server.kill9();
            // It may start or say that there is no room; it does not take itself for damaged.
            if let Err(log) = server.try_restart() {
                let last = log.lines().last().unwrap_or_default();
                assert!(last.contains("no room"), "round {round}: {log}");
                fs::remove_file(&filler).expect("make room");
                server.restart();
            }
        }
        let _gone_already = fs::remove_file(&filler);
        let pod = format!("after-{round}");
        let mut client = server.lease_client();
        let patience = Instant::now() + Duration::from_secs(20);
        let lease = loop {
            match client.allocate(request("blue", &pod)).await {
                Ok(answer) => break answer.into_inner().lease.expect("a lease"),
                Err(status) => assert!(
                    Instant::now() < patience,
                    "round {round}: there is room, and still: {status:?}: {}",
                    server.log()
                ),
            }
        };
        held.insert(lease.id.clone(), lease);
        let found = scene::leases(&server).await;
        let lost = held
            .iter()
            .filter(|(id, lease)| found.get(*id) != Some(lease));
        assert_eq!(lost.count(), 0, "round {round}");
        server.assert_consistent().await;
    }
    server.stop();
}
