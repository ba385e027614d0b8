//! The store's file system is full for a while.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::IpamServer;
use e2e::ipam::request;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

/// A small file system in memory, unmounted at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Small {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(folder.path()));
        Small(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a server of a test that failed may still have files open.
        run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("run mount");
    assert!(status.success(), "{command:?}: {status}");
}

/// Waits until health shows it: health changes beside the answers, a moment before or after.
async fn wait_for_health(server: &IpamServer, wanted: ServingStatus) {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let status = health(server).await;
        if status == wanted {
            return;
        }
        assert!(
            Instant::now() < patience,
            "health says {status:?}, not {wanted:?}"
        );
    }
}

async fn health(server: &IpamServer) -> ServingStatus {
    let mut client = HealthClient::new(server.channel());
    let answer = client
        .check(HealthCheckRequest::default())
        .await
        .expect("ask for health");
    answer.into_inner().status()
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_is_gone_on_from_without_a_restart() {
    let disk = Small::mount();
    let mut server = IpamServer::start_on(&disk.path().join("store"));
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut client = server.lease_client();
    let mut held = Vec::new();
    for number in 0..20 {
        let answer = client
            .allocate(request("blue", &format!("before-{number}")))
            .await
            .expect("allocate");
        held.push(answer.into_inner().lease.expect("a lease"));
    }
    let filler = disk.path().join("filler");
    // Ends when there is no room; that is what it is for.
    let _full = fs::write(&filler, vec![0; 16 << 20]);
    let mut number = 0;
    let refused = loop {
        number += 1;
        assert!(number < 100_000, "a full disk takes everything");
        match client
            .allocate(request("blue", &format!("during-{number}")))
            .await
        {
            Ok(answer) => held.push(answer.into_inner().lease.expect("a lease")),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let info = refused.get_details_error_info().expect("error info");
    assert_eq!(info.reason, "STORE_UNAVAILABLE");
    assert!(
        refused
            .message()
            .contains(&disk.path().display().to_string()),
        "{}",
        refused.message()
    );
    wait_for_health(&server, ServingStatus::NotServing).await;
    let page = server.page("/readyz");
    assert_eq!(page.status, 503, "{page:?}");
    assert!(page.body.contains("no room"), "{page:?}");
    let metrics = server.page("/metrics").body;
    assert!(metrics.contains("\nipam_store_writable 0\n"), "{metrics}");

    fs::remove_file(&filler).expect("make room");
    let patience = Instant::now() + Duration::from_secs(60);
    while let Err(status) = client.allocate(request("blue", "after")).await {
        assert!(
            Instant::now() < patience,
            "there is room, and still: {status:?}"
        );
    }
    wait_for_health(&server, ServingStatus::Serving).await;
    assert_eq!(server.page("/readyz").status, 200);
    server.assert_consistent().await;
    for restart in [false, true] {
        if restart {
            server.kill9();
            server.restart();
        }
        let leases = server.leases().await;
        let lost: Vec<_> = held
            .iter()
            .filter(|lease| !leases.contains(lease))
            .collect();
        assert!(lost.is_empty(), "restart {restart}: {lost:?}");
        assert_eq!(
            leases.len(),
            held.len() + 1,
            "restart {restart}: what was refused is not there"
        );
    }
    server.kill9();
}

#[test]
fn a_stores_folder_is_its_owners_only_also_one_that_was_open_before() {
    let mut server = IpamServer::start();
    let mode = |server: &IpamServer| {
        let folder = fs::metadata(server.store()).expect("look at the store");
        folder.permissions().mode() & 0o777
    };
    assert_eq!(mode(&server), 0o700);
    server.stop();
    fs::set_permissions(server.store(), Permissions::from_mode(0o755)).expect("open the store");
    server.restart();
    assert_eq!(mode(&server), 0o700);
}
