//! How this node is called in Kubernetes: what is not known by the name that is taken is looked at all the same.

use e2e::{Agent, ApiServer, Node};
use serde_json::json;

use crate::doctor::scene::{Scene, parsed};

#[test]
fn recorded_pods_are_looked_at_whatever_the_node_is_called() {
    let api = ApiServer::shared();
    let node = Node::new("called").with_api(api);
    let scene = Scene::of(node.conf(json!({ "agentSocket": "" })));
    let node = &scene.node;
    let blue = node.side_bridge("br-blue", &["10.2.0.0/24"]);
    api.nad("called", "blue", blue);
    let pod = node.pod("called", "web").networks("blue").create_in(api);
    node.add(&pod).ok();
    api.delete_nad("called", "blue");

    let admin = format!("--kubeconfig={}", api.kubeconfig().display());
    let report = scene.report(&[&admin, "--node=other"]);
    let cause = report["findings"][0]["cause"].as_str().unwrap_or_default();
    assert!(
        cause.starts_with("network called/blue: there is no such"),
        "{report:#}"
    );
    assert_eq!(report["lookedAt"]["pods"], 1, "{report:#}");
    let not = report["notLookedAt"].to_string();
    assert!(
        not.contains("bound to node other") && not.contains("--node"),
        "{not}"
    );
    node.del(&pod).ok();
}

#[test]
fn the_agent_knows_the_name_of_the_node() {
    let api = ApiServer::shared();
    let scene = Scene::of(Node::new("reported").with_api(api));
    let node = &scene.node;
    let _agent = Agent::start(node, api);
    node.pod("reported", "next").create_in(api);
    let admin = format!("--kubeconfig={}", api.kubeconfig().display());
    let report = parsed(&scene.unnamed_doctor(&["-o", "json", &admin]));
    assert_eq!(report["lookedAt"]["pods"], 1, "{report:#}");
    assert_eq!(report["notLookedAt"], json!([]), "{report:#}");
}
