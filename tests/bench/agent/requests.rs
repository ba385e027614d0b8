//! What an ADD costs at the API server, counted in its audit log.

use std::time::{Duration, Instant};

use e2e::bench::{Better, Report, Samples};
use e2e::kube::{AGENT, PLUGIN, User};
use e2e::{ApiServer, Node, wait_until};
use serde_json::json;

/// A namespace of its own, so that requests about it are those of these ADDs.
const NAMESPACE: &str = "requests";
const PODS: usize = 20;
/// A namespace whose requests are not counted.
const ALONE: &str = "alone";
const PATCHES: usize = 100;
/// How long the Events may take, which nobody waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// ADDs pods with one secondary network, and counts the requests of agent and plugin about them. Events are not
/// promised, and counted apart.
pub(crate) fn count(node: &Node, api: &ApiServer, report: &mut Report) {
    let networks = format!("{}/n1", super::NAMESPACE);
    for number in 0..PODS {
        let pod = node.pod(NAMESPACE, &format!("web-{number}"));
        let pod = pod.networks(&networks).create_in(api);
        node.add(&pod).ok();
        node.del(&pod).ok();
    }
    wait_until("the Events", PATIENCE, || {
        (api.events(NAMESPACE).len() >= 2 * PODS).then_some(())
    });
    let agent = api.requests_about(AGENT, api.agent_kubeconfig(), NAMESPACE);
    let plugin = api.requests_about(PLUGIN, api.plugin_kubeconfig(), NAMESPACE);
    let all = agent.iter().chain(&plugin);
    let (events, others): (Vec<_>, Vec<_>) = all.partition(|line| line.ends_with(" events"));
    let by_add = |requests: Vec<&String>| requests.len() as f64 / PODS as f64;
    report.ratio("api_requests_per_add", by_add(others), 1.0, Better::Lower);
    let mut posted = Samples::default();
    posted.push_value(by_add(events));
    report.figure("Events of an ADD +1", "requests", &posted);
}

/// The PATCH alone that each ADD waits for, from a client that does nothing else and is connected already.
pub(crate) fn patch_alone(node: &Node, api: &ApiServer, report: &mut Report) {
    node.pod(ALONE, "web").create_in(api);
    let user = User::of(api.agent_kubeconfig());
    let path = format!("/api/v1/namespaces/{ALONE}/pods/web/status");
    let mut took = Samples::default();
    for number in 0..=PATCHES {
        let status =
            json!([{ "name": "n1", "interface": "net1", "ips": [format!("10.1.0.{number}")] }]);
        let annotations = json!({ "k8s.v1.cni.cncf.io/network-status": status.to_string() });
        let patch = json!({ "metadata": { "annotations": annotations } });
        let started = Instant::now();
        let (code, answer) = user.patch(&path, &patch);
        assert_eq!(code, 200, "{answer}");
        // The first one connects.
        if number > 0 {
            took.push(started.elapsed());
        }
    }
    report.figure("PATCH of network-status alone", "ms", &took);
}
