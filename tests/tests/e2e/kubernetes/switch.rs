//! From Multus to meta-cni and back: pods that a real Multus made, thin or thick, are checked, deleted and
//! collected by meta-cni, and neither takes what the other's pods hold. The form that Multus 4.3 gives its files is in
//! the rung conformance.

pub(super) mod site;

use std::fs;
use std::path::PathBuf;

use e2e::{ApiServer, Node, Pod};
use serde_json::{Value, json};

use crate::kubernetes::fixture::{names, sorted_links};
use site::{Form, Site};

/// The resource that the network `nic` takes its devices from.
const RESOURCE: &str = "example.com/nic";

/// The device that the kubelet gave to the pod.
const DEVICE: &str = "0000:01:00.0";

/// A node that has just been switched, and a pod of [`made_by_multus`].
fn switched(name: &str, form: Form) -> (Site, Pod) {
    let (mut site, pod) = made_by_multus(name, form);
    site.remove_multus();
    (site, pod)
}

/// A node and a pod that Multus made, with all kinds of networks: the default network with a host port of the
/// runtime, a nameless one, one with a host port of its own, and one with a device.
fn made_by_multus(name: &str, form: Form) -> (Site, Pod) {
    let site = Site::new(&format!("{name}-{form:?}").to_lowercase(), form, |node| {
        let bridge = node.bridge("br-first", &["10.31.0.0/24", "fd00:31::/64"]);
        node.list(&[bridge, portmap()])
    });
    let namespace = networks(&site.node);
    let pod = site
        .node
        .pod(&namespace, "old")
        .select(&json!([
            { "name": "nameless" },
            { "name": "ports", "portMappings": [{ "hostPort": 9090, "containerPort": 90, "protocol": "tcp" }] },
            { "name": "nic" },
        ]))
        .create_in(ApiServer::shared());
    give_device(&site.node, &pod);
    site.multus("ADD", &pod).ok();
    assert_eq!(sorted_links(&pod), ["eth0", "lo", "net1", "net2", "net3"]);
    assert_eq!(
        pod.netns().addresses("net1"),
        ["10.32.0.2/24", "fd00:32::2/64"]
    );
    let left = site.node.leftovers();
    for port in ["8080", "9090"] {
        assert!(left.iter().any(|line| line.contains(port)), "{left:#?}");
    }
    (site, pod)
}

/// Makes the networks in a namespace of this node's own, and gives the namespace.
fn networks(node: &Node) -> String {
    let (api, namespace) = (ApiServer::shared(), node.name().to_owned());
    api.nad(&namespace, "nameless", nameless(node));
    let ports = node.side_bridge("br-ports", &["10.33.0.0/24", "fd00:33::/64"]);
    api.nad(&namespace, "ports", node.list(&[ports, portmap()]));
    let mut nic = node.recording("nic", json!({ "link": true, "ips": ["10.34.0.2/24"] }));
    nic["capabilities"] = json!({ "deviceID": true, "CNIDeviceInfoFile": true });
    api.apply_value(&json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "namespace": namespace,
            "name": "nic",
            "annotations": { "k8s.v1.cni.cncf.io/resourceName": RESOURCE },
        },
        "spec": { "config": nic.to_string() },
    }));
    namespace
}

fn nameless(node: &Node) -> Value {
    let mut bridge = node.side_bridge("br-nameless", &["10.32.0.0/24", "fd00:32::/64"]);
    let bridge = bridge.as_object_mut().expect("made so");
    bridge.remove("name");
    json!(bridge)
}

fn portmap() -> Value {
    json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": false })
}

/// The kubelet's checkpoint, and the file of a device plugin about the device.
fn give_device(node: &Node, pod: &Pod) {
    let entry = json!({
        "PodUID": pod.uid, "ContainerName": "main", "ResourceName": RESOURCE,
        "DeviceIDs": { "-1": [DEVICE] }, "AllocResp": "",
    });
    let checkpoint = json!({
        "Data": { "PodDeviceEntries": [entry], "RegisteredDevices": {} }, "Checksum": 1,
    });
    let write = |path: &str, value: &Value| {
        fs::write(node.folder().join(path), value.to_string()).expect("write a file");
    };
    write(
        "kubelet/device-plugins/kubelet_internal_checkpoint",
        &checkpoint,
    );
    let file = format!(
        "k8s.cni.cncf.io/devinfo/dp/{}-{DEVICE}-device.json",
        RESOURCE.replace('/', "-")
    );
    write(&file, &device_info());
}

