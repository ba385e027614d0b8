//! Faults of what the runtime reads, and of what meta-cni needs before anything else.

use std::fs;

use e2e::{Disk, Node};
use serde_json::json;

use super::{Fault, fault};
use crate::doctor::scene::Scene;

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "no configuration",
        &["holds no network configuration"],
        no_configuration,
    ),
    fault(
        "shadowed by another file",
        &[
            "the runtime uses ",
            "/net.d/00-calico.conflist, not ",
            "/net.d/00-meta-cni.conflist",
        ],
        shadowed,
    ),
    fault(
        "our configuration is broken JSON",
        &["00-meta-cni.conflist is not valid JSON", "line 1"],
        broken,
    ),
    fault(
        "a key has a wrong value",
        &["00-meta-cni.conflist is wrong", "maxParallelDelegates"],
        wrong_key,
    ),
    fault(
        "no default network",
        &["configuration: names no default network"],
        no_default_network,
    ),
    fault(
        "default network in no file",
        &["no file in ", " has a network called \"absent\""],
        absent_default_network,
    ),
    fault(
        "meta-cni not installed",
        &["plugin \"meta-cni\" is not in "],
        not_installed,
    ),
    fault(
        "stateDir read-only",
        &["stateDir ", "cannot be written: Read-only file system"],
        read_only,
    ),
    fault(
        "stateDir full",
        &["the file system of stateDir ", " has room for 0 KiB only"],
        full,
    ),
    fault(
        "readinessindicatorfile missing",
        &["readinessindicatorfile ", "/ready is not there"],
        not_ready,
    ),
];

fn no_configuration() -> Scene {
    let scene = Scene::new("none");
    fs::remove_file(scene.conf_dir().join("00-meta-cni.conflist")).expect("remove a file");
    scene
}

fn shadowed() -> Scene {
    let scene = Scene::new("shadowed");
    let calico = json!({ "cniVersion": "1.0.0", "name": "k8s", "plugins": [{ "type": "calico" }] });
    scene.write_conf("00-calico.conflist", &calico.to_string());
    scene
}

fn broken() -> Scene {
    let scene = Scene::new("broken");
    scene.write_conf(
        "00-meta-cni.conflist",
        r#"{"name": "e2e", "plugins": [{"type": "meta-cni",}]}"#,
    );
    scene
}

fn wrong_key() -> Scene {
    Scene::of(Node::new("key").conf(json!({ "maxParallelDelegates": 0 })))
}

fn no_default_network() -> Scene {
    Scene::of(Node::new("nothing").conf(json!({ "delegates": null })))
}

fn absent_default_network() -> Scene {
    Scene::of(Node::new("absent").conf(json!({ "clusterNetwork": "absent" })))
}

fn not_installed() -> Scene {
    let scene = Scene::new("not-installed");
    fs::remove_file(scene.node.bin_dir().join("meta-cni")).expect("remove a plugin");
    scene
}

fn read_only() -> Scene {
    let scene = Scene::new("read-only");
    let disk = Disk::mount(&scene.node, "size=4m");
    disk.set_read_only(true);
    scene.keep(disk)
}

fn full() -> Scene {
    let scene = Scene::new("full");
    let disk = Disk::mount(&scene.node, "size=1m");
    disk.fill();
    scene.keep(disk)
}

fn not_ready() -> Scene {
    let node = Node::new("not-ready");
    let ready = node.folder().join("ready");
    Scene::of(node.conf(json!({ "readinessindicatorfile": ready })))
}
