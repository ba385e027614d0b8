//! Section 6, "Situations": what goes wrong around an ADD or a DEL. "Limits" are in
//! `situations/limits.rs`.

mod limits;

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

/// The sandbox has ended, and what the pod asks for now may be another's.
#[test]
fn nothing_is_planned_anew_without_a_namespace() {
    let node = in_order("anew");
    let pod = node.pod("default", "web").create();
    node.call("DEL").pod(&pod).env("CNI_NETNS", "").run().ok();
    assert!(node.calls().is_empty());
    node.assert_clean();
    node.del(&pod).ok();
    assert_eq!(node.summaries(), ["DEL eth0 default"]);
}

#[test]
fn a_nad_that_changed_or_is_gone_does_not_matter_for_del() {
    let node = Node::new("changed");
    for name in ["changed", "gone"] {
        let bridge = node.side_bridge(&format!("br-{name}"), &["10.2.0.0/24"]);
        node.nad("default", name, bridge);
    }
    let pod = node.pod("default", "web").networks("changed,gone").create();
    node.add(&pod).ok();
    node.nad("default", "changed", json!({ "type": "no-such-plugin" }));
    node.remove_nad("default", "gone");
    node.del(&pod).ok();
    node.assert_clean();
}

/// host-device takes a path that leads nowhere for a failure, and an empty one for the end of the pod.
#[test]
fn a_path_of_a_namespace_that_is_gone_is_not_given_to_delegates() {
    let node = Node::new("gone-path");
    let absent = json!({ "cniVersion": "1.0.0", "type": "host-device", "device": "absent0" });
    node.nad("default", "device", absent);
    let pod = node.pod("default", "web").networks("device").create();
    node.add(&pod).error();
    pod.netns().remove();
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn a_namespace_that_is_gone_at_del_does_not_matter() {
    let node = Node::new("netns");
    node.master("mst0");
    node.nad(
        "default",
        "macvlan",
        node.macvlan("mst0", &["10.3.0.0/24", "fd00:3::/64"]),
    );
    node.nad(
        "default",
        "blue",
        node.bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pods = ["a", "b"].map(|name| node.pod("default", name).networks("macvlan,blue").create());
    for pod in &pods {
        node.add(pod).ok();
        pod.netns().remove();
    }
    node.del(&pods[0]).ok();
    node.call("DEL")
        .pod(&pods[1])
        .without_env("CNI_NETNS")
        .run()
        .ok();
    node.assert_clean();
}

#[test]
fn del_with_an_empty_state_folder_finds_out_again_what_there_is() {
    let node = Node::new("empty");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    fs::remove_dir_all(node.state_dir()).unwrap();
    node.del(&pod).ok();
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

#[test]
fn del_with_an_empty_state_folder_succeeds_if_pod_or_network_cannot_be_read() {
    let node = in_order("unread");
    let networks = ["red", "blue"];
    node.recording_nads(&networks);
    let pods = networks.map(|name| node.pod("default", name).networks(name).create());
    for pod in &pods {
        node.add(pod).ok();
    }
    fs::remove_dir_all(node.state_dir()).unwrap();
    node.remove_pod(&pods[0]);
    node.remove_nad("default", "blue");
    for pod in &pods {
        node.del(pod).ok();
    }
    assert_eq!(node.calls().len(), 4, "nothing but the two ADDs ran");
    node.assert_clean();
}

#[test]
fn one_sandbox_is_worked_on_by_one_call_at_a_time() {
    let node = in_order("lock");
    nad(&node, "slow", json!({ "delayMs": 300, "on": ["ADD"] }));
    let pod = node.pod("default", "web").networks("slow").create();
    let adding = node.call("ADD").pod(&pod).spawn();
    node.wait_for_call("ADD net1 slow");
    node.del(&pod).ok();
    adding.wait().ok();
    assert_eq!(node.summaries()[2..], ["DEL net1 slow", "DEL eth0 default"]);
    let calls = node.calls();
    assert!(!calls[1].overlaps(&calls[2]));
    node.assert_clean();
}
