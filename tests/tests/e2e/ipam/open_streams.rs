//! Streams: where they resume, what ends them, and what reflection shows.

use e2e::IpamServer;
use e2e::ipam::request;
use futures_util::stream;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{WatchRequest, WatchResponse};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;
use tonic_types::StatusExt;

async fn first(
    client: &mut LeaseServiceClient<Channel>,
    after_revision: u64,
    store_id: &str,
) -> Result<WatchResponse, Status> {
    let request = WatchRequest {
        after_revision,
        store_id: store_id.to_owned(),
        ..WatchRequest::default()
    };
    let mut watch = client.watch(request).await?.into_inner();
    Ok(watch.message().await?.expect("not the end"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_resumes_only_in_its_store_and_from_a_revision_that_was_reached() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let mut client = server.lease_client();
    let bookmark = first(&mut client, 0, "").await.expect("a bookmark");
    let Some(Message::BookmarkRevision(revision)) = bookmark.message else {
        panic!("{bookmark:?}");
    };
    assert!(!bookmark.store_id.is_empty() && revision > 0);
    client
        .allocate(request("blue", "a"))
        .await
        .expect("allocate");
    let resumed = first(&mut client, revision, &bookmark.store_id).await;
    let resumed = resumed.expect("the change since then");
    assert!(matches!(resumed.message, Some(Message::Event(_))));

    let ahead = first(&mut client, revision + 100, &bookmark.store_id).await;
    let ahead = ahead.expect_err("it is not reached yet");
    assert_eq!(ahead.code(), Code::OutOfRange);
    let info = ahead.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "REVISION_AHEAD");
    assert_eq!(info.metadata["revision"], (revision + 1).to_string());

    let other = IpamServer::start();
    other.create_pool("blue", "10.0.0.0/24", "").await;
    let mut client = other.lease_client();
    let refused = first(&mut client, revision, &bookmark.store_id).await;
    let refused = refused.expect_err("another store");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "OTHER_STORE");
    assert_ne!(info.metadata["store"], bookmark.store_id);
}

fn list_services() -> ServerReflectionRequest {
    ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    }
}

fn names(answer: ServerReflectionResponse) -> Vec<String> {
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|one| one.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_open_streams_ends_without_waiting_for_them() {
    // Far longer than the test waits.
    let mut server = IpamServer::start_with(&["--shutdown-seconds=3600"]);
    let channel = server.channel();
    let mut health = HealthClient::new(channel.clone());
    let watching = health.watch(HealthCheckRequest::default()).await;
    let mut watching = watching.expect("watch").into_inner();
    watching.message().await.expect("a status").expect("one");
    // A caller that keeps its side open.
    let questions =
        futures_util::StreamExt::chain(stream::iter([list_services()]), stream::pending());
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let answers = reflection.server_reflection_info(questions).await;
    let mut answers = answers.expect("reflection").into_inner();
    answers.message().await.expect("a list").expect("one");
    let mut leases = LeaseServiceClient::new(channel);
    let watch = leases.watch(WatchRequest::default()).await;
    let mut watch = watch.expect("watch").into_inner();
    watch.message().await.expect("a bookmark").expect("one");

    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("are cut off"), "{}", server.log());
    let ended = answers.message().await.expect_err("it is over");
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    let ended = watch.message().await.expect_err("it is over");
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    loop {
        // NOT_SERVING may come first.
        match watching.message().await {
            Ok(Some(_)) => {}
            ended => break assert_eq!(ended.expect_err("it is over").code(), Code::Unavailable),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_reflection_show_what_the_server_serves_and_nothing_of_the_agent() {
    let server = IpamServer::start();
    let mut client = ServerReflectionClient::new(server.channel());
    let answers = client
        .server_reflection_info(stream::iter([list_services()]))
        .await;
    let answer = answers.expect("reflection").into_inner().message().await;
    let services = names(answer.expect("an answer").expect("one"));
    for name in [
        "ipam.v1.LeaseService",
        "ipam.v1.AdminService",
        "grpc.health.v1.Health",
    ] {
        assert!(services.iter().any(|found| found == name), "{services:?}");
    }
    assert!(
        !services.iter().any(|name| name.starts_with("agent.")),
        "{services:?}"
    );

    let mut older =
        v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel());
    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "ipam.v1.LeaseService".into(),
            ),
        ),
    };
    let answers = older.server_reflection_info(stream::iter([question])).await;
    let answer = answers.expect("reflection").into_inner().message().await;
    let answer = answer.expect("an answer").expect("one").message_response;
    let found = v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse;
    assert!(
        matches!(&answer, Some(is) if std::mem::discriminant(is) == std::mem::discriminant(&found(Default::default()))),
        "{answer:?}"
    );
}
