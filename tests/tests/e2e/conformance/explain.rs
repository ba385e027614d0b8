//! `meta-cni explain`: what a person learns of a pod that is attached, one that failed, and one that is gone.

use std::fs;
use std::process::{Command, Output};

use e2e::{Node, Pod, locate};
use serde_json::{Value, json};

/// A node with a network `red` of the recording plugin, which is given a password, and a pod of it.
fn node(name: &str, record: Value) -> (Node, Pod) {
    let node = Node::recorder(name);
    let mut conf = node.recording("red", record);
    conf["password"] = json!("geheim-7");
    node.nad("default", "red", conf);
    let pod = node.pod("default", "web").networks("red").create();
    (node, pod)
}

pub(crate) fn explain(node: &Node, words: &[&str]) -> Output {
    Command::new(locate::executable("meta-cni"))
        .env_clear()
        .arg("explain")
        .args(words)
        .arg("--state-dir")
        .arg(node.state_dir())
        .output()
        .expect("run meta-cni explain")
}

#[track_caller]
fn explained(node: &Node, words: &[&str]) -> String {
    let done = explain(node, words);
    assert!(done.status.success(), "{words:?}: {done:?}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[track_caller]
fn json(node: &Node, words: &[&str]) -> Value {
    let text = explained(node, &[words, &["-o", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
}

#[test]
fn an_attached_pod_is_explained_with_what_was_asked_planned_passed_and_answered() {
    let (node, pod) = node("explained", json!({}));
    node.add(&pod).ok();
    for what in [
        "web",
        "default/web",
        &pod.container_id,
        &pod.container_id[..8],
    ] {
        let text = explained(&node, &[what]);
        has(&text, &["default/web", "red", "net1", "attached"]);
    }
    let value = json(&node, &["web"]);
    assert_eq!(value["state"], "attached", "{value}");
    assert_eq!(value["asked"]["k8s.v1.cni.cncf.io/networks"], "red");
    assert_eq!(value["operations"][0]["command"], "ADD");
    let steps = value["operations"][0]["steps"].as_array().expect("steps");
    let delegates: Vec<_> = steps
        .iter()
        .filter(|step| step["name"] == "delegate")
        .collect();
    assert_eq!(delegates.len(), 2, "{value}");
    let red = delegates[1];
    assert_eq!(red["evidence"]["given"]["name"], "red", "{red}");
    assert_eq!(red["evidence"]["given"]["password"], "(left out)", "{red}");
    assert!(red["evidence"]["answered"]["ips"].is_array(), "{red}");
}

#[test]
fn a_failed_add_is_explained_with_its_plugin_its_message_and_a_remedy_although_nothing_of_it_is_left()
 {
    let fail = json!({ "failOn": { "ADD": { "code": 42, "msg": "no link for geheim-7" } } });
    let (node, pod) = node("explained", fail);
    node.add(&pod).fails(42, &["no link"]);
    node.assert_clean();
    let text = explained(&node, &["web"]);
    has(&text, &["failed", "red", "net1", "no link for (left out)"]);
    let value = json(&node, &["web"]);
    assert_eq!(value["state"], "failed", "{value}");
    assert!(value["remedy"].is_string(), "{value}");
    assert_eq!(value["record"], Value::Null, "{value}");
    assert_eq!(value["operations"][0]["code"], 42, "{value}");
}

#[test]
fn a_pod_that_is_gone_is_still_explained() {
    let (node, pod) = node("explained", json!({}));
    node.add(&pod).ok();
    node.del(&pod).ok();
    let value = json(&node, &["web"]);
    assert_eq!(value["state"], "deleted", "{value}");
    let commands = value["operations"].as_array().expect("operations");
    let commands: Vec<_> = commands.iter().map(|one| one["command"].clone()).collect();
    assert_eq!(commands, ["DEL", "ADD"]);
}

#[test]
fn of_gc_each_pod_shows_its_own_outcome() {
    let fail = json!({ "failOn": { "DEL": { "code": 42, "msg": "busy" } } });
    let (node, bad) = node("explained", fail);
    let fine = node.pod("default", "fine").create();
    node.add(&fine).ok();
    node.add(&bad).ok();
    node.gc([]).fails(42, &["busy"]);
    let text = explained(&node, &["fine"]);
    assert!(text.starts_with("default/fine: deleted "), "{text}");
    let text = explained(&node, &["web"]);
    let first = text.lines().next().unwrap_or_default();
    has(first, &["default/web: DEL failed", "red", "net1", "busy"]);
}

#[test]
fn an_add_that_could_not_be_undone_is_explained_with_its_own_cause_and_remedy() {
    let fail = json!({ "failOn": { "DEL": { "code": 42, "msg": "busy" } } });
    let (node, pod) = node("explained", fail);
    // A folder in its place.
    fs::create_dir_all(node.status_file(&pod)).expect("make a folder");
    node.add(&pod).fails(
        11,
        &["network-status", "not all attachments could be undone"],
    );
    let text = explained(&node, &["web"]);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    has(
        first,
        &["ADD failed, and could not be undone", "network-status"],
    );
    assert!(!first.contains("busy"), "{text}");
    has(
        lines.next().unwrap_or_default(),
        &["remedy: ", "writable, and the disk not full?"],
    );
}

#[test]
fn a_secret_is_neither_shown_nor_in_the_journal_and_only_root_may_read_that() {
    use std::os::unix::fs::PermissionsExt;

    let fail = json!({ "failOn": { "ADD": { "code": 42, "msg": "refused geheim-7" } } });
    let (node, pod) = node("explained", fail);
    node.add(&pod).fails(42, &["refused"]);
    for words in [&["web"][..], &["web", "-o", "json"]] {
        let done = explain(&node, words);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(!text.contains("geheim"), "{text}");
    }
    let path = node.state_dir().join("operations.jsonl");
    let journal = fs::read_to_string(&path).expect("read the journal");
    assert!(
        journal.contains("refused") && !journal.contains("geheim"),
        "{journal}"
    );
    let mode = fs::metadata(&path)
        .expect("look at the journal")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_nothing_is_known_of_and_what_is_ambiguous_have_exit_codes_of_their_own() {
    let (node, pod) = node("explained", json!({}));
    let unknown = explain(&node, &["web"]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    has(&said, &["web", "this node"]);
    assert!(unknown.stdout.is_empty(), "{unknown:?}");
    node.add(&pod).ok();
    let other = node.pod("other", "web").create();
    node.add(&other).ok();
    let ambiguous = explain(&node, &["web"]);
    assert_eq!(ambiguous.status.code(), Some(1), "{ambiguous:?}");
    let said = String::from_utf8_lossy(&ambiguous.stderr).into_owned();
    has(&said, &["default/web", "other/web"]);
    explained(&node, &["other/web"]);
    explained(&node, &["web", "--namespace", "other"]);
}

#[test]
fn a_journal_that_cannot_be_written_fails_no_pod() {
    let (node, pod) = node("explained", json!({}));
    // A folder in its place: nobody can append to it, not even root.
    fs::create_dir_all(node.state_dir().join("operations.jsonl")).expect("make a folder");
    node.add(&pod).ok();
    node.del(&pod).ok();
    node.assert_clean();
}
