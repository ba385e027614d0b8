//! DEL when the state folder was lost: what can still be read from the API server is planned again.

use std::fs;

use e2e::{ApiServer, Node, Pod};
use serde_json::json;

use crate::kubernetes::fixture::{node, requests};

/// A pod with two networks, and a node that has forgotten it.
fn forgotten(name: &str) -> (Node, Pod) {
    let (node, api) = (node(name), ApiServer::shared());
    api.nad(name, "blue", node.bridge("br-blue", &["10.61.0.0/24"]));
    let red = node.recording("red", json!({ "link": true }));
    api.nad(name, "red", red);
    let pod = node.pod(name, "web").networks("blue,red").create_in(api);
    node.add(&pod).ok();
    fs::remove_dir_all(node.state_dir()).expect("remove the state folder");
    fs::create_dir(node.state_dir()).expect("make a folder");
    (node, pod)
}

#[test]
fn del_with_an_empty_state_folder_deletes_what_pod_and_nads_say() {
    let (node, pod) = forgotten("lost");
    node.del(&pod).ok();
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

#[test]
fn del_with_an_empty_state_folder_and_the_pod_deleted_succeeds_without_waiting_for_it() {
    let (node, pod) = forgotten("gone");
    ApiServer::shared().delete_pod("gone", "web");
    let before = requests(ApiServer::shared(), "gone").len();
    node.del(&pod).ok();
    let after = requests(ApiServer::shared(), "gone").len();
    assert_eq!(after, before + 1);
    let calls: Vec<String> = node.calls().iter().map(|call| call.summary()).collect();
    assert_eq!(calls, ["ADD net2 red"]);
}

#[test]
fn del_with_an_empty_state_folder_and_a_nad_deleted_succeeds() {
    let (node, pod) = forgotten("no-nad");
    ApiServer::shared().delete_nad("no-nad", "blue");
    node.del(&pod).ok();
}

#[test]
fn del_with_an_empty_state_folder_does_not_touch_a_pod_that_was_made_again() {
    let (node, pod) = forgotten("reborn");
    let api = ApiServer::shared();
    api.delete_pod("reborn", "web");
    node.pod("reborn", "web")
        .networks("blue,red")
        .create_in(api);
    node.del(&pod).ok();
    let deleted = node.calls().iter().any(|call| call.verb == "DEL");
    assert!(!deleted, "{:?}", node.calls());
}

#[test]
fn del_uses_the_recorded_configuration_and_not_the_nad_as_it_is_now() {
    let (node, api) = (node("changed"), ApiServer::shared());
    let red = |marker: &str| {
        let mut red = node.recording("red", json!({ "link": true }));
        red["marker"] = json!(marker);
        red
    };
    api.nad("changed", "red", red("old"));
    let pod = node.pod("changed", "web").networks("red").create_in(api);
    node.add(&pod).ok();
    api.nad("changed", "red", red("new"));
    node.del(&pod).ok();
    let call = node.wait_for_call("DEL net1 red");
    assert_eq!(call.conf()["marker"], "old");
    node.assert_clean();
}
