//! Delegates that hang, flood, break the protocol, die or are not there: ADD fails with a code and a
//! reason, and everything is undone by the time it does.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::{Node, Outcome, Pod, locate, wait_until};
use serde_json::{Value, json};

use crate::faults::scene::{link, pod, script, scripted};

/// The codes of the specification and of cni/error.rs.
const DECODING: u64 = 6;
const TRY_AGAIN: u64 = 11;
const DELEGATE: u64 = 100;

/// A pod on the default network, on `red`, which is all right, and on `bad`.
fn node(bad: impl FnOnce(&Node) -> Value) -> (Node, Pod) {
    let node = Node::new("delegate").conf(json!({ "delegateTimeoutSeconds": 1 }));
    node.nad("default", "red", link(&node, "red", json!({})));
    node.nad("default", "bad", bad(&node));
    let pod = pod(&node, "a", &["red", "bad"]);
    (node, pod)
}

/// Asserts that an ADD failed in this way and that nothing is left: not even for the DEL.
#[track_caller]
fn assert_undone(node: &Node, pod: &Pod, add: &Outcome, code: u64, words: &[&str]) {
    let (found, message, details) = add.error();
    assert_eq!(found, code, "{add}");
    for word in ["default/bad", "net2"].iter().chain(words) {
        let said = message.contains(word) || details.contains(word);
        assert!(said, "{word:?} is not said by {message}; {details}");
    }
    assert!(message.len() <= 300, "{message}");
    node.assert_clean();
    node.del(pod).ok();
    node.assert_clean();
}

/// One ADD with a recording plugin that behaves so.
fn misbehave(record: Value, code: u64, words: &[&str]) {
    let (node, pod) = node(|node| {
        let mut record = record;
        record["on"] = json!(["ADD"]);
        link(node, "bad", record)
    });
    let add = node.add(&pod);
    assert_undone(&node, &pod, &add, code, words);
}

#[test]
fn one_that_hangs_is_killed() {
    let words = ["stopped after 1", "delegateTimeoutSeconds"];
    misbehave(json!({ "hang": true }), TRY_AGAIN, &words);
}

#[test]
fn one_that_hangs_is_killed_with_its_children() {
    let (node, pod) = node(|node| {
        script(node, "family", "sleep 600 & sleep 600; true");
        scripted("family")
    });
    let add = node.add(&pod);
    wait_until("the end of the children", Duration::from_secs(10), || {
        node.host().processes().is_empty().then_some(())
    });
    assert_undone(&node, &pod, &add, TRY_AGAIN, &["family", "stopped after 1"]);
}

#[test]
fn a_default_network_that_hangs_is_killed() {
    let node = Node::new("delegate");
    let hanging = link(&node, "bad", json!({ "hang": true, "on": ["ADD"] }));
    let node = node.conf(json!({ "delegateTimeoutSeconds": 1, "delegates": [hanging] }));
    node.nad("default", "red", link(&node, "red", json!({})));
    let pod = pod(&node, "a", &["red"]);
    assert_eq!(node.add(&pod).error().0, TRY_AGAIN);
    assert!(node.calls().iter().all(|call| call.network == "bad"));
    node.assert_clean();
}

#[test]
fn one_that_prints_no_result_is_refused() {
    for text in ["{", "hello", "[]", "null", "7", "\u{0}", "{\"ips\":7}"] {
        misbehave(json!({ "print": text }), DECODING, &["not a CNI result"]);
    }
}

#[test]
fn one_that_succeeds_without_a_word_is_refused() {
    misbehave(json!({ "exit": 0 }), DECODING, &["not a CNI result"]);
}

#[test]
fn a_plugin_that_fails_without_a_word_is_reported_with_its_status() {
    misbehave(json!({ "exit": 1 }), DELEGATE, &["exited with status 1"]);
    misbehave(json!({ "exit": 77 }), DELEGATE, &["exited with status 77"]);
}

