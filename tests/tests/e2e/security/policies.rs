//! AttachmentPolicies: what tenants may ask for, from a folder, the API server and the agent; nothing that is
//! refused runs, and no error shows what the node allows.

use std::time::Duration;

use e2e::{Agent, ApiServer, Node, wait_until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A policy that allows the recorder one key, and macvlan a master that no message may name.
fn spec() -> Value {
    json!({
        "plugins": { "main": ["recording-plugin", "macvlan"], "ipam": ["static"] },
        "types": [
            { "type": "recording-plugin", "keys": { "allow": ["record"] } },
            { "type": "macvlan", "masters": ["secret0"] },
        ],
        "maxNetworks": 1,
    })
}

/// Writes a policy into the folder of a node.
fn policy(node: &Node, name: &str, labels: &Value, mut spec: Value) {
    spec["namespaceSelector"] = json!({ "matchLabels": labels });
    let object = json!({
        "apiVersion": "meta-cni.io/v1alpha1", "kind": "AttachmentPolicy",
        "metadata": { "name": name }, "spec": spec,
    });
    let path = node.networks_dir().join(format!("policy-{name}.json"));
    std::fs::write(path, object.to_string()).expect("write a policy");
}

/// What a policy for `red` and `blue` of a namespace must do, wherever it comes from. `nad` defines a network there, `add`
/// attaches a pod with these networks.
fn holds(
    node: &Node,
    nad: &dyn Fn(&str, Value),
    pod: &dyn Fn(&str, &str) -> e2e::Pod,
    has_policy: bool,
) {
    let recorder = || node.recording("red", json!({}));
    let with = |key: &str| {
        let mut conf = recorder();
        conf[key] = json!("x");
        conf
    };
    let macvlan =
        json!({ "cniVersion": "1.0.0", "name": "red", "type": "macvlan", "master": "eth9" });
    let cases: [(Value, &[&str]); 4] = if has_policy {
        [
            (
                with("mode"),
                &["no AttachmentPolicy allows the key mode of recording-plugin"],
            ),
            (
                macvlan,
                &["master \"eth9\" of macvlan", "ask the administrator"],
            ),
            (
                node.list(&[recorder(), recorder()]),
                &["\"recording-plugin\" as the chained plugin"],
            ),
            (with("logFile"), &["the key logFile of recording-plugin"]),
        ]
    } else {
        let file = json!({ "type": "host-local", "resolvConf": "/etc/hostname" });
        let bridge =
            json!({ "cniVersion": "1.0.0", "name": "red", "type": "bridge", "ipam": file });
        let dhcp = json!({ "type": "dhcp", "daemonSocketPath": "/run/evil.sock" });
        let socket =
            json!({ "cniVersion": "1.0.0", "name": "red", "type": "macvlan", "ipam": dhcp });
        [
            (recorder(), &["\"recording-plugin\" as the main plugin"]),
            (
                bridge,
                &["resolvConf of host-local, which names a file of the node"],
            ),
            (socket, &["\"dhcp\" as the IPAM plugin"]),
            (
                json!({ "cniVersion": "1.0.0", "name": "red", "type": "host-device", "device": "eth0" }),
                &["\"host-device\" as the main"],
            ),
        ]
    };
    for (number, (conf, words)) in cases.into_iter().enumerate() {
        let before = node.calls().len();
        nad("red", conf.clone());
        let pod = pod(&format!("refused{number}"), "red");
        let failed = node.add(&pod);
        failed.fails(7, words);
        let (_, msg, _) = failed.error();
        assert!(!msg.contains("secret0"), "{msg}");
        assert_eq!(node.calls().len(), before, "{conf}: {:?}", node.calls());
    }
}

#[test]
fn a_closed_node_runs_what_a_policy_allows_and_nothing_else() {
    let node = Node::recorder("closed").conf(json!({ "attachmentPolicy": "enforce" }));
    let nad = |name: &str, conf: Value| node.nad("default", name, conf);
    let pod = |name: &str, networks: &str| node.pod("default", name).networks(networks).create();
    holds(&node, &nad, &pod, false);
    policy(
        &node,
        "team",
        &json!({ "kubernetes.io/metadata.name": "default" }),
        spec(),
    );
    holds(&node, &nad, &pod, true);
    node.recording_nads(&["red", "blue"]);
    node.add(&pod("two", "red,blue"))
        .fails(7, &["2 networks of one pod, the most is 1"]);
    node.add(&pod("one", "red")).ok();
    let by_pod = node
        .pod("default", "chooser")
        .default_network("default/red")
        .create();
    node.add(&by_pod)
        .fails(7, &["a default network that a pod chooses"]);
}

#[test]
fn an_open_node_reports_and_a_policy_closes_one_namespace_of_it() {
    let node = Node::recorder("open-policy");
    node.recording_nads(&["red"]);
    node.nad("shut", "red", node.recording("red", json!({ "other": 1 })));
    let add = |namespace: &str, name: &str| {
        let pod = node.pod(namespace, name).networks("red").create();
        node.add(&pod)
    };
    add("default", "before").ok();
    let labels = json!({ "closed": "yes" });
    let shut = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shut", "labels": labels } });
    std::fs::write(node.networks_dir().join("shut.json"), shut.to_string())
        .expect("write a namespace");
    policy(
        &node,
        "shut",
        &labels,
        json!({ "plugins": { "main": ["macvlan"] } }),
    );
    add("default", "after").ok();
    add("shut", "closed").fails(
        7,
        &[
            "\"recording-plugin\" as the main plugin",
            "in namespace shut",
        ],
    );
}

#[test]
fn the_floor_of_the_node_is_loosened_by_no_policy() {
    let floor = json!({ "plugins": { "main": ["bridge"] } });
    let node = Node::recorder("floor")
        .conf(json!({ "attachmentPolicy": { "mode": "off", "floor": floor } }));
    policy(&node, "all", &json!({}), spec());
    node.recording_nads(&["red"]);
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod)
        .fails(7, &["this node does not allow plugin \"recording-plugin\""]);
    assert!(node.calls().is_empty(), "{:?}", node.calls());
}

