//! Section 2, "Annotations": the devices that the networks of a pod are given.

use std::fs;

use super::*;

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
