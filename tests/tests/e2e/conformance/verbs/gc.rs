//! Section 5, "Verbs": GC.

use std::fs;

use e2e::{Node, Pod};
use serde_json::{Value, json};

/// A node with recording networks `red` and `blue`, and pods `a` (both), `b` (`red`) that have them.
fn two_pods(name: &str) -> (Node, Pod, Pod) {
    let node = Node::recorder(name);
    node.recording_nads(&["red", "blue"]);
    let a = node.pod("default", "a").networks("red,blue").create();
    let b = node.pod("default", "b").networks("red").create();
    node.add(&a).ok();
    node.add(&b).ok();
    fs::remove_file(node.folder().join("calls.jsonl")).unwrap();
    (node, a, b)
}

/// Calls of one verb, sorted.
fn calls(node: &Node, verb: &str) -> Vec<String> {
    let calls = node.summaries().into_iter();
    let mut calls: Vec<String> = calls.filter(|call| call.starts_with(verb)).collect();
    calls.sort();
    calls
}

#[test]
fn without_the_list_of_valid_attachments_nothing_is_deleted() {
    let (node, a, b) = two_pods("absent");
    node.call("GC").run().ok();
    assert!(node.calls().is_empty());
    assert!(node.record_file(&a).exists() && node.record_file(&b).exists());
}

#[test]
fn a_container_that_is_not_listed_gets_a_full_del() {
    let (node, a, b) = two_pods("unlisted");
    node.gc([&a]).ok();
    assert_eq!(calls(&node, "DEL"), ["DEL eth0 default", "DEL net1 red"]);
    assert!(
        node.calls()
            .iter()
            .all(|c| c.verb != "DEL" || c.container_id == b.container_id)
    );
    assert!(node.record_file(&a).exists() && !node.record_file(&b).exists());
}

#[test]
fn an_empty_list_deletes_everything_and_addresses_of_plugins_without_gc_come_back() {
    let node = Node::new("everything");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    pod.netns().remove();
    node.gc([]).ok();
    assert_eq!(node.leased("br-blue"), [""; 0]);
    node.assert_clean();
}

#[test]
fn each_recorded_network_gets_its_own_valid_attachments_once() {
    let (node, a, b) = two_pods("own");
    node.gc([&a, &b]).ok();
    assert_eq!(calls(&node, ""), ["GC  blue", "GC  default", "GC  red"]);
    let of = |pod: &Pod, ifname: &str| json!({ "containerID": pod.container_id, "ifname": ifname });
    let mut red = vec![of(&a, "net1"), of(&b, "net1")];
    red.sort_by_key(Value::to_string);
    let valid = |network: &str| {
        let conf = node.last_call(&format!("GC  {network}")).conf();
        conf["cni.dev/valid-attachments"].clone()
    };
    assert_eq!(valid("red"), json!(red));
    assert_eq!(valid("blue"), json!([of(&a, "net2")]));
}

#[test]
fn a_network_whose_last_sandbox_is_gone_gets_an_empty_list() {
    let (node, a, b) = two_pods("last");
    node.del(&a).ok();
    node.gc([]).ok();
    let conf = node.last_call("GC  red").conf();
    assert_eq!(conf["cni.dev/valid-attachments"], json!([]));
    assert!(!node.record_file(&b).exists());
}

#[test]
fn networks_that_disable_gc_or_are_too_old_for_it_are_left_alone() {
    let node = Node::recorder("disabled");
    let (mut disabled, mut old) = (
        node.recording("off", json!({})),
        node.recording("old", json!({})),
    );
    disabled["disableGC"] = json!(true);
    old["cniVersion"] = json!("1.0.0");
    node.nad("default", "off", disabled);
    node.nad("default", "old", old);
    let pod = node.pod("default", "web").networks("off,old").create();
    node.add(&pod).ok();
    node.gc([&pod]).ok();
    assert_eq!(calls(&node, "GC"), ["GC  default"]);
    node.gc([]).ok();
    assert_eq!(
        calls(&node, "DEL"),
        ["DEL eth0 default", "DEL net1 off", "DEL net2 old"]
    );
}

#[test]
fn a_listed_sandbox_survives_though_its_record_is_broken_and_no_network_collects_then() {
    let (node, a, b) = two_pods("broken");
    fs::write(node.record_file(&a), "{").unwrap();
    node.gc([&a]).fails(5, &[&a.container_id]);
    assert_eq!(fs::read_to_string(node.record_file(&a)).unwrap(), "{");
    assert_eq!(calls(&node, ""), ["DEL eth0 default", "DEL net1 red"]);
    assert!(!node.record_file(&b).exists());
}