/// The same with objects in the API server.
fn holds_of_api(node: &Node, api: &ApiServer, namespace: &str) {
    let label = format!("label-of-{namespace}");
    api.namespace(namespace);
    let labelled = |value: Value| {
        let patch = json!({ "metadata": { "labels": { (label.clone()): value } } });
        let path = format!("/api/v1/namespaces/{namespace}");
        let (status, answer) = api.admin().patch(&path, &patch);
        assert_eq!(status, 200, "{answer}");
    };
    let nad = |name: &str, conf: Value| api.nad(namespace, name, conf);
    let pod = |name: &str, networks: &str| {
        let pod = node.pod(namespace, &format!("{name}{}", api.events(namespace).len()));
        pod.networks(networks).create_in(api)
    };
    api.policy(namespace, json!({ (label.clone()): "yes" }), spec());
    labelled(Value::Null);
    nad("known", node.recording("red", json!({})));
    wait_until("the label is known to be gone", PATIENCE, || {
        let (_, msg, _) = node.add(&pod("early", "known")).error();
        msg.contains("as the main plugin").then_some(())
    });
    labelled(json!("yes"));
    wait_until("the label is known", PATIENCE, || {
        let pod = pod("late", "known");
        node.add(&pod).status.success().then_some(())
    });
    // An agent that follows sees a definition some time after it was changed: each has a name of its own.
    let number = std::cell::Cell::new(0);
    let last = std::cell::RefCell::new(String::new());
    let nad = |_: &str, conf: Value| {
        number.set(number.get() + 1);
        *last.borrow_mut() = format!("red{}", number.get());
        nad(&last.borrow(), conf);
    };
    let pod = |name: &str, _: &str| pod(name, &last.borrow());
    holds(node, &nad, &pod, true);
}

#[test]
fn policies_of_the_api_server_hold_for_namespaces_with_their_label() {
    let api = ApiServer::shared();
    let node = Node::recorder("by-api")
        .with_api(api)
        .conf(json!({ "attachmentPolicy": "enforce" }));
    holds_of_api(&node, api, "policies-by-api");
}

#[test]
fn policies_that_the_agent_follows_hold_for_namespaces_with_their_label() {
    let api = ApiServer::shared();
    let node = Node::recorder("by-agent")
        .with_agent()
        .conf(json!({ "attachmentPolicy": "enforce" }));
    let _agent = Agent::start(&node, api);
    holds_of_api(&node, api, "policies-by-agent");
}

#[test]
fn a_policy_that_can_mean_nothing_is_refused_by_the_api_server() {
    let api = ApiServer::shared();
    api.policy("schema", json!({ "none": "none" }), spec());
    let plugins = || json!({ "main": ["macvlan"] });
    for (what, spec, words) in [
        (
            "no selector",
            json!({ "plugins": plugins() }),
            "namespaceSelector",
        ),
        ("no plugins", json!({ "namespaceSelector": {} }), "plugins"),
        (
            "a master of a bridge",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "bridge", "masters": [] }] }),
            "masters belongs to",
        ),
        (
            "a bridge of macvlan",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "macvlan", "bridges": [] }] }),
            "bridges belongs to",
        ),
        (
            "a device of vlan",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "vlan", "devices": [] }] }),
            "devices belongs to",
        ),
        (
            "a sysctl of vlan",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "vlan", "sysctls": [] }] }),
            "sysctls belongs to",
        ),
        (
            "a prefix of dhcp",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "dhcp", "prefixes": [] }] }),
            "prefixes belongs to",
        ),
        (
            "no prefix",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "static", "prefixes": ["10.1.2.3.4/8"] }] }),
            "ADDRESS/LENGTH",
        ),
        (
            "a type twice",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "vlan" }, { "type": "vlan" }] }),
            "Duplicate value",
        ),
        (
            "both lists of keys",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "types": [{ "type": "vlan", "keys": { "allow": [], "deny": [] } }] }),
            "set either allow or deny",
        ),
        (
            "values of Exists",
            json!({ "namespaceSelector": { "matchExpressions": [{ "key": "a", "operator": "Exists", "values": ["b"] }] }, "plugins": plugins() }),
            "values belong to",
        ),
        (
            "In without values",
            json!({ "namespaceSelector": { "matchExpressions": [{ "key": "a", "operator": "In" }] }, "plugins": plugins() }),
            "values belong to",
        ),
        (
            "too many networks",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "maxNetworks": 65 }),
            "maxNetworks",
        ),
        (
            "another answer",
            json!({ "namespaceSelector": {}, "plugins": plugins(), "requestedAddresses": "Maybe" }),
            "requestedAddresses",
        ),
    ] {
        let object = json!({
            "apiVersion": "meta-cni.io/v1alpha1", "kind": "AttachmentPolicy", "metadata": { "name": "wrong" }, "spec": spec,
        });
        let (status, answer) = api
            .admin()
            .post("/apis/meta-cni.io/v1alpha1/attachmentpolicies", &object);
        assert_eq!(status, 422, "{what}: {answer}");
        let message = answer["message"].as_str().expect("a Status has a message");
        assert!(message.contains(words), "{what}: {message}");
    }
}

#[test]
fn the_examples_are_policies() {
    let api = ApiServer::shared();
    api.policy("schema", json!({ "none": "none" }), spec());
    api.apply(include_str!("../../../../examples/policies.yaml"));
}
