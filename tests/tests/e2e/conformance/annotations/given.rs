//! Section 2, "Annotations": what the networks of a pod are given: capabilities, CNI_ARGS and `args.cni`. Devices are in
//! `given/devices.rs`.

mod devices;

use e2e::{Node, Pod, RecordedCall, lacking};
use serde_json::{Value, json};

/// All capabilities that a selection element can fill.
const CAPABILITIES: [&str; 6] = [
    "ips",
    "mac",
    "infinibandGUID",
    "portMappings",
    "bandwidth",
    "deviceID",
];

/// A recording network that declares these capabilities.
fn capable(node: &Node, name: &str, capabilities: &[&str]) -> Value {
    let mut conf = node.recording(name, json!({}));
    for capability in capabilities {
        conf["capabilities"][*capability] = json!(true);
    }
    conf
}

fn add(node: &Node, elements: Value) -> Pod {
    let pod = node.pod("default", "web").select(&elements).create();
    node.add(&pod).ok();
    pod
}

/// An element that asks for everything.
fn everything(name: &str) -> Value {
    json!([{
        "name": name,
        "ips": ["10.9.0.5/24", "fd00:9::5/64"],
        "mac": "02:00:00:00:00:05",
        "infiniband-guid": "c2:11:22:33:44:55:66:77",
        "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
        "bandwidth": { "ingressRate": 1000, "ingressBurst": 1000 },
        "deviceID": "0000:01:00.0",
        "ipam-claim-reference": "claim",
    }])
}

#[test]
fn what_is_asked_for_goes_to_runtime_config_of_plugins_that_declare_the_capability() {
    let node = Node::recorder("capable").conf(json!({ "allowedDevices": ["*"] }));
    node.nad("default", "all", capable(&node, "all", &CAPABILITIES));
    add(&node, everything("all"));
    assert_eq!(
        node.last_call("ADD net1 all").conf()["runtimeConfig"],
        json!({
            "ips": ["10.9.0.5/24", "fd00:9::5/64"],
            "mac": "02:00:00:00:00:05",
            "infinibandGUID": "c2:11:22:33:44:55:66:77",
            "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
            "bandwidth": { "ingressRate": 1000, "ingressBurst": 1000 },
            "deviceID": "0000:01:00.0",
        })
    );
}

#[test]
fn plugins_that_declare_no_capability_are_given_no_runtime_config() {
    let node = Node::recorder("incapable").conf(json!({ "allowedDevices": ["*"] }));
    let (some, none) = (capable(&node, "red", &["mac"]), capable(&node, "red", &[]));
    node.nad("default", "red", node.list(&[some, none]));
    add(&node, everything("red"));
    let calls: Vec<RecordedCall> = node.calls();
    assert_eq!(
        calls[1].conf()["runtimeConfig"],
        json!({ "mac": "02:00:00:00:00:05" })
    );
    assert_eq!(calls[2].conf().get("runtimeConfig"), None);
}

#[test]
fn all_ips_go_to_cni_args_of_a_network_that_takes_them_by_capability_too() {
    let node = Node::recorder("both-ways").conf(json!({ "allowedDevices": ["*"] }));
    let mut red = capable(&node, "red", &["ips"]);
    red["ipam"] = json!({ "type": "whereabouts" });
    node.nad("default", "red", red);
    let pod = add(&node, everything("red"));
    let both = Some("10.9.0.5/24,fd00:9::5/64");
    assert_eq!(node.last_call("ADD net1 red").arg("IP"), both);
    node.del(&pod).ok();
    assert_eq!(node.last_call("DEL net1 red").arg("IP"), both);
    add(&node, json!([{ "name": "red", "ips": ["10.9.0.5"] }]));
    assert_eq!(node.last_call("ADD net1 red").arg("IP"), Some("10.9.0.5"));
}

#[test]
fn several_ips_never_go_to_cni_args_of_a_network_with_host_local() {
    let node = Node::recorder("one-only").conf(json!({ "allowedDevices": ["*"] }));
    let mut red = capable(&node, "red", &["ips"]);
    red["ipam"] = json!({ "type": "host-local" });
    node.nad("default", "red", red);
    let pod = add(&node, everything("red"));
    assert_eq!(node.last_call("ADD net1 red").arg("IP"), None);
    node.del(&pod).ok();
    assert_eq!(node.last_call("DEL net1 red").arg("IP"), None);
    let pod = add(&node, json!([{ "name": "red", "ips": ["10.9.0.5"] }]));
    node.del(&pod).ok();
    assert_eq!(node.last_call("DEL net1 red").arg("IP"), Some("10.9.0.5"));
}

