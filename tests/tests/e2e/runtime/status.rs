//! STATUS, as a kubelet sees it: the condition `NetworkReady` of the node.

use std::fs;
use std::time::Duration;

use e2e::runtime::Release;
use e2e::{Node, wait_until};
use serde_json::json;

use crate::runtime::fixture::Scene;

#[track_caller]
fn assert_not_ready(scene: &Scene, words: &[&str]) {
    let reason = scene.kubelet().network_ready().expect_err("it is ready");
    for word in words {
        assert!(reason.contains(word), "it does not say {word:?}: {reason}");
    }
}

#[test]
fn the_node_is_ready_as_long_as_the_default_network_says_so() {
    let node = Node::new("ready");
    let indicator = node.folder().join("default-network-is-up");
    let node = node.conf(json!({ "readinessindicatorfile": indicator }));
    let scene = Scene::on(node, Release::Pinned, "ready");
    for _ in 0..2 {
        assert_not_ready(&scene, &["default-network-is-up is not there"]);
        fs::write(&indicator, "").expect("write a file");
        assert_eq!(scene.kubelet().network_ready(), Ok(()));
        fs::remove_file(&indicator).expect("remove a file");
    }
}

#[test]
fn the_node_is_not_ready_while_the_address_service_of_the_default_network_is_away() {
    let mut scene = Scene::new("leaseless");
    assert_eq!(scene.kubelet().network_ready(), Ok(()));
    scene.ipam.kill9();
    assert_not_ready(&scene, &["ipam"]);
    scene.ipam.restart();
    assert_eq!(scene.kubelet().network_ready(), Ok(()));
}

#[test]
fn the_node_becomes_ready_when_the_configuration_is_put_in_place() {
    let scene = Scene::new("installed");
    let path = scene.runtime.cni_conf_dir().join("00-meta-cni.conflist");
    let text = fs::read(&path).expect("read the configuration");
    fs::remove_file(&path).expect("remove the configuration");
    let change = Duration::from_secs(10);
    wait_until("not ready without a configuration", change, || {
        scene.kubelet().network_ready().err()
    });
    fs::write(&path, text).expect("write the configuration");
    wait_until("ready again", change, || {
        scene.kubelet().network_ready().ok()
    });
    let pod = scene.run("web");
    scene.delete(&pod);
    scene.assert_clean();
}
