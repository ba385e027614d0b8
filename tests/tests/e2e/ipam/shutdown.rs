//! SIGTERM while everybody is at it: what was begun is finished, nothing is left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::ipam::request;
use e2e::{IpamServer, wait_until};
use proto::ipam::v1::{ImportRequest, WatchRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::ipam::kill::{Book, work_until};

const WRITERS: usize = 8;
const ROUNDS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_under_eight_writers_loses_nothing_and_leaves_nothing() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let mut books = Book::of_writers(WRITERS);
    for round in 0..ROUNDS {
        let stop = |server: &mut IpamServer| {
            // It asserts as well that the socket's file is gone.
            let status = server.stop();
            assert_eq!(status.code(), Some(0), "{}", server.log());
        };
        books = work_until(&mut server, books, 50 + round, stop).await;
        server.restart();
        let leases = server.leases().await;
        let mut listed: BTreeMap<_, _> = leases
            .into_iter()
            .map(|lease| (lease.id.clone(), lease))
            .collect();
        // What was begun was answered too: nobody is in doubt.
        let known: BTreeMap<_, _> = books.iter().flat_map(|book| book.held.clone()).collect();
        assert_eq!(listed, known);
        books.iter_mut().for_each(|book| book.settle(&mut listed));
        server.assert_consistent().await;
    }
    assert!(books.iter().any(|book| !book.held.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_the_reason_that_the_server_stops() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut watch = server
        .lease_client()
        .watch(WatchRequest::default())
        .await
        .expect("watch")
        .into_inner();
    watch.message().await.expect("a bookmark");
    let status = server.stop();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let refusal = watch.message().await.expect_err("it is over");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    let info = refusal.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "STOPPING");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_does_not_end_holds_up_for_the_stated_time_only() {
    let mut server = IpamServer::start_with(&["--shutdown-seconds=1"]);
    let (items, open) = mpsc::channel(1);
    let import = endless_import(&server, open);
    items
        .send(ImportRequest::default())
        .await
        .expect("the import is on");
    wait_until("the import is on", PATIENCE, || {
        items.try_send(ImportRequest::default()).ok()
    });
    let status = server.stop();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(server.log().contains("are cut off"), "{}", server.log());
    import.await.expect("no panic").expect_err("it is cut off");
    drop(items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_server_at_once_and_says_so() {
    let mut server = IpamServer::start_with(&["--shutdown-seconds=3600"]);
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut leases = server.lease_client();
    let given = leases.allocate(request("blue", "one")).await;
    given.expect("allocate");
    let (items, open) = mpsc::channel(1);
    let import = endless_import(&server, open);
    items
        .send(ImportRequest::default())
        .await
        .expect("the import is on");
    wait_until("the import is on", PATIENCE, || {
        items.try_send(ImportRequest::default()).ok()
    });
    server.terminate();
    wait_until("it stops", PATIENCE, || {
        server.log().contains("stopping").then_some(())
    });
    let status = server.stop();
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(
        server.log().contains("by a second signal"),
        "{}",
        server.log()
    );
    import.await.expect("no panic").expect_err("it is cut off");
    server.restart();
    assert_eq!(server.leases().await.len(), 1);
}

/// An import whose messages come as the test sends them.
fn endless_import(
    server: &IpamServer,
    messages: mpsc::Receiver<ImportRequest>,
) -> tokio::task::JoinHandle<Result<(), tonic::Status>> {
    let mut client = server.admin_client();
    tokio::spawn(async move {
        let answer = client.import(ReceiverStream::new(messages)).await;
        answer.map(drop)
    })
}
