//! Faults that are found before any plugin runs.

use std::fs;

use e2e::{Node, Pod};
use serde_json::{Value, json};

use super::{Fault, Scene, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "annotation that cannot be read",
        &["ADD failed", "annotation k8s.v1.cni.cncf.io/networks"],
        Some("the pod's annotation"),
        || asking("blue and red"),
    ),
    fault(
        "annotation that is broken JSON",
        &[
            "ADD failed",
            "annotation k8s.v1.cni.cncf.io/networks",
            "not valid JSON",
        ],
        Some("the pod's annotation"),
        || asking(r#"[{"name":"blue","cni-args":{"password":"geheim"}]"#),
    ),
    fault(
        "NAD missing",
        &[
            "ADD failed",
            "network default/red",
            "no such NetworkAttachmentDefinition",
        ],
        Some("create it, or correct the name"),
        || asking("red"),
    ),
    fault(
        "NAD with broken JSON",
        &["ADD failed", "network default/blue", "not valid JSON"],
        Some("correct the network"),
        || with(json!("{\"type\": \"macvlan\"")),
    ),
    fault(
        "interface asked for twice",
        &["ADD failed", "network default/blue", "net7"],
        Some("give one of them another name"),
        || asking("blue@net7, blue@net7"),
    ),
    fault(
        "two default routes",
        &["ADD failed", "default-route", "net1, net2"],
        Some("leave default-route on one of them"),
        two_default_routes,
    ),
    fault(
        "plugin not installed",
        &[
            "ADD failed",
            "network default/blue",
            "\"no-such-plugin\" is not in",
        ],
        Some("install it there"),
        || with(json!({ "cniVersion": "1.0.0", "name": "blue", "type": "no-such-plugin" })),
    ),
    fault(
        "plugin not allowed",
        &["ADD failed", "network default/blue", "allowedPlugins"],
        Some("add it there, or use another"),
        || configured(json!({ "allowedPlugins": ["bridge"] }), "blue"),
    ),
    fault(
        "network of another namespace",
        &["ADD failed", "network other/blue", "namespaceIsolation"],
        Some("of globalNamespaces"),
        || configured(json!({ "namespaceIsolation": true }), "other/blue"),
    ),
    fault(
        "default network in no file",
        &["ADD failed", "\"absent\""],
        Some("correct the network"),
        || configured(json!({ "clusterNetwork": "absent" }), "blue"),
    ),
    fault(
        "a key has a wrong value",
        &["ADD failed", "maxParallelDelegates"],
        Some("correct it in the network configuration"),
        || configured(json!({ "maxParallelDelegates": 0 }), "blue"),
    ),
    fault(
        "readinessindicatorfile missing",
        &[
            "ADD failed",
            "readinessindicatorfile",
            "/ready is not there",
        ],
        Some("meta-cni doctor"),
        not_ready,
    ),
    fault(
        "the sandbox's namespace is gone",
        &["ADD failed", "CNI_NETNS", "/run/netns/absent"],
        Some("the container runtime"),
        no_namespace,
    ),
    fault(
        "agent away",
        &["ADD failed", "reading the pod", "agent.sock"],
        Some("is meta-cnid running on this node?"),
        no_agent,
    ),
    fault(
        "API server away",
        &[
            "ADD failed",
            "reading the pod",
            "127.0.0.1:1",
            "Connection refused",
        ],
        Some("is the API server up"),
        no_api,
    ),
];

/// A node whose networks `blue` are of the recording plugin, and a pod of `networks`.
fn on(node: Node, networks: &str) -> (Node, Pod) {
    for namespace in ["default", "other"] {
        node.nad(namespace, "blue", node.recording("blue", json!({})));
    }
    let pod = node.pod("default", "web").networks(networks).create();
    (node, pod)
}

fn asking(networks: &str) -> Scene {
    configured(json!({}), networks)
}

fn configured(conf: Value, networks: &str) -> Scene {
    let (node, pod) = on(Node::recorder("planned").conf(conf), networks);
    node.add(&pod).error();
    node.into()
}

fn with(blue: Value) -> Scene {
    let (node, pod) = on(Node::recorder("planned"), "blue");
    node.nad("default", "blue", blue);
    node.add(&pod).error();
    node.into()
}

fn two_default_routes() -> Scene {
    let route = |gateway: &str| json!({ "name": "blue", "default-route": [gateway] });
    asking(&json!([route("10.2.0.1"), route("10.2.0.2")]).to_string())
}

fn not_ready() -> Scene {
    let node = Node::recorder("planned");
    let ready = node.folder().join("ready");
    let (node, pod) = on(node, "blue");
    let conf = json!({ "readinessindicatorfile": ready, "readinessTimeoutSeconds": 0 });
    node.call("ADD").pod(&pod).conf(conf).run().error();
    node.into()
}

fn no_namespace() -> Scene {
    let (node, pod) = on(Node::recorder("planned"), "blue");
    let add = node.call("ADD").pod(&pod);
    add.env("CNI_NETNS", "/run/netns/absent").run().error();
    node.into()
}

fn no_agent() -> Scene {
    let (node, pod) = on(Node::recorder("planned").with_agent(), "blue");
    node.add(&pod).error();
    node.into()
}

fn no_api() -> Scene {
    let node = Node::recorder("planned");
    let kubeconfig = node.folder().join("kubeconfig");
    let text = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}]}"#;
    fs::write(&kubeconfig, text).expect("write a kubeconfig");
    let conf = json!({ "networksDir": null, "agentSocket": "", "kubeconfig": kubeconfig });
    let (node, pod) = on(node, "blue");
    node.call("ADD").pod(&pod).conf(conf).run().error();
    node.into()
}
