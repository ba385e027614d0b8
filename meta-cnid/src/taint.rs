//! The taint that keeps pods off a node until meta-cni is installed on it. A node that joins the cluster has it from its kubelet
//! (`--register-with-taints`): its primary network may be configured before meta-cni is, and pods that started in between would lack
//! their networks. The agent takes it away.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use cni::error::{one_line, with_causes};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// Its key.
const KEY: &str = "meta-cni.io/agent-not-ready";

/// How often the configuration is looked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Before a removal that failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// The version of the node that was read is not the last one any more.
const CONFLICT: u16 = 409;

/// Removes the taint once `conf` is there, and whenever the node gets it again, as one that is registered anew does; never ends.
pub(super) async fn run(client: Client, node: &str, conf: PathBuf) {
    while !conf.exists() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let nodes: Api<Node> = Api::all(client);
    let mut seen = pin!(watch_object(nodes.clone(), node).default_backoff());
    while let Some(next) = seen.next().await {
        match next {
            Ok(Some(node)) => remove(&nodes, &node).await,
            Ok(None) => {}
            Err(error) => warn("following the node", &error),
        }
    }
}

/// Removes the taint from a node as it was read, if it has it.
async fn remove(nodes: &Api<Node>, node: &Node) {
    let Some(patch) = without_taint(node) else {
        return;
    };
    let name = node.name_any();
    loop {
        match nodes
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => {
                tracing::info!(
                    node = name,
                    taint = KEY,
                    "removed the taint: meta-cni is installed"
                );
                return;
            }
            // The next version is on its way.
            Err(kube::Error::Api(status)) if status.code == CONFLICT => return,
            Err(error) => warn("removing the taint", &error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn warn(what: &str, error: &(dyn std::error::Error + 'static)) {
    let problem = one_line(&with_causes(error));
    tracing::warn!(
        taint = KEY,
        problem,
        "{what} failed, and is tried again; grant the agent the rights to nodes in deploy/chart (agent.taint)"
    );
}

/// What leaves the taint out of this version of a node; none: it does not have it.
fn without_taint(node: &Node) -> Option<Value> {
    let taints = node.spec.as_ref()?.taints.as_deref()?;
    let others: Vec<&Taint> = taints.iter().filter(|taint| taint.key != KEY).collect();
    (others.len() < taints.len()).then(|| {
        json!({
            "metadata": { "resourceVersion": node.metadata.resource_version },
            "spec": { "taints": others },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(keys: &[&str]) -> Node {
        let taints: Vec<Value> = keys
            .iter()
            .map(|key| json!({"key": key, "effect": "NoSchedule"}))
            .collect();
        let node = json!({
            "metadata": {"name": "one", "resourceVersion": "7"},
            "spec": {"taints": taints},
        });
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn only_its_own_taint_is_left_out_and_of_the_version_that_was_read() {
        assert_eq!(without_taint(&node(&[])), None);
        assert_eq!(without_taint(&node(&["other"])), None);
        assert_eq!(without_taint(&Node::default()), None);
        let expected = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"taints": [{"key": "other", "effect": "NoSchedule"}]},
        });
        assert_eq!(without_taint(&node(&["other", KEY])), Some(expected));
    }
}