#[test]
fn networks_do_not_collect_when_a_listed_sandbox_is_unknown_to_us() {
    let (node, a, b) = two_pods("unknown");
    let stranger = node.pod("default", "stranger").create();
    node.gc([&a, &b, &stranger]).ok();
    assert!(node.calls().is_empty());
}

#[test]
fn gc_goes_on_after_errors_and_reports_all() {
    let node = Node::recorder("errors");
    for verb in ["DEL", "GC"] {
        let fail = json!({ verb: { "code": 42, "msg": format!("no {verb}") } });
        let name = verb.to_lowercase();
        node.nad(
            "default",
            &name,
            node.recording(&name, json!({ "failOn": fail })),
        );
    }
    let a = node.pod("default", "a").networks("del").create();
    let b = node.pod("default", "b").networks("gc").create();
    let c = node.pod("default", "c").create();
    for pod in [&a, &b, &c] {
        node.add(pod).ok();
    }
    fs::write(node.record_file(&c), "{").unwrap();
    let outcome = node.gc([]);
    let (_, message, details) = outcome.error();
    for word in ["no DEL", "no GC", &c.container_id] {
        assert!(format!("{message}{details}").contains(word), "{outcome}");
    }
    assert!(node.record_file(&a).exists() && !node.record_file(&b).exists());
}

#[test]
fn null_is_the_empty_list_as_libcni_writes_it() {
    let (node, a, b) = two_pods("null");
    let mut conf = node.configuration().clone();
    conf["cni.dev/valid-attachments"] = json!(null);
    conf["cni.dev/attachments"] = json!(null);
    node.call("GC").whole_conf(conf).run().ok();
    assert!(!node.record_file(&a).exists() && !node.record_file(&b).exists());
    let conf = node.last_call("GC  red").conf();
    assert_eq!(conf["cni.dev/valid-attachments"], json!([]));
}

#[test]
fn a_list_that_cannot_be_understood_deletes_nothing() {
    let (node, a, _) = two_pods("garbled");
    for list in [
        json!("x"),
        json!([1]),
        json!([{ "ifname": "eth0" }]),
        json!([{}]),
        json!([null]),
        json!(["k"]),
        json!([{ "containerID": a.container_id, "ifName": "eth0" }]),
        json!([{ "containerID": a.container_id, "ifname": 1 }]),
        json!([{ "containerID": "../x", "ifname": "e" }]),
    ] {
        let conf = json!({ "cni.dev/valid-attachments": list });
        node.call("GC")
            .conf(conf)
            .run()
            .fails(7, &["cni.dev/valid-attachments"]);
    }
    assert!(node.calls().is_empty() && node.record_file(&a).exists());
}

#[test]
fn what_a_killed_add_left_is_collected() {
    let node = Node::recorder("killed");
    let kill = json!({ "killParent": "ADD:after", "link": true });
    node.nad("default", "red", node.recording("red", kill));
    let pod = node.pod("default", "web").networks("red").create();
    assert!(!node.add(&pod).status.success());
    assert!(node.leftovers().len() > 1, "{:?}", node.leftovers());
    node.gc([]).ok();
    node.assert_clean();
}

#[test]
fn gc_of_one_configuration_keeps_the_sandboxes_of_another_that_shares_its_folder() {
    let (node, a, b) = two_pods("shared");
    let other = node.pod("default", "c").networks("red").create();
    let named = |verb: &str| node.call(verb).conf(json!({ "name": "other" }));
    named("ADD").pod(&other).run().ok();
    // A record of an earlier version is of any configuration.
    let old = node.pod("default", "d").create();
    named("ADD").pod(&old).run().ok();
    let file = node.record_file(&old);
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let name = record.as_object_mut().unwrap().remove("configuration");
    assert_eq!(name, Some(json!("other")));
    fs::write(&file, record.to_string()).unwrap();

    node.gc([&a]).ok();
    let is_recorded = |pod: &Pod| node.record_file(pod).exists();
    assert_eq!(
        [&a, &b, &other, &old].map(is_recorded),
        [true, false, true, false]
    );
    // The plugins of a network that both have hear of the attachments of both.
    let red = node.last_call("GC  red").conf();
    let valid = red["cni.dev/valid-attachments"].as_array().unwrap();
    let mut valid: Vec<&str> = valid
        .iter()
        .map(|id| id["containerID"].as_str().unwrap())
        .collect();
    valid.sort_unstable();
    let mut expected = [a.container_id.as_str(), other.container_id.as_str()];
    expected.sort_unstable();
    assert_eq!(valid, expected);

    named("GC")
        .conf(json!({ "name": "other", "cni.dev/valid-attachments": [] }))
        .run()
        .ok();
    assert_eq!([&a, &other].map(is_recorded), [true, false]);
}
