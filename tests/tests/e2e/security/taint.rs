//! The taint that keeps pods off a node until meta-cni is installed: a running agent with the token of its pod, the shipped rights and
//! their policy take it from the agent's own node, and reach nothing else of nodes.

use std::fs;
use std::time::Duration;

use e2e::kube::User;
use e2e::{Agent, ApiServer, Node, wait_until};
use serde_json::{Value, json};

const RIGHTS: &str = include_str!("../../../../deploy/agent-taint.yaml");
const TAINT: &str = "meta-cni.io/agent-not-ready";
const OTHER: &str = "example.com/maintenance";
const PATIENCE: Duration = Duration::from_secs(60);

fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

fn taints(keys: &[&str]) -> Value {
    let taints = keys
        .iter()
        .map(|key| json!({"key": key, "effect": "NoSchedule"}));
    json!({"spec": {"taints": taints.collect::<Vec<_>>()}})
}

/// The keys of a node's taints, but for those of Kubernetes itself.
fn keys(admin: &User, node: &str) -> Vec<String> {
    let (status, object) = admin.get(&path(node));
    assert_eq!(status, 200, "{object}");
    let taints = object["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let keys = taints.iter().filter_map(|taint| taint["key"].as_str());
    keys.filter(|key| !key.contains("kubernetes.io"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_agent_takes_the_taint_from_its_own_node_once_meta_cni_is_installed_and_reaches_nothing_else()
{
    let api = ApiServer::start();
    let node = Node::recorder("taint").with_agent();
    let kubeconfig = api.kubeconfig_of_agent_pod(node.name());
    let _elsewhere = api.kubeconfig_of_agent_pod("elsewhere");
    api.apply(RIGHTS);
    let (admin, thief) = (api.admin(), User::of(&kubeconfig));
    for name in [node.name(), "elsewhere"] {
        let (status, answer) = admin.patch(&path(name), &taints(&[TAINT, OTHER]));
        assert_eq!(status, 200, "{answer}");
    }
    let own = path(node.name());
    let mut attempts = 0;
    wait_until("the policy holds", PATIENCE, || {
        attempts += 1;
        let label = json!({"metadata": {"labels": {"attempt": attempts.to_string()}}});
        let (_, answer) = thief.patch(&own, &label);
        let message = answer["message"].as_str().unwrap_or_default();
        message.contains("meta-cni-own-node").then_some(())
    });
    for (what, path, patch) in [
        ("a node elsewhere", &path("elsewhere"), taints(&[OTHER])),
        ("another taint", &own, taints(&[TAINT])),
        ("one more taint", &own, taints(&[TAINT, OTHER, "more"])),
        ("a cordon", &own, json!({"spec": {"unschedulable": true}})),
        ("a provider", &own, json!({"spec": {"providerID": "mine"}})),
        (
            "an annotation",
            &own,
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
        (
            "a finalizer",
            &own,
            json!({"metadata": {"finalizers": ["a.b/c"]}}),
        ),
    ] {
        let (status, answer) = thief.patch(path, &patch);
        assert_eq!(status, 403, "{what}: {answer}");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains("meta-cni-own-node"), "{what}: {message}");
    }
    let status = json!({"status": {"phase": "Running"}});
    assert_eq!(thief.patch(&format!("{own}/status"), &status).0, 403);
    assert_eq!(thief.delete(&own).0, 403);

    let conf = node.state_dir().join("00-meta-cni.conflist");
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--untaint-once={}", conf.display()),
    ];
    let arguments = arguments.each_ref().map(String::as_str);
    let agent = Agent::start_with(&node, &api, &arguments);
    wait_until("the agent says what it waits for", PATIENCE, || {
        let log = agent.log();
        log.contains("the taint stays until meta-cni is installed")
            .then_some(())
    });
    assert_eq!(
        keys(&admin, node.name()),
        [TAINT, OTHER],
        "not installed yet"
    );
    fs::write(&conf, "{}").expect("install meta-cni");
    let untainted = || (keys(&admin, node.name()) == [OTHER]).then_some(());
    wait_until("the taint is gone", PATIENCE, untainted);
    // As a node that is registered anew has it.
    let (status, answer) = admin.patch(&own, &taints(&[TAINT, OTHER]));
    assert_eq!(status, 200, "{answer}");
    wait_until("the taint is gone again", PATIENCE, untainted);
    assert_eq!(keys(&admin, "elsewhere"), [TAINT, OTHER]);
}
