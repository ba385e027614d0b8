//! Sandboxes that a plugin refuses to delete: they are tried again by whoever comes next, and those that never can be deleted
//! have an end.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use e2e::{Node, Pod, wait_until};
use serde_json::{Value, json};

use crate::faults::scene::pod;

/// How long what runs behind an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn mark(node: &Node, pod: &Pod) -> PathBuf {
    node.state_dir().join("orphans").join(&pod.container_id)
}

/// Lets the first failure be an hour ago, and the next try be due.
fn age(node: &Node, pod: &Pod) -> Value {
    let path = mark(node, pod);
    let text = fs::read_to_string(&path).expect("a sandbox that could not be deleted is marked");
    let mut mark: Value = serde_json::from_str(&text).expect("a mark is JSON");
    let before = mark.clone();
    mark["since"] = json!("2026-01-01T00:00:00Z");
    mark["nextTry"] = json!("2026-01-01T00:01:00Z");
    fs::write(path, mark.to_string()).unwrap();
    before
}

/// Waits until nothing of the pod is recorded or marked.
fn wait_for_the_end(node: &Node, pod: &Pod) {
    wait_until("the end of the record", PATIENCE, || {
        let left = node.record_file(pod).exists() || mark(node, pod).exists();
        (!left).then_some(())
    });
}

fn refusing(verbs: &[&str]) -> Value {
    let failures = verbs.iter().map(|verb| {
        let failure = json!({ "code": 7, "msg": format!("invalid CIDR at {verb}") });
        ((*verb).to_owned(), failure)
    });
    json!({ "failOn": Value::Object(failures.collect()), "link": true })
}

#[test]
fn a_plugin_that_refuses_its_whole_configuration_leaves_no_record() {
    let node = Node::recorder("refused");
    node.nad(
        "default",
        "bad",
        node.recording("bad", refusing(&["ADD", "DEL"])),
    );
    let pod = pod(&node, "a", &["bad"]);
    let add = node.add(&pod);
    add.fails(7, &["default/bad", "invalid CIDR at ADD"]);
    for word in [
        "given up",
        "default/bad",
        "net1",
        "recording-plugin",
        "invalid CIDR at DEL",
    ] {
        assert!(add.stderr.contains(word), "{word}: {add}");
    }
    assert!(!node.record_file(&pod).exists());
    node.del(&pod).ok();
    node.assert_clean();
}

/// The one that refuses is not the first, so that something may have been made: a moment's trouble is waited out.
#[test]
fn an_add_that_never_succeeded_is_cleaned_by_us_once_its_del_was_refused_for_a_minute() {
    let node = Node::recorder("never-added");
    let first = node.recording("list", refusing(&["DEL"]));
    let second = node.recording("list", refusing(&["ADD", "DEL"]));
    node.nad("default", "list", node.list(&[first, second]));
    let pod = pod(&node, "a", &["list"]);
    node.add(&pod).fails(7, &["invalid CIDR at ADD"]);
    node.del(&pod).fails(7, &["invalid CIDR at DEL"]);
    assert!(node.record_file(&pod).exists());
    assert!(pod.netns().links().contains(&"net1".to_owned()));
    let tried = age(&node, &pod);
    assert_eq!(tried["tries"], 2, "{tried}");
    node.status().ok();
    wait_for_the_end(&node, &pod);
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

#[test]
fn an_add_that_never_succeeded_ends_with_its_namespace() {
    let node = Node::recorder("ended");
    let second = node.recording("list", refusing(&["ADD", "DEL"]));
    let first = node.recording("list", json!({ "link": true }));
    node.nad("default", "list", node.list(&[first, second]));
    let pod = pod(&node, "a", &["list"]);
    node.add(&pod).fails(7, &["invalid CIDR at ADD"]);
    assert!(node.record_file(&pod).exists());
    pod.netns().remove();
    let del = node.del(&pod);
    del.ok();
    assert!(del.stderr.contains("given up"), "{del}");
    node.assert_clean();
}

/// As for a runtime that takes the failure for success, or ignores it.
#[test]
fn a_del_that_failed_is_tried_again_by_the_next_meta_cni_of_the_node() {
    let node = Node::recorder("again");
    let broken = node.folder().join("broken");
    fs::write(&broken, "").unwrap();
    let mut record = refusing(&["DEL"]);
    record["while"] = json!(broken);
    node.nad("default", "red", node.recording("red", record));
    let pod = pod(&node, "a", &["red"]);
    node.add(&pod).ok();
    node.del(&pod).fails(7, &["invalid CIDR at DEL"]);
    let tried = age(&node, &pod);
    let failure = tried["failure"].as_str().expect("a text");
    assert!(
        failure.contains("default/red") && failure.contains("invalid CIDR at DEL"),
        "{failure}"
    );
    // One that works is not given up, however long it fails.
    node.status().ok();
    wait_until("another failure", PATIENCE, || {
        let text = fs::read_to_string(mark(&node, &pod)).ok()?;
        let mark: Value = serde_json::from_str(&text).ok()?;
        (mark["tries"] == 2).then_some(())
    });
    assert!(node.record_file(&pod).exists());
    fs::remove_file(&broken).unwrap();
    let next = age(&node, &pod);
    assert_eq!(next["pauseSeconds"], 120, "{next}");
    node.status().ok();
    wait_for_the_end(&node, &pod);
    node.assert_clean();
}

#[test]
fn a_mark_goes_with_its_record() {
    let node = Node::recorder("unmarked");
    let broken = node.folder().join("broken");
    fs::write(&broken, "").unwrap();
    let mut record = refusing(&["DEL"]);
    record["while"] = json!(broken);
    node.nad("default", "red", node.recording("red", record));
    let pod = pod(&node, "a", &["red"]);
    node.add(&pod).ok();
    node.del(&pod).error();
    assert!(mark(&node, &pod).exists());
    fs::remove_file(&broken).unwrap();
    node.del(&pod).ok();
    assert!(!mark(&node, &pod).exists());
    node.assert_clean();
}
