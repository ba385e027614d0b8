//! A NetworkAttachmentDefinition runs only executables that the node's administrator allows, each in its place, at any
//! depth and in any spelling of a key; meta-cni itself is never one of them.

use std::os::unix::fs::symlink;

use e2e::{Node, locate};
use serde_json::{Value, json};

/// A plugin's configuration that writes a line for each call, if it is executed at all.
fn recorder(node: &Node) -> Value {
    node.recording("evil", json!({}))
}

/// Whether something but the default network was executed.
fn has_run(node: &Node) -> bool {
    node.calls().iter().any(|call| call.network != "default")
}

/// ADD of a pod with this one network is refused before anything runs.
#[track_caller]
fn refused(node: &Node, what: &str, conf: Value, words: &[&str]) {
    node.nad("default", "red", conf);
    let pod = node.pod("default", "web").networks("red").create();
    let failed = node.add(&pod);
    let (_, msg, _) = failed.error();
    assert!(msg.contains("default/red"), "{what}: {failed}");
    failed.fails(7, words);
    assert!(node.calls().is_empty(), "{what}: {:?}", node.calls());
}

#[test]
fn each_executable_is_allowed_in_its_place_only() {
    let node = Node::recorder("placed").conf(json!({ "allowedPlugins": {
        "main": ["recording-plugin", "bridge", "flannel"], "chained": ["tuning"], "ipam": ["host-local"],
    } }));
    let evil = recorder(&node);
    let with = |more: Value| {
        let mut conf = json!({ "cniVersion": "1.0.0", "name": "red", "type": "bridge" });
        let fields = conf.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        conf
    };
    let record = evil["record"].clone();
    let cases = [
        (
            "IPAM plugin",
            with(json!({ "ipam": { "type": "recording-plugin" }, "record": record })),
            "allowedPlugins.ipam",
        ),
        (
            "IPAM plugin in another case",
            with(json!({ "IPAM": { "type": "recording-plugin" }, "record": record })),
            "\"ipam\" in another case",
        ),
        (
            "IPAM plugin with a key in another case",
            with(json!({ "ipam": { "Type": "recording-plugin" }, "record": record })),
            "\"type\" in another case",
        ),
        (
            "chained plugin",
            json!({ "cniVersion": "1.0.0", "name": "red", "plugins": [{ "type": "bridge" }, evil] }),
            "allowedPlugins.chained",
        ),
        (
            "a list inside a plugin",
            with(json!({ "delegates": [evil] })),
            "delegates names a plugin inside",
        ),
        (
            "a list beside the type",
            with(json!({ "Plugins": [evil] })),
            "\"plugins\" in another case",
        ),
        (
            "a delegate of flannel",
            json!({ "cniVersion": "1.0.0", "name": "red", "type": "flannel", "delegate": { "type": "sbr" } }),
            "\"sbr\" is not in allowedPlugins.main",
        ),
        (
            "deep inside",
            with(json!({ "a": [{ "b": { "tYPE": "recording-plugin" } }] })),
            "a[0].b.tYPE names a plugin inside",
        ),
    ];
    for (what, conf, words) in cases {
        refused(&node, what, conf, &[words]);
    }
    node.nad("default", "red", node.recording("red", json!({})));
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    assert!(has_run(&node), "what is allowed runs");
}

#[test]
fn without_a_list_of_allowed_plugins_places_are_kept_all_the_same() {
    let node = Node::recorder("open");
    let ipam = |kind: &str| json!({ "cniVersion": "1.0.0", "name": "red", "type": "bridge", "ipam": { "type": kind } });
    let main = |kind: &str| json!({ "cniVersion": "1.0.0", "name": "red", "type": kind, "ipam": { "type": "static" } });
    for (what, conf, words) in [
        (
            "a plugin that would execute itself",
            ipam("bridge"),
            "cannot be the IPAM plugin",
        ),
        ("meta-cni as IPAM plugin", ipam("meta-cni"), "is this one"),
        ("meta-cni as main plugin", main("meta-cni"), "is this one"),
        (
            "meta-ipam as main plugin",
            main("meta-ipam"),
            "cannot be the main plugin",
        ),
        (
            "a plugin that executes what it reads",
            main("multus"),
            "executes what its configuration says",
        ),
    ] {
        refused(&node, what, conf, &[words]);
    }
}