fn device_info() -> Value {
    json!({ "type": "pci", "version": "1.1.0", "pci": { "pci-address": DEVICE } })
}

/// Nothing of any pod is left, and no file about a device.
#[track_caller]
fn assert_clean(site: &Site) {
    site.node.assert_clean();
    assert_eq!(site.device_files(), [] as [PathBuf; 0]);
}

#[test]
fn a_pod_made_by_multus_is_checked_and_deleted_after_the_switch() {
    for form in Form::BOTH {
        let (site, pod) = switched("deleted", form);
        let status = ApiServer::shared().network_status(&pod.namespace, &pod.name);
        assert_eq!(
            names(&status, "interface"),
            ["eth0", "net1", "net2", "net3"]
        );
        assert_eq!(status[3]["device-info"], device_info());
        assert_eq!(site.device_files().len(), 1);

        site.ours("CHECK", &pod).ok();
        site.ours("DEL", &pod).ok();
        assert_eq!(pod.netns().links(), ["lo"]);
        let undone = site.node.wait_for_call("DEL net3 nic").conf();
        assert_eq!(undone["deviceID"], DEVICE);
        assert_eq!(undone["runtimeConfig"]["deviceID"], DEVICE);
        assert_clean(&site);
    }
}

#[test]
fn a_pod_made_by_multus_is_deleted_though_its_namespace_is_gone() {
    for form in Form::BOTH {
        let (site, pod) = switched("gone", form);
        pod.netns().remove();
        site.ours("DEL", &pod).ok();
        assert_clean(&site);
    }
}

/// Without the rules of host ports: only the cache has those.
#[test]
fn a_pod_made_by_multus_is_deleted_though_the_cache_of_libcni_is_gone() {
    for form in Form::BOTH {
        let (site, pod) = switched("lost", form);
        fs::remove_dir_all(site.node.cni_dir().join("results")).expect("remove the cache");
        site.ours("DEL", &pod).ok();
        assert_eq!(pod.netns().links(), ["lo"]);
        for network in ["br-first", "nameless", "br-ports"] {
            assert_eq!(site.node.leased(network), [""; 0], "{network}");
        }
        assert_eq!(site.device_files(), [] as [PathBuf; 0]);
    }
}

#[test]
fn check_names_the_interface_that_a_pod_made_by_multus_has_lost() {
    for form in Form::BOTH {
        let (site, pod) = switched("checked", form);
        pod.netns().sh("ip link delete net2");
        let named = format!("{}/ports (net2)", pod.namespace);
        site.ours("CHECK", &pod)
            .fails(100, &[&named, "net2 is gone"]);
        site.ours("DEL", &pod).ok();
        assert_clean(&site);
    }
}

#[test]
fn gc_keeps_a_pod_made_by_multus_until_the_runtime_lists_it_no_more() {
    for form in Form::BOTH {
        let (site, pod) = switched("collected", form);
        site.ours_gc(&[&pod]).ok();
        site.ours("CHECK", &pod).ok();
        site.ours_gc(&[]).ok();
        assert_eq!(pod.netns().links(), ["lo"]);
        assert_clean(&site);
    }
}

#[test]
fn after_the_switch_and_back_no_pod_gets_what_a_living_one_holds() {
    for form in Form::BOTH {
        let (mut site, old) = made_by_multus("shared", form);
        let [new, back] = ["new", "back"].map(|name| {
            let pod = site.node.pod(&old.namespace, name).networks("nameless");
            pod.create_in(ApiServer::shared())
        });
        site.ours("ADD", &new).ok();
        site.multus("ADD", &back).ok();
        for (pod, last) in [(&old, 2), (&new, 3), (&back, 4)] {
            for (ifname, subnet) in [("eth0", 31), ("net1", 32)] {
                let expected = [
                    format!("10.{subnet}.0.{last}/24"),
                    format!("fd00:{subnet}::{last}/64"),
                ];
                assert_eq!(pod.netns().addresses(ifname), expected, "{}", pod.name);
            }
        }
        site.remove_multus();
        for pod in [&old, &new, &back] {
            site.ours("CHECK", pod).ok();
            site.ours("DEL", pod).ok();
        }
        assert_clean(&site);
    }
}
