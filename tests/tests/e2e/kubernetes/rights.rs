//! The rights of `deploy/rbac.yaml`: enough, and no more.

use std::path::PathBuf;
use std::time::Duration;

use e2e::kube::{PLUGIN, User};
use e2e::{ApiServer, Node, Pod, wait_until};
use serde_json::{Value, json};

use crate::kubernetes::fixture::{assert_says, events, failure, node};

const NAD: &str = "network-attachment-definitions";

/// What the tests below try: verb, API group, resource.
const ALL: [(&str, &str, &str); 31] = [
    ("get", "", "pods"),
    ("list", "", "pods"),
    ("watch", "", "pods"),
    ("create", "", "pods"),
    ("update", "", "pods"),
    ("patch", "", "pods"),
    ("delete", "", "pods"),
    ("create", "", "pods/exec"),
    ("create", "", "pods/binding"),
    ("patch", "", "pods/ephemeralcontainers"),
    ("patch", "", "pods/status"),
    ("update", "", "pods/status"),
    ("get", "k8s.cni.cncf.io", NAD),
    ("list", "k8s.cni.cncf.io", NAD),
    ("watch", "k8s.cni.cncf.io", NAD),
    ("create", "k8s.cni.cncf.io", NAD),
    ("patch", "k8s.cni.cncf.io", NAD),
    ("delete", "k8s.cni.cncf.io", NAD),
    ("list", "meta-cni.io", "attachmentpolicies"),
    ("watch", "meta-cni.io", "attachmentpolicies"),
    ("create", "meta-cni.io", "attachmentpolicies"),
    ("get", "", "namespaces"),
    ("list", "", "namespaces"),
    ("create", "", "events"),
    ("list", "", "events"),
    ("patch", "", "events"),
    ("get", "", "secrets"),
    ("get", "", "configmaps"),
    ("get", "", "nodes"),
    ("create", "", "serviceaccounts/token"),
    ("impersonate", "", "users"),
];

#[test]
fn the_service_account_may_do_six_things() {
    let api = ApiServer::shared();
    api.plugin_kubeconfig();
    let user = format!("system:serviceaccount:{}:{}", PLUGIN.0, PLUGIN.1);
    let allowed: Vec<_> = ALL
        .into_iter()
        .filter(|(verb, group, resource)| api.may(&user, verb, group, resource))
        .collect();
    assert_eq!(
        allowed,
        [
            ("get", "", "pods"),
            ("patch", "", "pods/status"),
            ("get", "k8s.cni.cncf.io", NAD),
            ("list", "meta-cni.io", "attachmentpolicies"),
            ("get", "", "namespaces"),
            ("create", "", "events"),
        ]
    );
}

#[test]
fn the_token_cannot_change_the_spec_of_a_pod() {
    let (node, api) = (node("spec"), ApiServer::shared());
    node.pod("spec", "web").create_in(api);
    let plugin = User::of(api.plugin_kubeconfig());
    let spec = json!({ "spec": {
        "activeDeadlineSeconds": 1,
        "containers": [{ "name": "main", "image": "evil" }],
    } });
    let path = "/api/v1/namespaces/spec/pods/web";
    assert_eq!(plugin.patch(path, &spec).0, 403);
    let before = api.get_pod("spec", "web").expect("it is there")["spec"].clone();
    // The server takes the request, and leaves the spec as it is.
    assert_eq!(plugin.patch(&format!("{path}/status"), &spec).0, 200);
    let after = api.get_pod("spec", "web").expect("it is there")["spec"].clone();
    assert_eq!(after, before);
    for path in [
        "/api/v1/pods",
        "/api/v1/namespaces/spec/pods",
        "/api/v1/namespaces/spec/secrets/any",
        "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
    ] {
        assert_eq!(plugin.get(path).0, 403, "{path}");
    }
}