#[test]
fn a_definition_that_is_the_default_network_is_not_asked_for_its_status_either() {
    let node = Node::recorder("status").conf(json!({ "clusterNetwork": "red", "delegates": null }));
    let mut conf = recorder(&node);
    conf["delegates"] = json!([recorder(&node)]);
    node.nad("kube-system", "red", conf);
    node.status()
        .fails(50, &["delegates names a plugin inside"]);
    assert_eq!(node.calls().len(), 0);
}

#[test]
fn meta_cni_under_any_name_refuses_to_be_a_delegate() {
    let node = Node::recorder("marked");
    symlink(
        locate::executable("meta-cni"),
        node.bin_dir().join("innocent"),
    )
    .expect("link meta-cni");
    let conf_dir = node.folder().join("evil");
    std::fs::create_dir(&conf_dir).expect("make a folder");
    std::fs::write(conf_dir.join("evil.conf"), recorder(&node).to_string())
        .expect("write a network");
    let keys = json!({
        "cniVersion": "1.0.0", "name": "red", "clusterNetwork": conf_dir.join("evil.conf"),
        "logFile": node.folder().join("evil.log"), "stateDir": node.folder().join("evil-state"),
        "networksDir": node.networks_dir(), "agentSocket": "",
    });
    let with = |more: Value| {
        let mut conf = keys.clone();
        let fields = conf.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        conf
    };
    for (what, conf) in [
        ("as the main plugin", with(json!({ "type": "innocent" }))),
        (
            "as an IPAM plugin",
            with(json!({ "type": "bridge", "bridge": "br-evil", "ipam": { "type": "innocent" } })),
        ),
    ] {
        node.nad("default", "red", conf);
        let pod = node.pod("default", "web").networks("red").create();
        node.add(&pod).fails(7, &["meta-cni is not a delegate"]);
        assert!(!has_run(&node), "{what}: {:?}", node.calls());
        for made in ["evil.log", "evil-state"] {
            assert!(!node.folder().join(made).exists(), "{what} made {made}");
        }
    }
    for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
        let pod = node.pod("default", "other").create();
        let call = node.call(verb).pod(&pod).env("META_CNI_DELEGATE", "1");
        call.run().fails(7, &["meta-cni is not a delegate"]);
    }
    node.call("VERSION")
        .env("META_CNI_DELEGATE", "1")
        .run()
        .ok();
}

#[test]
fn meta_ipam_under_any_name_is_an_ipam_plugin_and_nothing_else() {
    let node = Node::recorder("lease");
    symlink(
        locate::executable("meta-ipam"),
        node.bin_dir().join("lease"),
    )
    .expect("link meta-ipam");
    let direct = json!({ "cniVersion": "1.0.0", "name": "red", "type": "meta-ipam", "ipam": { "type": "meta-ipam", "pool": "p" } });
    refused(
        &node,
        "under its own name",
        direct,
        &["cannot be the main plugin"],
    );
    let conf = json!({ "cniVersion": "1.0.0", "name": "red", "type": "lease", "ipam": { "type": "static" } });
    for (what, conf) in [
        ("with another IPAM plugin", conf.clone()),
        (
            "without one",
            json!({ "cniVersion": "1.0.0", "name": "red", "type": "lease" }),
        ),
    ] {
        node.nad("default", "red", conf);
        let pod = node.pod("default", "web").networks("red").create();
        let failed = node.add(&pod);
        failed.fails(7, &["meta-ipam is an IPAM plugin and nothing else"]);
        assert!(!has_run(&node), "{what}");
    }
}
