//! Releases that could not be delivered: the agent delivers them all, without any other pod coming or going.

use std::fs;

use e2e::{IpamServer, wait_until};
use proto::ipam::v1::Lease;
use serde_json::json;

use super::fixture::{PATIENCE, Proxy};
use crate::ipam::meta_ipam::{MetaIpam, good};

/// More than one run of meta-ipam delivers.
const PODS: usize = 150;

fn containers(leases: Vec<Lease>) -> Vec<String> {
    let owners = leases
        .into_iter()
        .map(|lease| lease.owner.expect("an owner"));
    owners.map(|owner| owner.container_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_delivered_when_the_server_is_back() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/16", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    let plugin = proxy.meta_ipam();
    for number in 0..PODS {
        good(plugin.run("ADD", &format!("c{number}"), json!({})));
    }
    good(plugin.run("ADD", "stays", json!({})));
    server.kill9();
    for number in 0..PODS {
        good(plugin.run("DEL", &format!("c{number}"), json!({})));
    }
    assert_eq!(plugin.waiting(), PODS);
    server.restart();
    wait_until("all are delivered", PATIENCE, || {
        (plugin.waiting() == 0).then_some(())
    });
    assert_eq!(containers(server.leases().await), ["stays"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_does_not_stand_before_the_rest() {
    let mut server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let proxy = Proxy::start(&server);
    // They lease from the server itself, not through the agent.
    let plugin = MetaIpam::of(&server.socket(), proxy.folder());
    good(plugin.run("ADD", "c1", json!({})));
    server.kill9();
    good(plugin.run("DEL", "c1", json!({})));
    let nobody = MetaIpam::of(&proxy.folder().join("nobody"), proxy.folder());
    good(nobody.run("DEL", "c0", json!({})));
    let folder = plugin.state.join("releases");
    let refused = json!({
        "server": {"address": format!("unix://{}", server.socket().display())},
        "network": "", "containerId": "a", "ifname": ""
    });
    fs::write(folder.join("a.json"), refused.to_string()).expect("write a release");
    fs::write(folder.join("b.json"), "{").expect("write rubbish");
    server.restart();
    wait_until("one is left", PATIENCE, || {
        (plugin.waiting() == 1).then_some(())
    });
    assert_eq!(containers(server.leases().await), [""; 0]);
    assert!(folder.join("a.refused").exists());
    assert!(folder.join("b.unreadable").exists());
    proxy.wait_for_log("releases wait on", 1);
}
