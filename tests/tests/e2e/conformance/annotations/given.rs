//! Section 2, "Annotations": what the networks of a pod are given: capabilities, CNI_ARGS, `args.cni`
//! and devices.

use std::fs;

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

/// A node whose kubelet gave two devices of `example.com/nic` to the pod with this UID, as its
/// checkpoint file says, and whose network `red` wants one each.
fn node_with_devices(name: &str, uid: &str) -> Node {
    let node = Node::recorder(name);
    let (kubelet, info) = (node.folder().join("kubelet"), node.folder().join("devinfo"));
    let entries = json!([{
        "PodUID": uid, "ContainerName": "main", "ResourceName": "example.com/nic",
        "DeviceIDs": { "-1": ["0000:01:00.0", "0000:01:00.1"] }, "AllocResp": "",
    }]);
    let checkpoint = json!({
        "Data": { "PodDeviceEntries": entries, "RegisteredDevices": {} }, "Checksum": 1,
    });
    fs::create_dir_all(kubelet.join("device-plugins")).unwrap();
    let path = kubelet.join("device-plugins/kubelet_internal_checkpoint");
    fs::write(path, checkpoint.to_string()).unwrap();
    fs::create_dir_all(info.join("dp")).unwrap();
    let conf = capable(&node, "red", &["deviceID", "CNIDeviceInfoFile"]);
    let resource = [("k8s.v1.cni.cncf.io/resourceName", "example.com/nic")];
    node.nad_with("default", "red", &resource, conf);
    node.conf(json!({ "kubeletDir": kubelet, "deviceInfoDir": info }))
}

#[test]
fn an_explicit_device_reaches_every_plugin_and_runtime_config_of_those_that_declare_it() {
    let node = Node::recorder("device").conf(json!({ "allowedDevices": ["0000:03:02.1"] }));
    let capable = capable(&node, "red", &["deviceID"]);
    node.nad(
        "default",
        "red",
        node.list(&[capable, node.recording("red", json!({}))]),
    );
    add(
        &node,
        json!([{ "name": "red", "deviceID": "0000:03:02.1" }]),
    );
    let calls = node.calls();
    let (first, second) = (calls[1].conf(), calls[2].conf());
    assert_eq!(
        first["runtimeConfig"],
        json!({ "deviceID": "0000:03:02.1" })
    );
    assert_eq!(second.get("runtimeConfig"), None);
    for plugin in [first, second] {
        assert_eq!(
            (&plugin["deviceID"], &plugin["pciBusID"]),
            (&json!("0000:03:02.1"), &json!("0000:03:02.1"))
        );
    }
}

#[test]
fn devices_of_the_nads_resource_go_to_its_attachments_in_order() {
    let node = node_with_devices("resource", "uid-1");
    let pod = node
        .pod("default", "web")
        .uid("uid-1")
        .networks("red,red")
        .create();
    node.add(&pod).ok();
    let device = |summary: &str| node.last_call(summary).conf()["deviceID"].clone();
    assert_eq!(device("ADD net1 red"), "0000:01:00.0");
    assert_eq!(device("ADD net2 red"), "0000:01:00.1");
    let third = node
        .pod("default", "web")
        .uid("uid-1")
        .networks("red,red,red")
        .create();
    node.add(&third)
        .fails(11, &["example.com/nic", "2 allocated"]);
}

#[test]
fn a_resource_that_no_device_plugin_serves_is_attached_without_a_device() {
    let node = node_with_devices("marker", "uid-1");
    let marker = [(
        "k8s.v1.cni.cncf.io/resourceName",
        "bridge.network.kubevirt.io/br1",
    )];
    let conf = capable(&node, "br1", &["deviceID"]);
    node.nad_with("default", "br1", &marker, conf);
    let pod = node
        .pod("default", "web")
        .uid("uid-1")
        .networks("br1,red,br1")
        .create();
    node.add(&pod).ok();
    for summary in ["ADD net1 br1", "ADD net3 br1"] {
        let given = node.last_call(summary).conf();
        assert_eq!(given.get("deviceID"), None, "{given}");
        assert_eq!(given.get("runtimeConfig"), None, "{given}");
    }
    assert_eq!(
        node.last_call("ADD net2 red").conf()["deviceID"],
        "0000:01:00.0"
    );
    node.del(&pod).ok();
}

#[test]
fn device_info_goes_from_the_device_plugin_to_the_delegate_and_into_network_status() {
    let node = node_with_devices("info", "uid-1");
    let info =
        json!({ "type": "pci", "version": "1.1.0", "pci": { "pci-address": "0000:01:00.0" } });
    let from = node
        .folder()
        .join("devinfo/dp/example.com-nic-0000:01:00.0-device.json");
    fs::write(from, info.to_string()).unwrap();
    let pod = node
        .pod("default", "web")
        .uid("uid-1")
        .networks("red")
        .create();
    node.add(&pod).ok();
    let given = node.last_call("ADD net1 red").conf()["runtimeConfig"]["CNIDeviceInfoFile"].clone();
    let file = std::path::PathBuf::from(given.as_str().unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), info.to_string());
    assert_eq!(node.network_status(&pod)[1]["device-info"], info);
    node.del(&pod).ok();
    assert!(!file.exists());
}

#[test]
fn device_info_goes_into_network_status_though_no_plugin_declares_the_capability() {
    let node = node_with_devices("no-capability", "uid-1");
    let resource = [("k8s.v1.cni.cncf.io/resourceName", "example.com/nic")];
    let conf = node.recording("vf", json!({}));
    node.nad_with("default", "vf", &resource, conf);
    let folder = node.folder().join("devinfo");
    let info =
        json!({ "type": "pci", "version": "1.1.0", "pci": { "pci-address": "0000:01:00.0" } });
    let from = |device: &str| folder.join(format!("dp/example.com-nic-{device}-device.json"));
    fs::write(from("0000:01:00.0"), info.to_string()).unwrap();
    fs::write(from("0000:01:00.1"), "no JSON").unwrap();
    let pod = node
        .pod("default", "web")
        .uid("uid-1")
        .networks("vf,vf")
        .create();
    node.add(&pod).ok();
    let given = node.last_call("ADD net1 vf").conf();
    assert_eq!(given.get("runtimeConfig"), None, "{given}");
    let status = node.network_status(&pod);
    assert_eq!(status[1]["device-info"], info);
    assert_eq!(
        status[2].get("device-info"),
        None,
        "what a device plugin wrote wrongly keeps no pod from starting"
    );
    let left = || fs::read_dir(folder.join("cni")).unwrap().count();
    assert_eq!(left(), 1);
    node.del(&pod).ok();
    assert_eq!(left(), 0);
}
