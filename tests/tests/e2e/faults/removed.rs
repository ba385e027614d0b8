//! Plugins that were removed from the node: on purpose, with their entry in the configuration, or by mistake.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::{Node, locate};
use serde_json::{Value, json};

use crate::faults::scene::pod;

/// A plugin that is called `kind`.
fn called(node: &Node, kind: &str) -> Value {
    let mut conf = node.recording("net", json!({}));
    conf["type"] = json!(kind);
    conf
}

fn install(node: &Node, kind: &str) {
    symlink(
        locate::test_program("recording-plugin"),
        node.bin_dir().join(kind),
    )
    .unwrap();
}

fn uninstall(node: &Node, kind: &str) {
    fs::remove_file(node.bin_dir().join(kind)).unwrap();
}

#[test]
fn a_chained_plugin_of_the_default_network_that_was_uninstalled_keeps_no_pod() {
    let node = Node::recorder("istio");
    install(&node, "istio-cni");
    let file = "10-net.conflist";
    let main = node.recording("net", json!({ "link": true }));
    node.conf_file(
        file,
        &node.list(&[main.clone(), called(&node, "istio-cni")]),
    );
    let path = node.conf_dir().join(file);
    let node = node.conf(json!({ "clusterNetwork": path, "delegates": null }));
    let pod = pod(&node, "a", &[]);
    node.add(&pod).ok();
    uninstall(&node, "istio-cni");
    // Its entry is still there: somebody may be about to install it again.
    node.del(&pod).fails(100, &["istio-cni", "install it"]);
    node.del(&pod).fails(100, &["istio-cni"]);
    assert_eq!(
        node.summaries(),
        ["ADD eth0 net", "ADD eth0 net", "DEL eth0 net"],
        "done is done"
    );
    node.conf_file(file, &node.list(&[main]));
    let del = node.del(&pod);
    del.ok();
    assert!(
        del.stderr.contains("given up") && del.stderr.contains("istio-cni"),
        "{del}"
    );
    node.assert_clean();
}

#[test]
fn a_chained_plugin_of_a_nad_that_was_uninstalled_keeps_no_pod() {
    let node = Node::recorder("chained");
    install(&node, "extra");
    let main = node.recording("net", json!({ "link": true }));
    let both = node.list(&[main.clone(), called(&node, "extra")]);
    for (name, now) in [("changed", Some(main)), ("gone", None)] {
        node.nad("default", name, both.clone());
        let pod = pod(&node, name, &[name]);
        node.add(&pod).ok();
        uninstall(&node, "extra");
        let networks = node.folder().join("elsewhere");
        fs::rename(node.networks_dir(), &networks).unwrap();
        node.del(&pod).fails(100, &["extra"]);
        fs::rename(&networks, node.networks_dir()).unwrap();
        node.del(&pod).fails(100, &["extra"]);
        match &now {
            Some(conf) => node.nad("default", name, conf.clone()),
            None => node.remove_nad("default", name),
        }
        node.del(&pod).ok();
        node.assert_clean();
        install(&node, "extra");
    }
}
