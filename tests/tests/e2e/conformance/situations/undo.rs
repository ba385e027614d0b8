//! Section 6, "Situations": an ADD that fails is undone.

use super::*;

#[test]
fn a_failed_delegate_and_all_before_it_are_deleted_in_reverse_and_none_after_it_runs() {
    let node = in_order("reverse");
    nad(&node, "a", json!({}));
    nad(&node, "b", failing("ADD", 42));
    nad(&node, "c", json!({}));
    let pod = node.pod("default", "web").networks("a,b,c").create();
    node.add(&pod).fails(42, &["default/b (net2)", "no ADD"]);
    let expected = [
        "ADD eth0 default",
        "ADD net1 a",
        "ADD net2 b",
        "DEL net2 b",
        "DEL net1 a",
        "DEL eth0 default",
    ];
    assert_eq!(node.summaries(), expected);
    assert!(!node.record_file(&pod).exists() && !node.status_file(&pod).exists());
    node.assert_clean();
}

#[test]
fn a_plugin_that_fails_within_a_list_has_the_whole_list_deleted() {
    let node = in_order("within");
    let (works, fails) = (
        node.recording("a", json!({})),
        node.recording("a", failing("ADD", 42)),
    );
    node.nad("default", "a", node.list(&[works.clone(), fails, works]));
    let pod = node.pod("default", "web").networks("a").create();
    node.add(&pod).error();
    assert_eq!(node.summaries()[3..6], ["DEL net1 a"; 3]);
}

#[test]
fn whatever_was_begun_side_by_side_is_undone_too() {
    let node = Node::recorder("side");
    for name in ["a", "b", "c"] {
        nad(&node, name, json!({ "link": true }));
    }
    nad(&node, "d", failing("ADD", 42));
    let pod = node.pod("default", "web").networks("a,b,c,d").create();
    node.add(&pod).fails(42, &["default/d"]);
    let (mut added, mut deleted) = (Vec::new(), Vec::new());
    for call in node.calls() {
        let list = if call.verb == "ADD" {
            &mut added
        } else {
            &mut deleted
        };
        list.push(call.ifname);
    }
    added.sort();
    deleted.sort();
    assert_eq!(added, deleted);
    node.assert_clean();
}

#[test]
fn a_failed_add_of_real_networks_leaves_no_interface_and_no_address() {
    let node = Node::new("real");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    nad(&node, "bad", failing("ADD", 42));
    let pod = node.pod("default", "web").networks("blue,bad").create();
    node.add(&pod).fails(42, &["default/bad"]);
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

/// A pod whose ADD failed, and one of whose DELs fails as long as `broken` of the folder is there.
fn half_undone(name: &str) -> (Node, Pod) {
    let node = in_order(name);
    let broken = node.folder().join("broken");
    fs::write(&broken, "").unwrap();
    let mut record = failing("DEL", 7);
    record["while"] = json!(broken);
    record["link"] = json!(true);
    nad(&node, "a", record);
    nad(&node, "b", failing("ADD", 42));
    let pod = node.pod("default", "web").networks("a,b").create();
    node.add(&pod).fails(42, &["default/b"]);
    assert!(node.record_file(&pod).exists());
    fs::remove_file(&broken).unwrap();
    (node, pod)
}

#[test]
fn what_could_not_be_undone_stays_recorded_and_the_next_del_cleans_it() {
    let (node, pod) = half_undone("del");
    node.del(&pod).ok();
    assert_eq!(node.summaries().last().unwrap(), "DEL net1 a");
    node.assert_clean();
}

#[test]
fn what_could_not_be_undone_stays_recorded_and_the_next_gc_cleans_it() {
    let (node, _pod) = half_undone("gc");
    node.gc([]).ok();
    node.assert_clean();
}

#[test]
fn what_could_not_be_undone_stays_recorded_and_the_next_add_cleans_it_first() {
    let (node, pod) = half_undone("add");
    nad(&node, "b", json!({}));
    node.add(&pod).ok();
    assert_eq!(
        node.summaries()[7..],
        ["DEL net1 a", "ADD eth0 default", "ADD net1 a", "ADD net2 b"]
    );
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_status_that_cannot_be_written_undoes_everything_unless_a_warning_is_enough() {
    let node = in_order("status");
    fs::write(node.networks_dir().join(".status"), "no folder").unwrap();
    let pod = node.pod("default", "web").create();
    node.add(&pod).fails(11, &["network-status"]);
    assert_eq!(node.summaries(), ["ADD eth0 default", "DEL eth0 default"]);
    node.assert_clean();
    let warn = node.conf(json!({ "onStatusFailure": "warn" }));
    warn.add(&pod).ok();
}
