//! Streams: passed on as they come, in any number of callers, none of whom holds up another one.

use std::collections::BTreeMap;

use e2e::IpamServer;
use e2e::dial::connect;
use e2e::ipam::request;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{
    AllocateRequest, BatchAllocateRequest, EventType, ReleaseAttachmentRequest, WatchRequest,
    WatchResponse,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::fixture::{PATIENCE, Proxy, until};

/// Streams that the agent passes on at once.
const STREAMS: usize = 32;

async fn watch(client: &mut LeaseServiceClient<Channel>) -> Streaming<WatchResponse> {
    let watching = client.watch(WatchRequest::default()).await;
    watching.expect("watch").into_inner()
}

/// The next change, whatever bookmarks come before it: its type and the pod.
async fn change(watch: &mut Streaming<WatchResponse>) -> (EventType, String) {
    loop {
        let reported = watch
            .message()
            .await
            .expect("a message")
            .expect("not the end");
        if let Some(Message::Event(event)) = reported.message {
            let subject = event.after.clone().or(event.before.clone());
            let pod = match subject.and_then(|subject| subject.subject) {
                Some(proto::ipam::v1::subject::Subject::Lease(lease)) => {
                    lease.owner.expect("an owner").pod
                }
                other => panic!("{other:?}"),
            };
            return (event.r#type(), pod);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sends_each_change_when_it_happens_and_ends_with_its_caller() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let mut client = proxy.lease_client();
    let mut changes = watch(&mut client).await;
    // The first message says from where on changes are sent.
    changes.message().await.expect("a bookmark").expect("one");
    for number in 0..3 {
        let pod = format!("pod-{number}");
        let given = client.allocate(request("blue", &pod)).await;
        given.expect("allocate");
        assert_eq!(
            change(&mut changes).await,
            (EventType::Created, pod.clone())
        );
        let release = ReleaseAttachmentRequest {
            network: "blue".into(),
            container_id: pod.clone(),
            ifname: "net1".into(),
        };
        let released = server.lease_client().release_attachment(release).await;
        released.expect("release");
        assert_eq!(change(&mut changes).await, (EventType::Released, pod));
    }
    assert_eq!(server.metric("ipam_watchers"), 1.0);
    drop(changes);
    until("the server has no watcher", || async {
        (server.metric("ipam_watchers") == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_do_not_read_their_watch_hold_nobody_up() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    // Each takes what HTTP/2 makes it take, 64 KiB, and no more.
    let endpoint = Endpoint::from_static("http://localhost").initial_stream_window_size(65_535);
    let mut slow = Vec::new();
    for _ in 0..8 {
        let channel = connect(&proxy.socket(), endpoint.clone());
        slow.push(watch(&mut LeaseServiceClient::new(channel)).await);
    }
    // Some 8 KiB a lease, 5 MiB for each of the eight.
    let labels: BTreeMap<String, String> = (0..64)
        .map(|number| (format!("{number:063}"), "x".repeat(63)))
        .collect();
    let mut client = proxy.lease_client();
    for batch in 0..20 {
        let requests = (0..32).map(|number| AllocateRequest {
            labels: labels.clone(),
            ..request("blue", &format!("pod-{batch}-{number}"))
        });
        let batch = BatchAllocateRequest {
            requests: requests.collect(),
            ..BatchAllocateRequest::default()
        };
        let given = tokio::time::timeout(PATIENCE, client.batch_allocate(batch)).await;
        given.expect("nobody is held up").expect("allocate");
    }
    let others = async {
        let mut eager = watch(&mut client).await;
        eager.message().await.expect("a bookmark").expect("one");
        let last = client.allocate(request("blue", "last")).await;
        last.expect("allocate");
        change(&mut eager).await
    };
    let reported = tokio::time::timeout(PATIENCE, others).await;
    let reported = reported.expect("nobody is held up");
    assert_eq!(reported, (EventType::Created, "last".into()));
    for watch in &mut slow {
        assert_eq!(change(watch).await, (EventType::Created, "pod-0-0".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_streams_that_calls_would_find_no_room_are_not_opened() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let mut client = proxy.lease_client();
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(watch(&mut client).await);
    }
    let refused = client.watch(WatchRequest::default()).await;
    let refused = refused.expect_err("one too many");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let given = client.allocate(request("blue", "pod")).await;
    given.expect("calls are not refused");
    open.pop();
    until("there is room again", || {
        let mut client = client.clone();
        async move { client.watch(WatchRequest::default()).await.ok() }
    })
    .await;
}