#[test]
fn a_plugin_that_dies_is_reported_with_the_signal() {
    for (signal, number) in [("KILL", 9), ("SEGV", 11)] {
        let (node, pod) = node(|node| {
            script(node, "dying", &format!("kill -{signal} $$"));
            scripted("dying")
        });
        let words = format!("killed by signal {number}");
        let add = node.add(&pod);
        assert_undone(&node, &pod, &add, DELEGATE, &[&words]);
    }
}

/// Output beyond the limit is an error and not memory: 64 MiB come, and no 64 MiB may be had.
#[test]
fn one_that_floods_is_cut_off() {
    const FLOOD: u64 = 64 << 20;
    for (key, stream) in [("printBytes", "stdout"), ("stderrBytes", "stderr")] {
        let (node, pod) = node(|node| link(node, "bad", json!({ key: FLOOD, "on": ["ADD"] })));
        // Programs in Go do not even start with so little.
        let default = link(&node, "default", json!({}));
        let node = node.conf(json!({ "delegates": [default] }));
        let limit = format!("--data={FLOOD}");
        let call = node.call("ADD").pod(&pod).under(["prlimit", &limit]);
        let add = call.conf(json!({ "delegateTimeoutSeconds": 60 })).run();
        let words = format!("bytes on {stream}");
        assert_undone(&node, &pod, &add, DELEGATE, &["more than", &words]);
    }
}

#[test]
fn one_that_is_not_there_is_named_with_the_folders() {
    let (node, pod) = node(|_| scripted("missing"));
    let add = node.add(&pod);
    let folder = node.bin_dir().display().to_string();
    let (code, message, _) = add.error();
    assert_eq!(code, DELEGATE, "{add}");
    for word in ["default/bad", "\"missing\"", "install", &folder] {
        assert!(message.contains(word), "{word:?} is not said: {add}");
    }
    node.assert_clean();
    assert!(node.calls().is_empty(), "found out before anything ran");
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn one_that_is_no_program_is_named() {
    let (node, pod) = node(|node| {
        let path = node.bin_dir().join("rubbish");
        fs::write(&path, [0x7f, b'E', b'L', b'F', 0, 0]).expect("write a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("let it run");
        scripted("rubbish")
    });
    let (_, message, _) = node.add(&pod).error();
    assert!(message.contains("rubbish"), "{message}");
    fs::remove_file(node.bin_dir().join("rubbish")).expect("remove it");
    script(&node, "rubbish", "false");
    node.del(&pod).ok();
    node.assert_clean();
}

/// A plugin whose file is open for writing cannot be started (execve(2), ETXTBSY).
fn busy() -> (Node, Pod, File) {
    let (node, pod) = node(|node| {
        let mut conf = link(node, "bad", json!({}));
        conf["type"] = json!("busy-plugin");
        conf
    });
    let path = node.bin_dir().join("busy-plugin");
    fs::copy(locate::test_program("recording-plugin"), &path).expect("copy the plugin");
    let writer = File::options().append(true).open(&path);
    (node, pod, writer.expect("open the plugin"))
}

#[test]
fn one_that_is_being_replaced_is_waited_for() {
    let (node, pod, writer) = busy();
    let log = node.folder().join("strace");
    let path = log.display().to_string();
    let strace = ["strace", "-f", "-e", "trace=execve", "-o", &path];
    let add = node.call("ADD").pod(&pod).under(strace).spawn();
    wait_until("a refused start", Duration::from_secs(20), || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("ETXTBSY").then_some(())
    });
    drop(writer);
    add.wait().ok();
    assert_eq!(pod.netns().links().len(), 4);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn one_that_goes_on_being_replaced_is_given_up() {
    let (node, pod, writer) = busy();
    let (_, message, _) = node.add(&pod).error();
    for word in ["default/bad", "busy-plugin", "Text file busy"] {
        assert!(message.contains(word), "{message}");
    }
    drop(writer);
    node.del(&pod).ok();
    node.assert_clean();
}
