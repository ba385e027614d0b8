//! Delegates whose `meta-cni` was killed: DEL waits for their end, and ends those that do not.

use std::fs;
use std::time::Duration;

use e2e::{Node, RecordedCall, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::faults::scene::{link, pod, script, scripted};

const TRY_AGAIN_LATER: u64 = 11;

fn calls_of(node: &Node, network: &str) -> Vec<RecordedCall> {
    let mut calls = node.calls();
    calls.retain(|call| call.network == network);
    calls
}

#[test]
fn del_waits_for_a_slow_delegate_that_was_left_behind() {
    let node = Node::new("slow");
    let slow = link(&node, "red", json!({ "delayMs": 1000, "on": ["ADD"] }));
    node.nad("default", "red", slow);
    let pod = pod(&node, "a", &["red"]);
    let add = node.call("ADD").pod(&pod).spawn();
    node.wait_for_call("ADD net1 red");
    add.signal(Signal::SIGKILL);
    let del = node.del(&pod);
    del.ok();
    node.assert_clean();
    let calls = calls_of(&node, "red");
    let summaries: Vec<_> = calls.iter().map(RecordedCall::summary).collect();
    assert_eq!(summaries, ["ADD net1 red", "DEL net1 red"]);
    let end = calls[0].end.expect("the delegate came to its end");
    assert!(end <= calls[1].start, "DEL began before ADD ended");
}

#[test]
fn del_kills_a_delegate_that_was_left_behind_and_hangs() {
    let node = Node::new("hangs");
    let hanging = link(&node, "red", json!({ "hang": true, "on": ["ADD"] }));
    node.nad("default", "red", hanging);
    let pod = pod(&node, "a", &["red"]);
    let add = node.call("ADD").pod(&pod).spawn();
    let call = node.wait_for_call("ADD net1 red");
    add.signal(Signal::SIGKILL);
    let del = node.del(&pod);
    del.ok();
    node.assert_clean();
    assert!(del.stderr.contains(&call.pid.to_string()), "{del}");
    assert_eq!(calls_of(&node, "red")[0].end, None);
}

#[test]
fn del_kills_the_children_of_such_a_delegate_too() {
    let node = Node::new("family");
    script(&node, "family", "sleep 600 & sleep 600; true");
    node.nad("default", "family", scripted("family"));
    let pod = pod(&node, "a", &["family"]);
    let add = node.call("ADD").pod(&pod).spawn();
    wait_until("two sleeping children", Duration::from_secs(10), || {
        let processes = node.host().processes();
        (processes.iter().filter(|pid| sleeps(**pid)).count() == 2).then_some(())
    });
    add.signal(Signal::SIGKILL);
    node.del(&pod).ok();
    node.assert_clean();
}

fn sleeps(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
}

/// A sandbox that is being worked on is no garbage yet.
#[test]
fn gc_leaves_a_sandbox_alone_that_is_being_worked_on() {
    let node = Node::new("busy-gc");
    let hanging = link(&node, "red", json!({ "hang": true, "on": ["ADD"] }));
    node.nad("default", "red", hanging);
    let pod = pod(&node, "a", &["red"]);
    let add = node.call("ADD").pod(&pod).spawn();
    let call = node.wait_for_call("ADD net1 red");
    let (code, message, _) = node.gc([]).error();
    assert_eq!(code, TRY_AGAIN_LATER, "{message}");
    let holder = format!("({})", call.pid);
    assert!(message.contains(&holder), "{message}");
    assert_eq!(calls_of(&node, "red").len(), 1, "GC ran a delegate");

    add.signal(Signal::SIGKILL);
    let delegate = i32::try_from(call.pid).expect("a process ID");
    kill(Pid::from_raw(delegate), Signal::SIGKILL).expect("the delegate is still there");
    node.gc([]).ok();
    node.assert_clean();
}

/// Nobody works on a sandbox whose `meta-cni` is dead: what hangs there is ended and removed.
#[test]
fn gc_ends_a_delegate_that_a_dead_meta_cni_left_behind() {
    let node = Node::new("orphan-gc");
    let hanging = link(&node, "red", json!({ "hang": true, "on": ["ADD"] }));
    node.nad("default", "red", hanging);
    let pod = pod(&node, "a", &["red"]);
    let add = node.call("ADD").pod(&pod).spawn();
    node.wait_for_call("ADD net1 red");
    add.signal(Signal::SIGKILL);
    node.gc([]).ok();
    node.assert_clean();
}
