//! What AttachmentPolicies come to: `meta-cni doctor --policy` reports what would be refused before it is, and every run what
//! is refused.

use e2e::Node;
use serde_json::{Value, json};

use crate::doctor::scene::Scene;

/// A node with one network that the built-in rules refuse and one that they allow, in a mode.
fn scene(name: &str, mode: Option<&str>) -> Scene {
    let node = match mode {
        Some(mode) => Node::new(name).conf(json!({ "attachmentPolicy": mode })),
        None => Node::new(name),
    };
    let scene = Scene::of(node);
    scene.node.master("up0");
    let macvlan = |ipam: Value| json!({ "cniVersion": "1.0.0", "name": "n", "type": "macvlan", "master": "up0", "ipam": ipam });
    scene.node.nad(
        "default",
        "open",
        macvlan(json!({ "type": "host-local", "subnet": "10.7.0.0/24", "dataDir": "/run/x" })),
    );
    scene.node.nad(
        "default",
        "good",
        macvlan(json!({ "type": "static", "addresses": [{ "address": "10.8.0.1/24" }] })),
    );
    scene
        .node
        .pod("default", "web")
        .networks("open,good")
        .create();
    scene
}

#[test]
fn an_open_node_shows_what_closing_it_would_refuse() {
    let scene = scene("policy-open", None);
    let report = scene.report(&[]);
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert_eq!(
        report["lookedAt"]["policy"],
        json!({ "mode": "report", "refused": 0, "wouldBeRefused": 1 })
    );
    let report = scene.report(&["--policy"]);
    let findings = report["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 1, "{report:#}");
    let found = &findings[0];
    assert_eq!(
        (&found["severity"], &found["area"]),
        (&json!("warning"), &json!("policy"))
    );
    let cause = found["cause"].as_str().expect("a text");
    assert!(
        cause.starts_with(
            "network default/open: would be refused: no AttachmentPolicy allows the key dataDir"
        ),
        "{cause}"
    );
    assert_eq!(found["evidence"], json!(["pod default/web"]));
    let text = scene.doctor(&[]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("attachmentPolicy report: 0 networks refused, 1 more by enforce (meta-cni doctor --policy)"), "{text}");
}

#[test]
fn a_closed_node_has_a_fault_until_a_policy_allows_the_network() {
    let scene = scene("policy-closed", Some("enforce"));
    let causes = scene.causes(&[]);
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert!(
        causes[0].starts_with("network default/open: no AttachmentPolicy allows the key dataDir"),
        "{causes:?}"
    );
    assert!(!scene.doctor(&["--policy"]).status.success());
    let spec = json!({
        "namespaceSelector": {}, "plugins": { "main": ["macvlan"], "ipam": ["host-local", "static"] },
        "types": [{ "type": "host-local", "keys": { "allow": ["subnet", "dataDir"] } }],
    });
    let policy = json!({
        "apiVersion": "meta-cni.io/v1alpha1", "kind": "AttachmentPolicy", "metadata": { "name": "all" }, "spec": spec,
    });
    std::fs::write(
        scene.node.networks_dir().join("policy.json"),
        policy.to_string(),
    )
    .expect("write a policy");
    assert_eq!(scene.causes(&[]), Vec::<String>::new());
}
