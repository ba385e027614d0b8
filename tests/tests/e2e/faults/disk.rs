//! `stateDir` on a file system that is full, has no room for files, takes nothing any more, or loses its power.

use e2e::{Disk, Node, Pod, XfsImage, lacking};
use serde_json::json;

use crate::faults::scene::{link, pod, script, scripted};

const IO: u64 = 5;

fn node() -> Node {
    let node = Node::new("disk");
    node.nad("default", "red", link(&node, "red", json!({})));
    node
}

/// An ADD that is refused before any delegate, saying what to do; DEL of the pod is a success.
fn assert_refused(node: &Node, pod: &Pod) {
    let (code, message, _) = node.add(pod).error();
    assert_eq!(code, IO, "{message}");
    for word in ["ADD of pod default/", "stateDir"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(pod.netns().links(), ["lo"]);
    let recorded = node.calls();
    let called = recorded
        .iter()
        .any(|call| call.container_id == pod.container_id);
    assert!(!called, "a delegate was run");
}

#[test]
fn a_full_one_refuses_adds_and_serves_dels() {
    let node = node();
    let disk = Disk::mount(&node, "size=128k");
    let (old, new) = (pod(&node, "old", &["red"]), pod(&node, "new", &["red"]));
    node.add(&old).ok();
    disk.fill();
    assert_refused(&node, &new);
    node.del(&new).ok();
    node.check(&old).ok();
    node.del(&old).ok();
    std::fs::remove_file(node.state_dir().join("filler")).expect("remove the filler");
    node.assert_clean();
}

#[test]
fn one_without_room_for_files_refuses_adds_and_serves_dels() {
    let node = node();
    let disk = Disk::mount(&node, "size=128k,nr_inodes=16");
    let (old, new) = (pod(&node, "old", &["red"]), pod(&node, "new", &["red"]));
    node.add(&old).ok();
    disk.fill_with_files();
    assert_refused(&node, &new);
    node.del(&new).ok();
    node.check(&old).ok();
    node.del(&old).ok();
    assert_eq!(old.netns().links(), ["lo"]);
    drop(disk);
    node.assert_clean();
}

#[test]
fn one_that_fills_up_during_an_add_undoes_it() {
    let node = node();
    let _disk = Disk::mount(&node, "size=128k");
    let filler = node.state_dir().join("filler");
    let fill = format!(
        "cat /dev/zero > {} 2>/dev/null; echo '{{\"cniVersion\":\"1.1.0\"}}'",
        filler.display()
    );
    script(&node, "filling", &fill);
    node.nad("default", "filling", scripted("filling"));
    let pod = pod(&node, "a", &["red", "filling"]);
    let (code, message, _) = node.add(&pod).error();
    assert_eq!(code, IO, "{message}");
    assert!(message.contains("stateDir"), "{message}");
    std::fs::remove_file(filler).expect("remove the filler");
    node.assert_clean();
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_read_only_one_refuses_adds_and_dels_run_without_it() {
    let node = node();
    let disk = Disk::mount(&node, "size=128k");
    let (old, new) = (pod(&node, "old", &["red"]), pod(&node, "new", &["red"]));
    node.add(&old).ok();
    disk.set_read_only(true);
    assert_refused(&node, &new);
    node.del(&new).ok();
    let (code, message, _) = node.del(&old).error();
    assert_eq!(code, IO, "{message}");
    let record = format!("{}.json", old.container_id);
    for word in ["DEL of pod default/old", "removing", &record, "stateDir"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(old.netns().links(), ["lo"]);
    assert!(node.leased("br-default").is_empty());
    disk.set_read_only(false);
    node.del(&old).ok();
    node.assert_clean();
}

#[test]
fn after_a_power_cut_on_xfs_a_pod_is_checked_and_deleted() {
    if !lacking::require("xfs") {
        return;
    }
    let node = node();
    let disk = XfsImage::mount(node.folder().join("state.xfs"), node.state_dir());
    let pod = pod(&node, "old", &["red"]);
    node.add(&pod).ok();
    disk.cut_power();
    node.check(&pod).ok();
    node.del(&pod).ok();
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}
