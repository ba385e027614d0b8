//! meta-ipam as a main plugin executes it, with the real server at the other end, or none.

use std::process::Output;

use e2e::IpamServer;
use serde_json::{Value, json};

use crate::ipam::meta_ipam::MetaIpam;
pub(crate) use crate::ipam::meta_ipam::{code, good, json_of};

/// Runs meta-ipam against the server itself.
pub(crate) fn plugin(server: &IpamServer, command: &str, container: &str, more: Value) -> Output {
    MetaIpam::of(&server.socket(), server.folder()).run(command, container, more)
}

/// Releases that wait.
fn waiting(server: &IpamServer) -> usize {
    MetaIpam::of(&server.socket(), server.folder()).waiting()
}

async fn with_pool() -> IpamServer {
    let server = IpamServer::start();
    server.create_pool("blue", "10.0.0.0/29", "fd00::/64").await;
    server
}

#[tokio::test]
async fn add_leases_a_pair_check_holds_it_and_del_gives_it_back() {
    let server = with_pool().await;
    let result = good(plugin(&server, "ADD", "c1", json!({})));
    assert_eq!(result["ips"][0]["address"], "10.0.0.1/29");
    assert_eq!(result["ips"][1]["address"], "fd00::1/64");
    assert!(result.get("interfaces").is_none(), "{result}");
    assert_eq!(
        good(plugin(&server, "ADD", "c1", json!({}))),
        result,
        "again: the same lease"
    );
    good(plugin(
        &server,
        "CHECK",
        "c1",
        json!({"prevResult": result}),
    ));
    let other = json!({"prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.5/29"}]}});
    assert_eq!(code(&plugin(&server, "CHECK", "c1", other)), 3);
    for _ in 0..2 {
        good(plugin(&server, "DEL", "c1", json!({})));
        assert_eq!(server.leases().await, []);
    }
}

#[tokio::test]
async fn older_versions_get_the_result_in_their_form() {
    let server = with_pool().await;
    let old = good(plugin(&server, "ADD", "c1", json!({"cniVersion": "0.2.0"})));
    assert_eq!(
        (&old["ip4"]["ip"], &old["ip6"]["ip"]),
        (&json!("10.0.0.1/29"), &json!("fd00::1/64"))
    );
    let middle = good(plugin(&server, "ADD", "c1", json!({"cniVersion": "0.4.0"})));
    assert_eq!(
        (&middle["ips"][0]["version"], &middle["ips"][1]["version"]),
        (&json!("4"), &json!("6"))
    );
}

#[tokio::test]
async fn what_cannot_be_leased_is_an_error_with_its_code() {
    let server = with_pool().await;
    let wish = |ip: &str| json!({"runtimeConfig": {"ips": [ip]}});
    good(plugin(&server, "ADD", "c1", wish("10.0.0.3")));
    for (container, more, expected) in [
        ("c2", wish("10.0.0.3"), 103),
        ("c2", wish("10.0.0.0"), 102),
        ("c2", wish("10.9.0.3"), 101),
        ("c1", wish("10.0.0.4"), 105),
        ("c2", json!({"ipam": {"type": "meta-ipam"}}), 7),
    ] {
        let output = plugin(&server, "ADD", container, more.clone());
        assert_eq!(code(&output), expected, "{more} {output:?}");
    }
    for n in 0..5 {
        good(plugin(&server, "ADD", &format!("d{n}"), json!({})));
    }
    let full = plugin(&server, "ADD", "c9", json!({}));
    assert_eq!(code(&full), 11);
    let text = json_of(&full)["msg"].as_str().expect("a text").to_owned();
    assert!(
        ["blue", "ns/web", "IPv4"]
            .iter()
            .all(|word| text.contains(word))
            && text.len() < 300,
        "{text}"
    );
    assert_eq!(code(&plugin(&server, "STATUS", "", json!({}))), 50);
}

#[tokio::test]
async fn a_del_without_a_server_succeeds_and_the_next_run_delivers_it() {
    let mut server = with_pool().await;
    good(plugin(&server, "ADD", "c1", json!({})));
    server.kill9();
    assert_eq!(code(&plugin(&server, "STATUS", "", json!({}))), 50);
    good(plugin(&server, "DEL", "c1", json!({})));
    assert_eq!(waiting(&server), 1);
    server.restart();
    assert_eq!(server.leases().await.len(), 1);
    good(plugin(&server, "ADD", "c2", json!({})));
    assert_eq!(waiting(&server), 0);
    let containers: Vec<_> = server
        .leases()
        .await
        .into_iter()
        .map(|lease| lease.owner.expect("an owner").container_id)
        .collect();
    assert_eq!(containers, ["c2"]);
}

#[tokio::test]
async fn a_release_that_waits_never_ends_a_later_lease_of_the_same_attachment() {
    let mut server = with_pool().await;
    good(plugin(&server, "ADD", "c1", json!({})));
    server.kill9();
    good(plugin(&server, "DEL", "c1", json!({})));
    server.restart();
    good(plugin(&server, "ADD", "c1", json!({})));
    assert_eq!(waiting(&server), 0);
    good(plugin(&server, "ADD", "c2", json!({})));
    assert_eq!(server.leases().await.len(), 2);
}

#[tokio::test]
async fn gc_frees_what_is_not_listed_of_its_network_and_node() {
    let server = with_pool().await;
    for container in ["c1", "c2"] {
        good(plugin(&server, "ADD", container, json!({})));
    }
    good(plugin(&server, "GC", "", json!({})));
    assert_eq!(
        server.leases().await.len(),
        2,
        "without a list nothing ends"
    );
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "net1"}]});
    let of_another = json!({"name": "red", "cni.dev/valid-attachments": []});
    good(plugin(&server, "GC", "", of_another));
    assert_eq!(
        server.leases().await.len(),
        2,
        "another network's leases stay"
    );
    good(plugin(&server, "GC", "", valid));
    let left = server.leases().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].owner.as_ref().expect("an owner").container_id, "c2");
}

#[tokio::test]
async fn gc_with_a_list_that_cannot_be_read_is_refused_and_frees_nothing() {
    let server = with_pool().await;
    for container in ["c1", "c2"] {
        good(plugin(&server, "ADD", container, json!({})));
    }
    let c1 = json!({"containerID": "c1", "ifname": "net1"});
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        for list in [
            json!([{}]),
            json!([null]),
            json!(["k"]),
            json!([c1, {"containerId": "c2", "ifname": "net1"}]),
            json!([c1, {"containerID": "c2", "ifName": "net1"}]),
            json!([{"containerID": 1, "ifname": "net1"}]),
            json!([{"containerID": "c1", "ifname": ["net1"]}]),
            json!("c1"),
            json!({"containerID": "c1", "ifname": "net1"}),
        ] {
            let output = plugin(&server, "GC", "", json!({key: list}));
            assert_eq!(code(&output), 7, "{list}: {output:?}");
            assert_eq!(server.leases().await.len(), 2, "{list}");
        }
    }
    good(plugin(
        &server,
        "GC",
        "",
        json!({"cni.dev/valid-attachments": null}),
    ));
    assert_eq!(server.leases().await, []);
}
