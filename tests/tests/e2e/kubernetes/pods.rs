//! Which pod an ADD is about: not there yet, there with another UID, made again meanwhile, static.

use e2e::{ApiServer, Pod, wait_until};
use serde_json::{Value, json};

use crate::kubernetes::fixture::{Hold, PATIENCE, assert_says, events, failure, node, requests};

#[test]
fn a_pod_that_is_not_found_is_waited_for_and_then_try_again_later() {
    let (node, api) = (node("absent"), ApiServer::shared());
    api.namespace("absent");
    let pod = node.pod("absent", "web").without_manifest().create();
    let (code, text) = failure(&node.add(&pod));
    assert_eq!(code, 11);
    assert_says(&text, &["there is no pod absent/web"]);
    let asked = requests(api, "absent");
    assert!(asked.len() > 1, "not waited for: {asked:?}");
    assert!(asked.iter().all(|line| line == "get pods/web"), "{asked:?}");
    assert!(node.calls().is_empty());
    node.assert_clean();
}

#[test]
fn a_pod_that_appears_while_it_is_waited_for_is_attached() {
    let (node, api) = (node("late"), ApiServer::shared());
    api.namespace("late");
    let pod = node.pod("late", "web").without_manifest().create();
    // The server gives the UID, which the runtime thus cannot name yet.
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=late;K8S_POD_NAME=web";
    let running = node.call("ADD").pod(&pod).env("CNI_ARGS", args).spawn();
    wait_until("the first look", PATIENCE, || {
        let asked = api.requests(e2e::kube::PLUGIN.0, e2e::kube::PLUGIN.1);
        let looks = |line: &String| line == "get /api/v1/namespaces/late/pods/web";
        asked.iter().any(looks).then_some(())
    });
    api.create_pod("late", "web", &Default::default(), node.name());
    running.wait().ok();
    assert_eq!(pod.netns().links(), ["lo", "eth0"]);
    assert!(api.network_status("late", "web").is_array());
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_pod_with_another_uid_is_try_again_later() {
    let (node, api) = (node("uid"), ApiServer::shared());
    let made_again = node.pod("uid", "web").create_in(api);
    let pod = node.pod("uid", "web").without_manifest().create();
    assert_ne!(pod.uid, made_again.uid);
    let (code, text) = failure(&node.add(&pod));
    assert_eq!(code, 11);
    assert_says(&text, &["uid/web", "UID"]);
    assert_eq!(api.network_status("uid", "web"), Value::Null);
    assert!(node.calls().is_empty());
    node.assert_clean();
}

#[test]
fn a_static_pod_has_another_uid_in_the_api_and_is_attached() {
    let (node, api) = (node("static"), ApiServer::shared());
    let red = node.recording("red", json!({ "link": true }));
    api.nad("static", "red", red);
    let mirror = node
        .pod("static", "web")
        .mirror()
        .networks("red")
        .create_in(api);
    let pod = node.pod("static", "web").without_manifest().create();
    assert_ne!(pod.uid, mirror.uid);
    node.add(&pod).ok();
    assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
    let args = &node.wait_for_call("ADD net1 red").env["CNI_ARGS"];
    assert_says(args, &[&format!("K8S_POD_UID={}", pod.uid)]);
    assert!(api.network_status("static", "web").is_array());
    node.del(&pod).ok();
    node.assert_clean();
}

/// Starts an ADD and stops it within its last delegate; does `meanwhile`, and lets it go on.
fn with_a_pause(name: &str, meanwhile: impl FnOnce(&ApiServer)) -> (e2e::Node, Pod, e2e::Outcome) {
    let (node, api) = (node(name), ApiServer::shared());
    let hold = Hold::new(&node);
    api.nad(name, "slow", node.recording("slow", hold.record()));
    let pod = node.pod(name, "web").networks("slow").create_in(api);
    let running = node.call("ADD").pod(&pod).spawn();
    node.wait_for_call("ADD net1 slow");
    meanwhile(api);
    hold.release();
    let outcome = running.wait();
    (node, pod, outcome)
}

#[test]
fn a_pod_that_is_made_again_during_its_add_does_not_get_the_status_of_the_old_one() {
    let (node, _, outcome) = with_a_pause("again", |api| {
        api.delete_pod("again", "web");
        api.create_pod("again", "web", &Default::default(), "elsewhere");
    });
    let api = ApiServer::shared();
    let (code, text) = failure(&outcome);
    assert_eq!(code, 11);
    assert_says(&text, &["again/web", "network-status", "UID"]);
    assert_eq!(api.network_status("again", "web"), Value::Null);
    node.assert_clean();
}

#[test]
fn a_pod_that_is_deleted_during_its_add_is_undone() {
    let (node, pod, outcome) = with_a_pause("deleted", |api| api.delete_pod("deleted", "web"));
    let (code, text) = failure(&outcome);
    assert_eq!(code, 11);
    assert_says(&text, &["there is no pod deleted/web"]);
    node.assert_clean();
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn an_annotation_that_changes_during_an_add_is_not_overwritten() {
    let (node, pod, outcome) = with_a_pause("edited", |api| {
        let change = json!({ "metadata": { "annotations": { "example.org/new": "kept" } } });
        api.patch_pod("edited", "web", &change);
    });
    outcome.ok();
    let api = ApiServer::shared();
    let object = api.get_pod("edited", "web").expect("it is there");
    assert_eq!(object["metadata"]["annotations"]["example.org/new"], "kept");
    assert!(api.network_status("edited", "web").is_array());
    assert_eq!(events(api, "edited").len(), 2);
    node.del(&pod).ok();
    node.assert_clean();
}
