//! What an ADD reports to the cluster, seen with a client: network-status and Events; and how many requests
//! it takes.

use e2e::{ApiServer, Node};
use serde_json::{Value, json};

use crate::kubernetes::fixture::{events, names, node, requests};

fn blue(node: &Node, namespace: &str) {
    let blue = node.bridge("br-blue", &["10.31.0.0/24", "fd00:31::/64"]);
    ApiServer::shared().nad(namespace, "blue", blue);
}

#[test]
fn network_status_says_what_the_pod_has() {
    let (node, api) = (node("status"), ApiServer::shared());
    blue(&node, "status");
    // The reference plugins say nothing of the MTU, which plugins may since CNI 1.1.0: it is the kernel's then.
    let small = node.recording(
        "small",
        json!({ "link": true, "result": {
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": "host0", "mac": "02:00:00:00:00:01" },
                { "name": "net2", "sandbox": "/run/netns/any", "mac": "02:00:00:00:00:02", "mtu": 1400 },
            ],
            "ips": [{ "address": "10.32.0.2/24", "interface": 1 }],
            "dns": { "nameservers": ["10.32.0.1"], "search": ["example.org"] },
        } }),
    );
    api.nad("status", "small", small);
    let pod = node
        .pod("status", "web")
        .networks("blue@blue0,small")
        .create_in(api);
    node.add(&pod).ok();
    let mac = |ifname: &str| pod.netns().link(ifname).expect("it is there")["address"].clone();
    assert_eq!(
        api.network_status("status", "web"),
        json!([
            {
                "name": "br-default",
                "interface": "eth0",
                "ips": ["10.1.0.2", "fd00:1::2"],
                "mac": mac("eth0"),
                "mtu": 1500,
                "default": true,
                "dns": {},
                "gateway": ["10.1.0.1", "fd00:1::1"],
            },
            {
                "name": "status/blue",
                "interface": "blue0",
                "ips": ["10.31.0.2", "fd00:31::2"],
                "mac": mac("blue0"),
                "mtu": 1500,
                "dns": {},
                "gateway": ["10.31.0.1", "fd00:31::1"],
            },
            {
                "name": "status/small",
                "interface": "net2",
                "ips": ["10.32.0.2"],
                "mac": "02:00:00:00:00:02",
                "mtu": 1400,
                "dns": { "nameservers": ["10.32.0.1"], "search": ["example.org"] },
            },
        ])
    );
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn one_element_is_the_default_whatever_default_route_asks_for() {
    let (node, api) = (node("routes"), ApiServer::shared());
    api.nad("routes", "blue", node.bridge("br-blue", &["10.31.0.0/24"]));
    let pod = node
        .pod("routes", "web")
        .networks(r#"[{"name": "blue", "default-route": ["10.31.0.1"]}]"#)
        .create_in(api);
    node.add(&pod).ok();
    assert_eq!(
        pod.netns().default_routes(),
        ["10.31.0.1 net1", "fd00:1::1 eth0"]
    );
    let status = api.network_status("routes", "web");
    let defaults: Vec<_> = status.as_array().expect("a list").iter().collect();
    assert_eq!(defaults[0]["default"], true);
    assert_eq!(defaults[1].get("default"), None);
    assert_eq!(defaults[0]["gateway"], json!(["fd00:1::1"]));
    assert_eq!(defaults[1]["gateway"][0], "10.31.0.1");
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn an_add_gets_the_pod_and_each_nad_once_and_patches_once() {
    let (node, api) = (node("count"), ApiServer::shared());
    blue(&node, "count");
    api.nad("count", "red", node.bridge("br-red", &["10.33.0.0/24"]));
    let pod = node
        .pod("count", "web")
        .networks("blue,red,blue")
        .create_in(api);
    node.add(&pod).ok();
    let nad = |name: &str| format!("get network-attachment-definitions/{name}");
    let mut expected = vec![
        "get pods/web".to_owned(),
        nad("blue"),
        nad("red"),
        "patch pods/web/status".to_owned(),
    ];
    expected.extend((0..4).map(|_| "create events".to_owned()));
    expected.sort();
    assert_eq!(requests(api, "count"), expected);
    node.check(&pod).ok();
    node.del(&pod).ok();
    assert_eq!(requests(api, "count"), expected, "CHECK and DEL ask nobody");
    node.assert_clean();
}

#[test]
fn network_status_is_not_written_again_when_it_is_the_same() {
    let api = ApiServer::shared();
    let mut node = node("same");
    let red = node.recording(
        "red",
        json!({ "link": true, "result": {
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "eth0", "sandbox": "/run/netns/any", "mac": "02:00:00:00:00:07" }],
        "ips": [{ "address": "10.34.0.7/24", "interface": 0 }],
    } }),
    );
    node = node.conf(json!({ "delegates": [red] }));
    let pod = node.pod("same", "web").create_in(api);
    let patches = || {
        let all = requests(api, "same");
        all.iter().filter(|line| line.starts_with("patch")).count()
    };
    node.add(&pod).ok();
    assert_eq!(patches(), 1);
    let version =
        || api.get_pod("same", "web").expect("it is there")["metadata"]["resourceVersion"].clone();
    let before = version();
    node.del(&pod).ok();
    node.add(&pod).ok();
    assert_eq!((patches(), version()), (1, before));
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn other_annotations_and_the_status_of_the_pod_stay_as_they_are() {
    let (node, api) = (node("others"), ApiServer::shared());
    let pod = node
        .pod("others", "web")
        .annotation("example.org/kept", "as it is")
        .create_in(api);
    let status =
        json!({ "status": { "phase": "Running", "podIP": "192.0.2.7", "qosClass": "BestEffort" } });
    let path = "/api/v1/namespaces/others/pods/web/status";
    assert_eq!(api.admin().patch(path, &status).0, 200);
    let strip = || {
        let mut pod = api.get_pod("others", "web").expect("it is there");
        let metadata = pod["metadata"].as_object_mut().expect("an object");
        metadata.shift_remove("resourceVersion");
        metadata.shift_remove("managedFields");
        pod
    };
    let before = strip();
    node.add(&pod).ok();
    let mut after = strip();
    let annotations = after["metadata"]["annotations"].as_object_mut();
    let written = annotations.and_then(|all| all.shift_remove(e2e::manifests::NETWORK_STATUS));
    assert!(written.is_some());
    assert_eq!(after, before);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn each_attachment_is_an_event_on_the_pod() {
    let (node, api) = (node("added"), ApiServer::shared());
    blue(&node, "added");
    let pod = node.pod("added", "web").networks("blue").create_in(api);
    node.add(&pod).ok();
    let added = "Normal AddedInterface".to_owned();
    assert_eq!(
        events(api, "added"),
        [
            (
                added.clone(),
                "Add eth0 [10.1.0.2/24, fd00:1::2/64] from br-default".to_owned()
            ),
            (
                added,
                "Add net1 [10.31.0.2/24, fd00:31::2/64] from added/blue".to_owned()
            ),
        ]
    );
    for event in api.events("added") {
        assert_eq!(
            event["involvedObject"],
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": "added",
                "name": "web",
                "uid": pod.uid,
            })
        );
        assert_eq!(event["source"]["component"], "meta-cni");
    }
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_failed_attachment_is_an_event_with_nad_step_and_cause() {
    let (node, api) = (node("failed"), ApiServer::shared());
    let failing = json!({ "failOn": { "ADD": { "code": 42, "msg": "no cable" } } });
    api.nad("failed", "red", node.recording("red", failing));
    let pod = node.pod("failed", "web").networks("red").create_in(api);
    let (code, _, _) = node.add(&pod).error();
    assert_eq!(code, 42);
    let all = events(api, "failed");
    assert_eq!(names_of(&all), ["Warning FailedAttach"]);
    crate::kubernetes::fixture::assert_says(
        &all[0].1,
        &["failed/red", "net1", "recording-plugin", "ADD", "no cable"],
    );
    let object = &api.events("failed")[0]["involvedObject"];
    assert_eq!(object["name"], "web");
    assert_eq!(object["uid"], pod.uid.as_str());
    assert_eq!(api.network_status("failed", "web"), Value::Null);
    node.assert_clean();
}

fn names_of(events: &[(String, String)]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[test]
fn nameless_networks_of_one_name_in_two_namespaces_differ_by_their_namespace() {
    let (node, api) = (node("twins"), ApiServer::shared());
    for (namespace, subnet) in [("twins-a", "10.35.0.0/24"), ("twins-b", "10.36.0.0/24")] {
        let mut conf = node.bridge(&namespace.replace("twins", "br"), &[subnet]);
        conf.as_object_mut()
            .expect("an object")
            .shift_remove("name");
        api.nad(namespace, "twin", conf);
    }
    let pod = node
        .pod("twins-a", "web")
        .networks("twin,twins-b/twin")
        .create_in(api);
    node.add(&pod).ok();
    // As with Multus, plugins keep their state of both under one name.
    assert_eq!(node.leased("twin"), ["10.35.0.2", "10.36.0.2"]);
    let status = api.network_status("twins-a", "web");
    assert_eq!(
        names(&status, "name")[1..],
        ["twins-a/twin", "twins-b/twin"]
    );
    node.del(&pod).ok();
    node.assert_clean();
}
