//! The agent's resident memory, in millions of bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::bench::{Better, Report, resident_bytes};
use e2e::manifests::NETWORKS;
use e2e::{Agent, ApiServer, Node, wait_until};
use serde_json::json;

/// A large cluster.
const LARGE_NADS: usize = 10_000;
const LARGE_PODS: usize = 5_000;
/// The most pods that a kubelet takes by default.
const PODS_OF_NODE: usize = 110;
/// How long anything may take to settle.
const PATIENCE: Duration = Duration::from_secs(60);

/// With next to nothing to know.
pub(crate) fn idle(agent: &Agent, report: &mut Report) {
    report.ratio("rss_idle_mb", resident(agent), 12.0, Better::Lower);
}

/// After 50 pods at once, several times.
pub(crate) fn after_burst(agent: &Agent, report: &mut Report) {
    report.ratio("rss_burst_mb", resident(agent), 16.0, Better::Lower);
}

/// Started in a cluster of 10,000 networks and 5,000 pods, 110 of them on its node.
pub(crate) fn large(node: &Node, api: &ApiServer, agent: &mut Agent, report: &mut Report) {
    let network = |number: usize| {
        let subnets = [
            format!("10.{}.{}.0/24", number / 256, number % 256),
            format!("fd00:{number:x}::/64"),
        ];
        let mut network = node.bridge(&format!("br{number}"), &[&subnets[0], &subnets[1]]);
        network["name"] = json!(format!("large-{number}"));
        (format!("large-{number}"), network)
    };
    api.create_nads("large", (0..LARGE_NADS).map(network));
    let name_of = |number: usize| match number {
        ..PODS_OF_NODE => node.name(),
        _ => "another",
    };
    let wish = BTreeMap::from([(NETWORKS.to_owned(), "large-1,large-2".to_owned())]);
    let pods = (0..LARGE_PODS).map(|number| (format!("web-{number}"), name_of(number)));
    api.create_pods("large", &wish, pods);
    agent.stop();
    agent.restart();
    wait_until("the agent knows all networks", PATIENCE, || {
        let series = "meta_cni_watched_objects{kind=\"network-attachment-definitions\"}";
        (agent.metric(series) >= LARGE_NADS as f64).then_some(())
    });
    report.ratio("rss_large_mb", resident(agent), 20.0, Better::Lower);
}

fn resident(agent: &Agent) -> f64 {
    resident_bytes(agent.pid()) as f64 / 1e6
}
