//! Calls with one answer: passed on as they are, or refused.

use e2e::IpamServer;
use e2e::ipam::{pool, request};
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{
    BatchAllocateRequest, CreatePoolRequest, DeletePoolRequest, ExportRequest, GetLeaseRequest,
    ImportRequest, ListPoolsRequest,
};
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::fixture::Proxy;
use crate::ipam::meta_ipam::{code, good, json_of};

#[tokio::test(flavor = "multi_thread")]
async fn meta_ipam_leases_checks_collects_and_gives_back_through_the_agent() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/29", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let plugin = proxy.meta_ipam();
    let result = good(plugin.run("ADD", "c1", json!({})));
    assert_eq!(result["ips"][0]["address"], "10.0.0.1/29");
    assert_eq!(result["ips"][1]["address"], "fd00::1/64");
    assert_eq!(good(plugin.run("ADD", "c1", json!({}))), result);
    good(plugin.run("CHECK", "c1", json!({"prevResult": result})));
    good(plugin.run("STATUS", "", json!({})));
    good(plugin.run("ADD", "c2", json!({})));
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "net1"}]});
    good(plugin.run("GC", "", valid));
    assert_eq!(server.leases().await.len(), 1);
    good(plugin.run("DEL", "c1", json!({})));
    assert_eq!(server.leases().await, []);
    assert_eq!(plugin.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_back_whole_with_its_error_details() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/26", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let mut client = proxy.lease_client();
    let batch = |count| BatchAllocateRequest {
        requests: (0..count)
            .map(|number| request("blue", &format!("pod-{number}")))
            .collect(),
        ..BatchAllocateRequest::default()
    };
    let answer = client.batch_allocate(batch(60)).await.expect("60 of 62");
    assert_eq!(answer.into_inner().responses.len(), 60);
    let refused = client.batch_allocate(batch(64)).await;
    let refused = refused.expect_err("the pool is too small");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "POOL_EXHAUSTED");
    let direct = server.lease_client().batch_allocate(batch(64)).await;
    assert_eq!(direct.expect_err("as before").message(), refused.message());

    let id = GetLeaseRequest { id: "none".into() };
    let unknown = client.get_lease(id).await.expect_err("there is none");
    assert_eq!(unknown.code(), Code::NotFound);
    let mut health = HealthClient::new(e2e::dial::unix_channel(&proxy.socket()));
    let check = health.check(HealthCheckRequest::default()).await;
    assert_eq!(check.expect("health").into_inner().status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_may_not_do_is_refused_with_the_place_to_ask() {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let channel = e2e::dial::unix_channel(&proxy.socket());
    let mut pools = PoolServiceClient::new(channel.clone());
    let mut admin = AdminServiceClient::new(channel);
    let list = pools.list_pools(ListPoolsRequest::default()).await;
    assert_eq!(list.expect("list").into_inner().pools.len(), 1);
    let create = CreatePoolRequest {
        pool: Some(pool("red", "10.1.0.0/24", "")),
        ..CreatePoolRequest::default()
    };
    let delete = DeletePoolRequest {
        name: "blue".into(),
        ..DeletePoolRequest::default()
    };
    let imports = futures_util::stream::iter(vec![ImportRequest::default(); 1000]);
    let refusals = [
        pools.create_pool(create).await.map(drop),
        pools.delete_pool(delete).await.map(drop),
        admin.export(ExportRequest::default()).await.map(drop),
        admin.import(imports).await.map(drop),
    ];
    let remedy = format!("ipamctl --server unix://{}", server.socket().display());
    for refusal in refusals {
        let refusal = refusal.expect_err("a node may not");
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert!(refusal.message().contains(&remedy), "{refusal}");
    }
    assert_eq!(server.pool("blue").await.name, "blue");
    assert_eq!(
        server.ipamctl_json(&["pool", "list"])["pools"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_reported_by_its_name_and_found_again_when_it_is_back() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let mut client = proxy.lease_client();
    let first = client.allocate(request("blue", "first")).await;
    first.expect("it is there");
    server.kill9();
    let refusal = client.allocate(request("blue", "second")).await;
    let refusal = refusal.expect_err("nobody is there");
    assert_eq!(refusal.code(), Code::Unavailable);
    let address = format!("unix://{}", server.socket().display());
    assert!(refusal.message().contains(&address), "{refusal}");
    let plugin = proxy.meta_ipam().within(1);
    let failed = plugin.run("ADD", "c1", json!({}));
    assert_eq!(code(&failed), 11);
    let text = json_of(&failed)["msg"].to_string();
    for words in [
        "network blue (net1)",
        &address,
        "--ipam-server of meta-cnid",
    ] {
        assert!(text.contains(words) && text.len() < 300, "{words}: {text}");
    }
    assert_eq!(code(&plugin.run("STATUS", "", json!({}))), 50);
    good(plugin.run("DEL", "c1", json!({})));
    server.restart();
    good(proxy.meta_ipam().run("ADD", "c2", json!({})));
}
