//! An error with much text: it is cut, and the other calls on its connection go on.

use e2e::ipam::{pool, request};
use e2e::{IpamServer, dial::unix_channel};
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::watch_response::Message;
use proto::ipam::v1::{AllocateRequest, CreatePoolRequest, WatchRequest};
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::ipam::meta_ipam::{MetaIpam, code, json_of};
use crate::ipam::proxy::fixture::Proxy;

/// Wrong fields of one request.
const MANY: usize = 1000;

fn assert_bounded(status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "INVALID_FIELD");
    let fields = status.get_details_bad_request().expect("a BadRequest");
    assert!(fields.field_violations.len() <= 10);
    assert!(status.message().len() + status.details().len() <= 2048);
    assert!(status.message().contains("more problems"), "{status}");
}

/// Makes `refused` calls beside a watch on one connection, which goes on.
async fn beside_a_watch(channel: Channel, refused: impl AsyncFn()) {
    let mut leases = LeaseServiceClient::new(channel);
    let watching = leases.watch(WatchRequest::default()).await;
    let mut watch = watching.expect("watch").into_inner();
    watch.message().await.expect("a bookmark").expect("one");
    for _ in 0..5 {
        refused().await;
    }
    leases
        .allocate(request("blue", "a"))
        .await
        .expect("allocate");
    loop {
        let change = watch.message().await.expect("the watch goes on");
        if let Some(Message::Event(_)) = change.expect("not the end").message {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_asks_for_hundreds_of_addresses_disturbs_nobody() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let proxy = Proxy::start(&server);
    let channel = unix_channel(&proxy.socket());
    beside_a_watch(channel.clone(), async || {
        let wish = AllocateRequest {
            ips: (0..MANY).map(|n| format!("no address {n}")).collect(),
            ..request("blue", "b")
        };
        let mut leases = LeaseServiceClient::new(channel.clone());
        assert_bounded(&leases.allocate(wish).await.expect_err("it is wrong"));
    })
    .await;
    assert!(!proxy.log().contains("the connection to ipam-server ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_with_many_wrong_ranges_disturbs_nobody() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "").await;
    let channel = server.channel();
    beside_a_watch(channel.clone(), async || {
        let mut wrong = pool("wrong", "10.1.0.0/24", "");
        let ranges = (0..MANY).map(|n| format!("10.2.0.0-{n}")).collect();
        wrong.ipv4.as_mut().expect("it has IPv4").ranges = ranges;
        let request = CreatePoolRequest {
            pool: Some(wrong),
            ..CreatePoolRequest::default()
        };
        let mut pools = PoolServiceClient::new(channel.clone());
        assert_bounded(&pools.create_pool(request).await.expect_err("it is wrong"));
    })
    .await;
}

#[test]
fn a_second_address_of_a_family_is_refused_before_the_call() {
    let folder = tempfile::tempdir().expect("make a folder");
    // Nobody listens there.
    let plugin = MetaIpam::of(&folder.path().join("no.sock"), folder.path());
    let ips: Vec<_> = (0..300)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
        .collect();
    for ips in [json!(ips), json!(["fd00::1", "10.0.0.1/24", "fd00::2/64"])] {
        let output = plugin.run("ADD", "c1", json!({"runtimeConfig": {"ips": ips}}));
        assert_eq!(code(&output), 7, "{output:?}");
        let text = json_of(&output)["msg"].as_str().expect("a text").to_owned();
        assert!(text.len() < 300 && text.contains("one of each"), "{text}");
    }
}
