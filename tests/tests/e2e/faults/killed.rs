//! `meta-cni` is killed by one of its delegates, before and after that one's work: the next DEL finds
//! everything on record and leaves nothing.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use e2e::{Node, Outcome};
use serde_json::json;

use crate::faults::scene::{link, pod};

/// The plugins of the pod, in the order in which they are run; `chain` is behind `red`.
const PLUGINS: [&str; 4] = ["default", "red", "chain", "green"];

/// A node on which `killer` kills `meta-cni` at `moment`, as long as the file `armed` is there.
fn node(killer: &str, moment: &str, parallel: usize) -> Node {
    let node = Node::new("killed");
    let armed = node.folder().join("armed");
    fs::write(&armed, "").expect("arm the killer");
    let conf = |plugin: &str, work: serde_json::Value| {
        let mut record = work;
        if plugin == killer {
            record["killParent"] = json!(moment);
            record["while"] = json!(armed);
        }
        node.recording(plugin, record)
    };
    let made = |plugin: &str| conf(plugin, json!({ "link": true }));
    let red = node.list(&[made("red"), conf("chain", json!({}))]);
    node.nad("default", "red", red);
    node.nad("default", "green", made("green"));
    let default = made("default");
    node.conf(json!({ "delegates": [default], "maxParallelDelegates": parallel }))
}

fn disarm(node: &Node) {
    fs::remove_file(node.folder().join("armed")).expect("disarm the killer");
}

#[track_caller]
fn assert_killed(outcome: &Outcome) {
    assert_eq!(outcome.status.signal(), Some(9), "{outcome}");
}

/// Every plugin, before and after its work, in order and side by side.
fn everywhere(verb: &str, test: impl Fn(Node)) {
    for killer in PLUGINS {
        for moment in ["before", "after"] {
            for parallel in [1, 4] {
                test(node(killer, &format!("{verb}:{moment}"), parallel));
            }
        }
    }
}

#[test]
fn an_add_that_was_killed_is_undone_by_del() {
    everywhere("ADD", |node| {
        let pod = pod(&node, "a", &["red", "green"]);
        assert_killed(&node.add(&pod));
        node.del(&pod).ok();
        node.assert_clean();
    });
}

#[test]
fn an_add_that_was_killed_is_undone_by_the_next_add() {
    for killer in PLUGINS {
        let node = node(killer, "ADD:after", 4);
        let pod = pod(&node, "a", &["red", "green"]);
        assert_killed(&node.add(&pod));
        disarm(&node);
        node.add(&pod).ok();
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn an_add_that_was_killed_is_undone_by_gc() {
    for killer in PLUGINS {
        let node = node(killer, "ADD:after", 4);
        let pod = pod(&node, "a", &["red", "green"]);
        assert_killed(&node.add(&pod));
        node.gc([]).ok();
        node.assert_clean();
    }
}

#[test]
fn a_del_that_was_killed_is_completed_by_the_next() {
    everywhere("DEL", |node| {
        let pod = pod(&node, "a", &["red", "green"]);
        node.add(&pod).ok();
        assert_killed(&node.del(&pod));
        disarm(&node);
        node.del(&pod).ok();
        node.assert_clean();
    });
}

#[test]
fn what_killed_processes_were_writing_is_removed_by_del_and_gc_once_it_is_old() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for verb in ["DEL", "GC"] {
        let node = Node::recorder("abandoned");
        let pod = pod(&node, "a", &[]);
        node.add(&pod).ok();
        let files = |age| {
            [
                "attachments/.0123.json.tmp",
                "leasing/0123.77.new",
                "leasing/0123.json",
                "ipam-servers/0123.77.new",
                "releases/c1.0123.json.77.new",
            ]
            .map(|name| node.write_aged(&name.replace("0123", &format!("{age:?}")), age))
        };
        // A call has a day at most.
        let (old, young) = (files(DAY + DAY), files(DAY));
        let outcome = match verb {
            "DEL" => node.del(&pod),
            _ => node.gc([]),
        };
        outcome.ok();
        let exist = |files: &[PathBuf]| files.iter().map(|file| file.exists()).collect::<Vec<_>>();
        assert_eq!(exist(&old), [false; 5], "{verb}");
        assert_eq!(exist(&young), [true; 5], "{verb}");
    }
}

#[test]
fn a_pod_whose_add_was_killed_is_deleted_without_its_sandbox_and_networks() {
    let node = node("green", "ADD:after", 1);
    let bridge = link(&node, "blue", json!({}));
    node.nad("default", "blue", bridge);
    let pod = pod(&node, "a", &["blue", "red", "green"]);
    assert_killed(&node.add(&pod));
    for network in ["blue", "red", "green"] {
        node.remove_nad("default", network);
    }
    node.remove_pod(&pod);
    pod.netns().remove();
    node.call("DEL")
        .pod(&pod)
        .without_env("CNI_NETNS")
        .run()
        .ok();
    node.assert_clean();
}