#[test]
fn a_pair_that_would_not_reach_host_local_is_refused_before_anything_runs() {
    let node = Node::new("no-way");
    let red = node.side_bridge("br-red", &["10.2.0.0/24", "fd00:2::/64"]);
    node.nad("default", "red", red);
    let pair = json!([{ "name": "red", "ips": ["10.2.0.77/24", "fd00:2::77/64"] }]);
    let pod = node.pod("default", "web").select(&pair).create();
    node.add(&pod)
        .fails(7, &["network default/red", "host-local", "capabilities"]);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn ips_and_mac_also_go_to_cni_args() {
    let node = Node::recorder("args").conf(json!({ "allowedDevices": ["*"] }));
    node.recording_nads(&["red"]);
    add(&node, everything("red"));
    let call = node.last_call("ADD net1 red");
    assert_eq!(call.arg("IP"), Some("10.9.0.5/24,fd00:9::5/64"));
    assert_eq!(call.arg("MAC"), Some("02:00:00:00:00:05"));
    assert_eq!(node.last_call("ADD eth0 default").arg("IP"), None);
}

#[test]
fn cni_args_of_delegates_name_the_pod_and_then_hold_the_rest_as_it_came() {
    let node = Node::recorder("pod-args");
    let pod = node.pod("default", "web").create();
    node.call("ADD").pod(&pod).args("MORE=1;Other=x").run().ok();
    let expected = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID={};\
         K8S_POD_UID={};MORE=1;Other=x",
        pod.container_id, pod.uid
    );
    assert_eq!(node.last_call("ADD eth0 default").env["CNI_ARGS"], expected);
}

#[test]
fn cni_args_of_delegates_name_the_pod_even_if_the_runtime_names_only_half_of_it() {
    let node = Node::recorder("half-args");
    let pod = node.pod("default", "web").create();
    let half = "MORE=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=default";
    node.call("ADD").pod(&pod).env("CNI_ARGS", half).run().ok();
    let expected = format!(
        "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID={};\
         K8S_POD_UID={};MORE=1",
        pod.container_id, pod.uid
    );
    assert_eq!(node.last_call("ADD eth0 default").env["CNI_ARGS"], expected);
}

#[test]
fn cni_args_of_an_element_merge_into_args_cni_of_every_plugin_and_win() {
    let node = Node::recorder("cni-args");
    let mut first = node.recording("red", json!({}));
    first["args"] = json!({ "cni": { "a": "network", "b": "network" }, "other": 1 });
    let second = node.recording("red", json!({}));
    node.nad("default", "red", node.list(&[first, second]));
    add(
        &node,
        json!([{ "name": "red", "cni-args": { "b": "pod", "c": [1] } }]),
    );
    let args: Vec<Value> = node
        .calls()
        .iter()
        .map(|call| call.conf()["args"].clone())
        .collect();
    assert_eq!(
        args[1],
        json!({ "cni": { "a": "network", "b": "pod", "c": [1] }, "other": 1 })
    );
    assert_eq!(args[2], json!({ "cni": { "b": "pod", "c": [1] } }));
}

#[test]
fn requested_addresses_and_mac_are_those_of_the_interface() {
    let node = Node::new("static");
    node.master("mst0");
    let red = json!({
        "cniVersion": "1.0.0", "name": "red", "type": "macvlan", "master": "mst0",
        "capabilities": { "ips": true, "mac": true }, "ipam": { "type": "static" },
    });
    node.nad("default", "red", red);
    let pod = add(
        &node,
        json!([{
            "name": "red", "ips": ["10.9.0.5/24", "fd00:9::5/64"], "mac": "02:00:00:00:00:05",
        }]),
    );
    assert_eq!(
        pod.netns().addresses("net1"),
        ["10.9.0.5/24", "fd00:9::5/64"]
    );
    assert_eq!(
        pod.netns().link("net1").unwrap()["address"],
        "02:00:00:00:00:05"
    );
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn host_local_gives_a_requested_address_and_one_of_its_own_of_the_other_family() {
    let node = Node::new("wish");
    node.nad(
        "default",
        "red",
        node.side_bridge("br-red", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = add(&node, json!([{ "name": "red", "ips": ["10.2.0.77/24"] }]));
    assert_eq!(
        pod.netns().addresses("net1"),
        ["10.2.0.77/24", "fd00:2::2/64"]
    );
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn host_local_gives_a_requested_pair_to_a_network_that_declares_the_capability() {
    let node = Node::new("pair");
    let mut red = node.side_bridge("br-red", &["10.2.0.0/24", "fd00:2::/64"]);
    red["capabilities"] = json!({ "ips": true });
    node.nad("default", "red", red);
    let pair = ["10.2.0.77/24", "fd00:2::77/64"];
    let pod = add(&node, json!([{ "name": "red", "ips": pair }]));
    assert_eq!(pod.netns().addresses("net1"), pair);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn port_mappings_open_ports_of_the_host_and_del_closes_them() {
    if !lacking::require("iptables") {
        return;
    }
    let node = Node::new("portmap");
    let portmap = json!({
        "cniVersion": "1.0.0", "name": "red", "type": "portmap", "capabilities": { "portMappings": true },
    });
    let mut bridge = node.side_bridge("br-red", &["10.2.0.0/24"]);
    bridge["cniVersion"] = json!("1.0.0");
    bridge["name"] = json!("red");
    node.nad("default", "red", node.list(&[bridge, portmap]));
    let pod = add(
        &node,
        json!([{
            "name": "red", "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
        }]),
    );
    let rules = node.host().sh("nft list ruleset");
    assert!(
        rules.contains("8080") && rules.contains("10.2.0.2"),
        "{rules}"
    );
    node.del(&pod).ok();
    node.assert_clean();
}
