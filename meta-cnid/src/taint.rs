//! The taint that keeps pods off a node until meta-cni is installed on it. A node that joins the cluster has it from its kubelet
//! (`--register-with-taints`): its primary network may be configured before meta-cni is, and pods that started in between would lack
//! their networks. The agent removes it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use cni::error::{one_line, with_causes};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::parts::blocking;

/// Its key.
const KEY: &str = "meta-cni.io/agent-not-ready";

/// How often the folder of the configuration is read while meta-cni is not installed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A node that is not installed for so long needs somebody's attention.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before a removal that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Status codes of the API server (RFC 9110): the policy or RBAC refuses; there is no such node; the node is not any more as it was
/// read.
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

/// Removes the taint whenever the node has it, once meta-cni's configuration `conf` exists and is the first one of its folder; never
/// ends.
pub(super) async fn run(client: Client, node: &str, conf: PathBuf) {
    let nodes: Api<Node> = Api::all(client);
    let mut seen = pin!(watch_object(nodes.clone(), node).default_backoff());
    while let Some(next) = seen.next().await {
        match next {
            Ok(Some(found)) if without_taint(&found).is_some() => {
                wait_until_installed(&conf).await;
                remove(&nodes, node).await;
            }
            Ok(_) => {}
            Err(error) => warn("following the node", &error),
        }
    }
}

async fn wait_until_installed(conf: &Path) {
    let began = Instant::now();
    let mut waits = false;
    let mut is_warned = false;
    loop {
        let file = conf.to_owned();
        let problem = match blocking(move || problem(&file)).await {
            Ok(None) => return,
            Ok(Some(problem)) => problem,
            Err(error) => one_line(&with_causes(&error)),
        };
        if !waits {
            waits = true;
            tracing::info!(taint = KEY, file = %conf.display(), problem, "the taint stays until meta-cni is installed");
        } else if !is_warned && began.elapsed() > PATIENCE {
            is_warned = true;
            tracing::warn!(
                taint = KEY,
                file = %conf.display(),
                problem,
                "the taint stays: meta-cni is not installed; does the installer run on this node, and is the folder of --untaint-once mounted?"
            );
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Why a container runtime would not take meta-cni's configuration; none: it does.
fn problem(conf: &Path) -> io::Result<Option<String>> {
    let (Some(folder), Some(own)) = (conf.parent(), conf.file_name()) else {
        return Ok(Some("--untaint-once names no file".to_owned()));
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    let is_configuration = |name: &&OsString| {
        let extension = Path::new(name).extension();
        extension.is_some_and(|extension| {
            ["conf", "conflist", "json"]
                .iter()
                .any(|one| extension == *one)
        })
    };
    let first = names.iter().filter(is_configuration).min();
    Ok(match first {
        Some(first) if first == own => None,
        Some(first) if names.iter().any(|name| name == own) => {
            Some(format!("{} comes before it", first.to_string_lossy()))
        }
        _ => Some("the file does not exist".to_owned()),
    })
}

/// Removes the taint from the node as it is now.
async fn remove(nodes: &Api<Node>, node: &str) {
    loop {
        match try_remove(nodes, node).await {
            Ok(()) => return,
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => return,
            Err(kube::Error::Api(status)) if status.code == CONFLICT => {}
            Err(error) => warn("removing the taint", &error),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn try_remove(nodes: &Api<Node>, node: &str) -> Result<(), kube::Error> {
    let found = nodes.get(node).await?;
    if let Some(patch) = without_taint(&found) {
        let patch = Patch::Merge(&patch);
        nodes.patch(node, &PatchParams::default(), &patch).await?;
        tracing::info!(
            node,
            taint = KEY,
            "removed the taint: meta-cni is installed"
        );
    }
    Ok(())
}

fn warn(what: &str, error: &(dyn std::error::Error + 'static)) {
    let remedy = match status(error) {
        FORBIDDEN => {
            "apply deploy/agent-taint.yaml, or set agent.taint of the chart; the agent's token must be bound to its node"
        }
        _ => "can this node reach the API server?",
    };
    let problem = one_line(&with_causes(error));
    tracing::warn!(
        taint = KEY,
        problem,
        remedy,
        "{what} failed, and is tried again"
    );
}

/// The status that the API server answered with; 0: it did not.
fn status(error: &(dyn std::error::Error + 'static)) -> u16 {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(kube::Error::Api(status)) = this.downcast_ref() {
            return status.code;
        }
        error = this.source();
    }
    0
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
    fn meta_cni_is_installed_when_its_configuration_is_the_first_one() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("00-meta-cni.conflist");
        let of = |conf: &Path| problem(conf).unwrap();
        assert_eq!(of(&conf).unwrap(), "the file does not exist");
        let write = |name: &str| std::fs::write(folder.path().join(name), "{}").unwrap();
        write("05-primary.conf");
        assert_eq!(of(&conf).unwrap(), "the file does not exist");
        write("00-meta-cni.conflist");
        write("00-a.conflist.bak");
        assert_eq!(of(&conf), None);
        write("00-cilium.conflist");
        assert_eq!(of(&conf).unwrap(), "00-cilium.conflist comes before it");
        assert!(problem(Path::new("/nowhere/00-meta-cni.conflist")).is_err());
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
