//! Networks of real plugins whose pod's namespace was gone before DEL, as after a reboot or a runtime's crash.

use e2e::{IpamServer, Node, Pod};
use serde_json::{Value, json};

use crate::delegates::attach::{addresses, both, plugin};

/// The MAC of the device in these tests.
const MAC: &str = "02:00:00:00:00:77";

/// A pod on network `net` whose namespace is gone again.
fn gone(node: &Node, conf: Value) -> Pod {
    node.nad("default", "net", conf);
    let pod = node.pod("default", "a").networks("net").create();
    node.add(&pod).ok();
    pod.netns().remove();
    pod
}

#[test]
fn host_device_does_not_keep_the_addresses_of_its_ipam_plugin() {
    for node in both("gone-device") {
        node.master("dev0");
        let rest = json!({ "device": "dev0", "ipam": addresses(&node) });
        let pod = gone(&node, plugin(&node, "host-device", rest));
        assert_eq!(node.leased("net").len(), 2);
        node.del(&pod).ok();
        assert!(node.leased("net").is_empty());
        node.assert_clean();
    }
}

#[tokio::test]
async fn host_device_does_not_keep_a_lease_of_meta_ipam() {
    let server = IpamServer::start();
    server.create_pool("p", "10.5.0.0/24", "").await;
    for node in both("gone-lease") {
        node.install(&e2e::locate::executable("meta-ipam"));
        node.master("dev0");
        node.leases_from(&server.address(), json!({}));
        let ipam = json!({ "type": "meta-ipam", "pool": "p" });
        let rest = json!({ "device": "dev0", "ipam": ipam });
        let pod = gone(&node, plugin(&node, "host-device", rest));
        assert_eq!(server.leases().await.len(), 1);
        node.del(&pod).ok();
        assert_eq!(server.leases().await, []);
        node.assert_clean();
    }
}

/// A physical device comes back from a namespace that ends, under the name that it had there; a virtual one ends with it, so
/// that the kernel's part is played by the test.
#[test]
fn a_device_that_the_kernel_gave_back_under_the_pods_name_gets_its_own_back() {
    for node in both("gone-name") {
        node.master("dev0");
        node.host().sh(&format!("ip link set dev0 address {MAC}"));
        let rest = json!({ "device": "dev0", "ipam": addresses(&node) });
        let pod = gone(&node, plugin(&node, "host-device", rest));
        e2e::wait_until(
            "the end of dev0",
            std::time::Duration::from_secs(10),
            || node.host().link("dev0-p").is_none().then_some(()),
        );
        node.host().sh(&format!(
            "ip link add net1 address {MAC} type veth peer name dev0-p"
        ));
        node.host().sh("ip link set net1 alias dev0 up");
        node.del(&pod).ok();
        assert!(node.host().link("net1").is_none());
        let device = node.host().link("dev0").expect("it has its name again");
        assert_eq!(device["address"], MAC);
        node.assert_clean();
    }
}

#[test]
fn a_vlan_whose_master_is_gone_too_gives_its_addresses_back() {
    if !e2e::lacking::require("vlan") {
        return;
    }
    for node in both("gone-vlan") {
        node.master("mst0");
        let rest = json!({ "master": "mst0", "vlanId": 5, "ipam": addresses(&node) });
        let pod = gone(&node, plugin(&node, "vlan", rest));
        node.host().sh("ip link delete mst0");
        node.del(&pod).ok();
        assert!(node.leased("net").is_empty());
        node.assert_clean();
    }
}
