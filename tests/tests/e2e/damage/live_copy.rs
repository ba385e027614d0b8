//! A copy of a store's folder that is taken while its server works, as `cp -r` takes one: it opens with everything that was acknowledged
//! before the copy began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::IpamServer;
use tokio::task::{JoinSet, block_in_place};

use crate::damage::scene::{self, Leases, copy, lease_batch, release_some, rounds};

const COPIES: usize = 8;
const CALLERS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_folder_of_a_server_at_work_opens_with_what_was_acknowledged() {
    let server = Arc::new(IpamServer::start());
    server.create_pool("blue", "10.0.0.0/12", "fd00::/64").await;
    lease_batch(&server, "kept", 60, 600).await;
    release_some(&server).await;
    let kept = scene::leases(&server).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (server, is_over) = (server.clone(), is_over.clone());
        callers.spawn(async move {
            let mut batches = 0;
            while !is_over.load(Ordering::Relaxed) {
                lease_batch(&server, &format!("busy-{caller}-{batches}"), 3, 0).await;
                batches += 1;
            }
            batches
        });
    }
    for number in 0..rounds(COPIES) {
        let before = scene::leases(&server).await;
        let copied = server.folder().join("copied");
        block_in_place(|| copy(server.store(), &copied));
        let opened = block_in_place(|| IpamServer::try_start_on(&copied));
        let opened = opened.unwrap_or_else(|log| panic!("copy {number}: {log}"));
        let found = scene::leases(&opened).await;
        opened.assert_consistent().await;
        let has = |all: &Leases| all.iter().all(|(id, lease)| found.get(id) == Some(lease));
        assert!(has(&kept) && has(&before), "copy {number}");
    }
    is_over.store(true, Ordering::Relaxed);
    let batches: usize = callers.join_all().await.into_iter().sum();
    eprintln!(
        "{} copies while {batches} batches were leased: all opened, nothing was missing",
        rounds(COPIES)
    );
}
