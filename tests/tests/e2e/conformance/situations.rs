//! Section 6, "Situations": what goes wrong around an ADD or a DEL.

mod deletion;
mod limits;
mod undo;

use std::fs;

use e2e::{Call, Node, Pod};
use serde_json::{Value, json};

/// A node of recording networks that run strictly in order.
fn in_order(name: &str) -> Node {
    Node::recorder(name).conf(json!({ "maxParallelDelegates": 1 }))
}

/// Writes network `default/<name>` of the recording plugin that behaves as `record` says.
fn nad(node: &Node, name: &str, record: Value) {
    node.nad("default", name, node.recording(name, record));
}

fn failing(verb: &str, code: u64) -> Value {
    json!({ "failOn": { verb: { "code": code, "msg": format!("no {verb}") } } })
}

/// ADD by a runtime that names another UID than the pod's.
fn add_with_uid<'n>(node: &'n Node, pod: &Pod, uid: &str) -> Call<'n> {
    let args = pod.cni_args().replace(&pod.uid, uid);
    node.call("ADD").pod(pod).env("CNI_ARGS", &args)
}

#[test]
fn a_refused_pod_gets_an_event_that_names_every_problem() {
    let node = in_order("event").conf(json!({ "logLevel": "info" }));
    nad(&node, "red", json!({}));
    let pod = node
        .pod("default", "web")
        .networks("gone,red@eth0")
        .create();
    let outcome = node.add(&pod);
    outcome.fails(7, &["default/gone", "default/red"]);
    let event = outcome
        .stderr
        .lines()
        .find(|line| line.contains("FailedAttach"));
    let event = event.unwrap_or_else(|| panic!("{outcome}"));
    for word in ["default/web", "Warning", "default/gone", "default/red"] {
        assert!(event.contains(word), "{event}");
    }
}

#[test]
fn each_attachment_gets_an_event_with_interface_addresses_and_nad() {
    let node = Node::new("events").conf(json!({ "logLevel": "info" }));
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = node.pod("default", "web").networks("blue").create();
    let outcome = node.add(&pod);
    for words in [
        ["eth0", "10.1.0.2/24, fd00:1::2/64", "br-default"],
        ["net1", "10.2.0.2/24, fd00:2::2/64", "default/blue"],
    ] {
        let is_it = |line: &&str| {
            line.contains("AddedInterface") && words.iter().all(|word| line.contains(word))
        };
        let event = outcome.stderr.lines().find(is_it);
        assert!(
            event.is_some_and(|line| line.contains(&pod.uid)),
            "{words:?} {outcome}"
        );
    }
}

#[test]
fn a_pod_that_is_not_found_at_add_is_code_11_and_nothing_runs() {
    let node = in_order("not-found");
    let pod = node.pod("default", "web").without_manifest().create();
    node.add(&pod).fails(11, &["default/web"]);
    assert!(node.calls().is_empty());
    node.assert_clean();
}

#[test]
fn a_pod_of_another_uid_is_code_11_and_nothing_runs() {
    let node = in_order("uid");
    let pod = node.pod("default", "web").create();
    add_with_uid(&node, &pod, "another-uid")
        .run()
        .fails(11, &["default/web", "another UID"]);
    assert!(node.calls().is_empty());
}

#[test]
fn a_static_pod_may_have_another_uid() {
    let node = in_order("static");
    let source = "kubernetes.io/config.source";
    let pod = node.pod("default", "web").mirror().create();
    add_with_uid(&node, &pod, "hash-of-the-manifest").run().ok();
    let pretended = node
        .pod("default", "other")
        .annotation(source, "file")
        .annotation("kubernetes.io/config.hash", "hash-of-another")
        .create();
    for uid in ["another-uid", "hash-of-another"] {
        add_with_uid(&node, &pretended, uid)
            .run()
            .fails(11, &["default/other"]);
    }
    let api = node
        .pod("default", "api")
        .annotation(source, "api")
        .create();
    add_with_uid(&node, &api, "another-uid")
        .run()
        .fails(11, &["default/api"]);
}

#[test]
fn the_record_is_on_disk_before_the_first_delegate_and_a_del_after_a_kill_cleans_all() {
    for moment in ["ADD:before", "ADD:after"] {
        let node = in_order("killed");
        nad(&node, "a", json!({ "link": true }));
        nad(&node, "b", json!({ "link": true, "killParent": moment }));
        nad(&node, "c", json!({ "link": true }));
        let pod = node.pod("default", "web").networks("a,b,c").create();
        assert_eq!(node.add(&pod).status.code(), None, "it was killed");
        let record = fs::read_to_string(node.record_file(&pod)).unwrap();
        assert!(
            record.contains("default/c"),
            "all that was planned is recorded"
        );
        node.check(&pod).fails(100, &["not completed"]);
        fs::remove_dir_all(node.networks_dir()).unwrap();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn a_record_that_cannot_be_read_is_set_aside_and_what_it_held_is_found_out_again() {
    let node = Node::new("aside");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24"]),
    );
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    fs::write(node.record_file(&pod), "\0\0\0").unwrap();
    node.del(&pod).ok();
    assert_eq!(pod.netns().links(), ["lo"]);
    let left = node.leftovers();
    assert!(
        left.len() == 1 && left[0].ends_with(".unreadable-1"),
        "{left:?}"
    );
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_if_nothing_can_be_found_out() {
    let node = in_order("lost");
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    fs::write(node.record_file(&pod), "{").unwrap();
    node.remove_pod(&pod);
    node.del(&pod).fails(6, &["unreadable-1", "by hand"]);
    node.del(&pod).ok();
    assert_eq!(node.summaries(), ["ADD eth0 default"]);
}
