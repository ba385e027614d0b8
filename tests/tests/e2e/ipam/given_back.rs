//! Leases of meta-ipam end with their attachments, whatever the networks' own plugins did about them.

use e2e::{IpamServer, Node, Pod};
use serde_json::json;

/// A pod on networks `red` and `blue` of a plugin that never asks its IPAM plugin for anything.
fn attached(server: &IpamServer, name: &str) -> (Node, Pod) {
    let node = Node::recorder(name);
    node.leases_from(&server.address(), json!({}));
    for network in ["red", "blue"] {
        let mut conf = node.recording(network, json!({}));
        conf["ipam"] = json!({ "type": "meta-ipam", "pool": "p" });
        node.nad("default", network, conf);
    }
    let pod = node.pod("default", "web").networks("red,blue").create();
    node.add(&pod).ok();
    (node, pod)
}

#[tokio::test]
async fn a_lease_ends_though_its_plugin_never_asks_meta_ipam_at_del() {
    let server = IpamServer::start();
    server.create_pool("p", "10.0.0.0/24", "").await;
    let (node, pod) = attached(&server, "released");
    assert_eq!(server.leases().await.len(), 2);
    node.del(&pod).ok();
    assert_eq!(server.leases().await, []);
    node.assert_clean();
}

#[tokio::test]
async fn what_cannot_be_released_waits_and_the_next_pod_has_it_delivered() {
    let mut server = IpamServer::start();
    server.create_pool("p", "10.0.0.0/24", "").await;
    let (node, pod) = attached(&server, "waits");
    server.kill9();
    node.del(&pod).ok();
    assert!(!node.record_file(&pod).exists());
    server.restart();
    assert_eq!(server.leases().await.len(), 2);
    let next = node.pod("default", "next").networks("red").create();
    node.add(&next).ok();
    node.del(&next).ok();
    assert_eq!(server.leases().await, []);
    node.assert_clean();
}
