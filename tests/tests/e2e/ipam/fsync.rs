//! What was acknowledged is on stable storage: seen from the system calls of the real server.

use std::fs;

use e2e::IpamServer;
use e2e::ipam::request;

/// Requests that are made one after the other.
const REQUESTS: usize = 20;

#[tokio::test]
async fn every_acknowledged_change_was_preceded_by_an_fsync_of_the_journal() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let trace = folder.path().join("trace");
    let path = trace.to_str().expect("a path");
    let mut server = IpamServer::start_under(&[
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=fsync,fdatasync",
        "-o",
        path,
    ]);
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let mut client = server.lease_client();
    let fsyncs = || {
        let text = fs::read_to_string(&trace).expect("read the trace");
        let journal = format!("{}/journal-", server.store().display());
        text.lines()
            .filter(|line| {
                line.contains(&journal) && line.contains("sync") && line.ends_with("= 0")
            })
            .count()
    };
    // strace writes a line when the call is over, and the server answers after that.
    let mut before = fsyncs();
    assert!(before > 0, "the pool was acknowledged");
    for number in 0..REQUESTS {
        client
            .allocate(request("blue", &format!("pod-{number}")))
            .await
            .expect("allocate");
        let after = fsyncs();
        assert!(
            after > before,
            "request {number} was acknowledged without an fsync of the journal"
        );
        before = after;
    }
    server.stop();
}