/// The kubeconfig of a new ServiceAccount that has the shipped rights but for one verb on one resource.
fn without(api: &ApiServer, name: &str, verb: &str, resource: &str) -> PathBuf {
    api.plugin_kubeconfig();
    let mut rules = shipped_rules();
    let before = rules.len();
    rules.retain(|rule| rule["resources"] != json!([resource]));
    assert_eq!(
        rules.len() + 1,
        before,
        "no rule of {resource} in {rules:?}"
    );
    api.apply_value(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    }));
    let kubeconfig = api.kubeconfig_for("rights", name);
    api.bind("rights", name, name);
    let user = format!("system:serviceaccount:rights:{name}");
    let group = |resource| {
        if resource == NAD {
            "k8s.cni.cncf.io"
        } else {
            ""
        }
    };
    let other = if resource == "pods" {
        ("create", "events")
    } else {
        ("get", "pods")
    };
    wait_until("the rights", Duration::from_secs(30), || {
        api.may(&user, other.0, group(other.1), other.1)
            .then_some(())
    });
    assert!(!api.may(&user, verb, group(resource), resource));
    kubeconfig
}

fn shipped_rules() -> Vec<Value> {
    let text = include_str!("../../../../deploy/rbac.yaml");
    process::yaml::documents(text)
        .into_iter()
        .map(|document| document.expect("YAML"))
        .filter(|object| object["kind"] == "ClusterRole")
        .flat_map(|role| role["rules"].as_array().cloned().expect("a role has rules"))
        .collect()
}

/// A node that asks with one right less, and a pod with one network.
fn lacking(name: &str, verb: &str, resource: &str) -> (Node, Pod) {
    let api = ApiServer::shared();
    let kubeconfig = without(api, name, verb, resource);
    let node = node(name).conf(json!({ "kubeconfig": kubeconfig }));
    let red = node.recording("red", json!({ "link": true }));
    api.nad(name, "red", red);
    let pod = node.pod(name, "web").networks("red").create_in(api);
    (node, pod)
}

#[test]
fn without_the_right_to_get_pods_the_error_names_the_rights() {
    let (node, pod) = lacking("no-get-pods", "get", "pods");
    let (code, text) = failure(&node.add(&pod));
    assert_eq!(code, 11);
    assert_says(&text, &["get pod no-get-pods/web", "deploy/rbac.yaml"]);
    assert!(node.calls().is_empty());
    node.assert_clean();
}

#[test]
fn without_the_right_to_get_nads_the_error_names_the_rights_and_is_an_event() {
    let (node, pod) = lacking("no-get-nads", "get", NAD);
    let (code, text) = failure(&node.add(&pod));
    assert_eq!(code, 7);
    assert_says(&text, &["no-get-nads/red", "deploy/rbac.yaml"]);
    assert!(node.calls().is_empty());
    node.assert_clean();
    let reported = events(ApiServer::shared(), "no-get-nads");
    assert_eq!(reported.len(), 1);
    assert_says(&reported[0].1, &["deploy/rbac.yaml"]);
}

#[test]
fn without_the_right_to_patch_pods_status_all_is_undone_and_the_error_names_the_rights() {
    let (node, pod) = lacking("no-patch", "patch", "pods/status");
    let (code, text) = failure(&node.add(&pod));
    assert_eq!(code, 11);
    assert_says(
        &text,
        &["network-status", "no-patch/web", "deploy/rbac.yaml"],
    );
    let calls: Vec<String> = node.calls().iter().map(|call| call.summary()).collect();
    assert_eq!(calls, ["ADD net1 red", "DEL net1 red"]);
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
    let reported = events(ApiServer::shared(), "no-patch");
    assert!(
        reported.iter().any(|(kind, text)| kind == "Warning FailedAttach" && text.contains("deploy/rbac.yaml")),
        "{reported:?}"
    );
}

#[test]
fn with_on_status_failure_warn_an_add_succeeds_without_network_status() {
    let (node, pod) = lacking("warn", "patch", "pods/status");
    let node = node.conf(json!({ "onStatusFailure": "warn" }));
    let outcome = node.add(&pod);
    outcome.ok();
    assert_says(
        &outcome.stderr,
        &["WARN", "network-status", "deploy/rbac.yaml"],
    );
    assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
    let status = ApiServer::shared().network_status("warn", "web");
    assert_eq!(status, Value::Null);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn without_the_right_to_create_events_an_add_succeeds_with_a_warning() {
    let (node, pod) = lacking("no-events", "create", "events");
    let outcome = node.add(&pod);
    outcome.ok();
    assert_says(&outcome.stderr, &["WARN", "Event"]);
    assert!(
        ApiServer::shared()
            .network_status("no-events", "web")
            .is_array()
    );
    assert!(ApiServer::shared().events("no-events").is_empty());
    node.del(&pod).ok();
    node.assert_clean();
}
