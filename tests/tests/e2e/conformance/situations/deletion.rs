//! Section 6, "Situations": a DEL of what has changed, or is gone.

use super::*;

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
