//! What keeps a plan from being made is found before anything runs, reported whole, and shown as an Event.

use e2e::{ApiServer, Node, Pod};
use serde_json::json;

use crate::kubernetes::fixture::{assert_says, events, failure, node};

/// A node whose default network writes its calls down: none may be there.
fn recording_node(name: &str) -> Node {
    let node = node(name);
    let default = node.recording("default", json!({ "link": true }));
    node.conf(json!({ "delegates": [default] }))
}

/// Runs an ADD that must fail before any delegate runs; the whole text, which is also an Event.
#[track_caller]
fn refused(node: &Node, pod: &Pod, code: u64) -> String {
    let (found, text) = failure(&node.add(pod));
    assert_eq!(found, code, "{text}");
    assert!(node.calls().is_empty(), "{:?}", node.calls());
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
    let events = events(ApiServer::shared(), &pod.namespace);
    let [(kind, message)] = events.as_slice() else {
        panic!("not one Event: {events:?}");
    };
    assert_eq!(kind, "Warning FailedAttach");
    assert_says(&text, &[message]);
    text
}

#[test]
fn a_nad_that_is_missing_is_named() {
    let (node, api) = (recording_node("missing"), ApiServer::shared());
    let pod = node.pod("missing", "web").networks("blue").create_in(api);
    let text = refused(&node, &pod, 7);
    assert_says(
        &text,
        &[
            "missing/web",
            "missing/blue",
            "no such NetworkAttachmentDefinition",
        ],
    );
}

#[test]
fn a_nad_with_a_broken_configuration_is_named_with_the_place() {
    let (node, api) = (recording_node("broken"), ApiServer::shared());
    api.nad(
        "broken",
        "blue",
        json!("{\"cniVersion\": \"1.0.0\",\n \"type\": }"),
    );
    let pod = node.pod("broken", "web").networks("blue").create_in(api);
    let text = refused(&node, &pod, 7);
    assert_says(&text, &["broken/blue", "not valid", "line 2"]);
}

#[test]
fn a_network_of_another_namespace_is_refused_by_isolation_and_not_looked_up() {
    let node = recording_node("isolated").conf(json!({ "namespaceIsolation": true }));
    let api = ApiServer::shared();
    let pod = node
        .pod("isolated", "web")
        .networks("isolated-other/blue")
        .create_in(api);
    let text = refused(&node, &pod, 7);
    assert_says(
        &text,
        &["namespaceIsolation", "isolated-other/blue", "isolated"],
    );
    assert!(crate::kubernetes::fixture::requests(api, "isolated-other").is_empty());
}

#[test]
fn all_problems_are_reported_at_once() {
    let node = recording_node("all").conf(json!({ "namespaceIsolation": true }));
    let api = ApiServer::shared();
    api.nad("all", "broken", json!("{\"type\": 7}"));
    api.nad("all", "red", node.recording("red", json!({})));
    let pod = node
        .pod("all", "web")
        .networks("absent,broken,all-other/blue,red@same,red@same")
        .create_in(api);
    let text = refused(&node, &pod, 7);
    assert_says(
        &text,
        &[
            "all/absent",
            "all/broken",
            "all-other/blue",
            "interface same",
        ],
    );
}

#[test]
fn an_annotation_that_cannot_be_read_is_named() {
    let (node, api) = (recording_node("unreadable"), ApiServer::shared());
    let pod = node
        .pod("unreadable", "web")
        .networks(r#"[{"name": "blue", "mac": "no"}]"#)
        .create_in(api);
    let text = refused(&node, &pod, 7);
    assert_says(&text, &["k8s.v1.cni.cncf.io/networks", "mac"]);
}
