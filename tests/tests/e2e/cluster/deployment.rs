//! The chart is installed by two commands, and a Deployment comes, grows, rolls and goes.

use e2e::wait_until;
use serde_json::{Value, json};

use crate::cluster::fixture::{Networks, PATIENCE, Site, TIMEOUT};

/// How many pods with three interfaces each the Deployment has.
const PODS: usize = 60;
/// What a kubelet gives a new node.
const TAINT: &str = "meta-cni.io/agent-not-ready=true:NoSchedule";

#[test]
fn sixty_pods_with_three_interfaces_come_roll_and_go_and_nothing_stays() {
    let site = Site::start();
    // As a node that joins: its first pods are those that bring meta-cni, and the agent lets the others come.
    site.cluster.kubectl(&["taint", "nodes", "--all", TAINT]);
    site.install(&["--set=agent.taint=true"]);
    assert_eq!(site.taints(), [] as [String; 0]);
    site.cluster.helm(&["test", "meta-cni", TIMEOUT]);

    site.deployment("web", Networks::Three);
    site.scale("web", PODS);
    assert_eq!(site.leases().len(), 2 * PODS);
    site.cluster
        .kubectl(&["rollout", "restart", "deployment/web"]);
    site.rolled_out("web", PODS);
    site.scale("web", PODS / 10);
    site.scale("web", PODS / 2);
    assert_eq!(site.leases().len(), PODS);
    site.scale("web", 0);
    site.assert_clean();

    let (whole, short) = site.counted();
    assert_eq!(short, [] as [String; 0]);
    assert!(whole >= 2 * PODS, "{whole}");
    assert_probes_are_green(&site);
    a_network_that_does_not_work_is_one_event_with_the_remedy(&site);
}

/// Nothing of the chart was restarted, and each container is ready.
#[track_caller]
fn assert_probes_are_green(site: &Site) {
    let pods = site.cluster.list(&["pods", "--namespace=kube-system"]);
    let of = |pod: &Value| pod["status"]["containerStatuses"].clone();
    let statuses: Vec<Value> = pods.iter().map(of).collect();
    let containers = statuses.iter().flat_map(|list| list.as_array().unwrap());
    let mut count = 0;
    for container in containers {
        assert_eq!(container["restartCount"], 0, "{container:#}");
        assert_eq!(container["ready"], true, "{container:#}");
        count += 1;
    }
    assert_eq!(count, 3, "agent, installer, ipam-server");
    let unhealthy = "--field-selector=reason=Unhealthy";
    let events = site
        .cluster
        .list(&["events", "--all-namespaces", unhealthy]);
    let notes = events.iter().map(|event| event["message"].to_string());
    let lively: Vec<String> = notes.filter(|note| note.contains("Liveness")).collect();
    assert_eq!(lively, [] as [String; 0]);
}

#[track_caller]
fn a_network_that_does_not_work_is_one_event_with_the_remedy(site: &Site) {
    site.network(
        "storage",
        json!({ "type": "macvlan", "master": "nonesuch" }),
    );
    site.cluster
        .kubectl(&["scale", "deployment/web", "--replicas=1"]);
    let of = |reason: &str| {
        let filter = format!("--field-selector=reason={reason}");
        site.cluster.list(&["events", &filter])
    };
    // The kubelet counts its attempts; each has the sandbox in its text.
    wait_until("two attempts", PATIENCE, || {
        (of("FailedCreatePodSandBox").len() >= 2).then_some(())
    });
    let ours = of("FailedAttach");
    assert_eq!(ours.len(), 1, "{ours:#?}");
    let note = ours[0]["message"].as_str().unwrap();
    assert!(!note.contains('\n') && note.len() < 300, "{note}");
    for word in ["default/storage", "nonesuch", "; "] {
        assert!(note.contains(word), "it does not say {word:?}: {note}");
    }
    site.scale("web", 0);
    site.assert_clean();
}
