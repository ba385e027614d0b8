//! What the tests of this rung share.

use std::time::Duration;

use e2e::kube::AGENT;
use e2e::{Agent, ApiServer, Node};
use serde_json::{Value, json};

/// How long anything may take that is not a call of meta-cni.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A node that asks its agent and nobody else, and the agent.
pub(crate) fn node(name: &str) -> (Node, Agent) {
    let node = Node::new(name).with_agent();
    let agent = Agent::start(&node, ApiServer::shared());
    (node, agent)
}

/// The requests of the agent's ServiceAccount about a namespace.
pub(crate) fn requests(api: &ApiServer, namespace: &str) -> Vec<String> {
    api.requests_about(AGENT, api.agent_kubeconfig(), namespace)
}

/// A recorded network with one address of each family.
pub(crate) fn network(node: &Node, name: &str, number: u8) -> Value {
    let ips = json!([
        format!("10.9.{number}.5/24"),
        format!("fd00:9:{number}::5/64")
    ]);
    node.recording(name, json!({ "link": true, "ips": ips }))
}
