//! Section 2, "Annotations": networks whose configuration has no name are called as Multus calls them.

use std::fs;

use e2e::{Node, Pod};
use serde_json::{Value, json};

fn nameless(mut conf: Value) -> Value {
    conf.as_object_mut().unwrap().remove("name");
    conf
}

#[test]
fn a_nameless_network_shares_the_state_of_its_plugins_with_pods_that_multus_made() {
    let node = Node::new("quick");
    let quick = nameless(node.side_bridge("br-quick", &["10.2.0.0/24", "fd00:2::/64"]));
    node.nad("default", "quick-conf", quick.clone());
    let old = node.pod("default", "old").create();
    let mut as_multus = quick;
    as_multus["name"] = json!("quick-conf");
    let bridge = node.bin_dir().join("bridge");
    let made = node.call("ADD").program(&bridge).whole_conf(as_multus);
    made.pod(&old).ifname("net1").run().ok();
    let new = node
        .pod("default", "new")
        .networks("quick-conf,quick-conf")
        .create();
    node.add(&new).ok();
    assert_eq!(
        old.netns().addresses("net1"),
        ["10.2.0.2/24", "fd00:2::2/64"]
    );
    let mut news = new.netns().addresses("net1");
    news.extend(new.netns().addresses("net2"));
    news.sort();
    assert_eq!(
        news,
        ["10.2.0.3/24", "10.2.0.4/24", "fd00:2::3/64", "fd00:2::4/64"]
    );
    assert_eq!(node.leased("quick-conf").len(), 6);
    node.del(&new).ok();
    assert_eq!(node.leased("quick-conf"), ["10.2.0.2", "fd00:2::2"]);
}

#[test]
fn nameless_networks_of_one_name_share_the_state_of_their_plugins_as_with_multus() {
    let node = Node::new("nameless");
    for namespace in ["one", "two"] {
        let conf = nameless(node.side_bridge("br-red", &["10.2.0.0/24"]));
        node.nad(namespace, "red", conf);
    }
    let pod = node
        .pod("default", "web")
        .networks("one/red,two/red")
        .create();
    node.add(&pod).ok();
    assert_eq!(node.leased("red"), ["10.2.0.2", "10.2.0.3"]);
    node.del(&pod).ok();
    node.assert_clean();
}

#[test]
fn nameless_networks_of_one_name_are_collected_with_what_is_valid_of_all_of_them() {
    let node = Node::recorder("merged");
    for namespace in ["shop", "bank"] {
        let mut conf = nameless(node.recording("", json!({})));
        conf["of"] = json!(namespace);
        node.nad(namespace, "blue", conf);
    }
    let pods = ["shop", "bank"].map(|namespace| {
        let pod = node.pod(namespace, "web").networks("blue").create();
        node.add(&pod).ok();
        pod
    });
    fs::remove_file(node.folder().join("calls.jsonl")).unwrap();
    node.gc(&pods).ok();
    let of = |pod: &Pod| json!({ "containerID": pod.container_id, "ifname": "net1" });
    let mut both: Vec<Value> = pods.iter().map(of).collect();
    both.sort_by_key(Value::to_string);
    let calls = node.calls();
    let reported: Vec<Value> = calls
        .iter()
        .filter(|call| call.network == "blue")
        .map(|call| {
            let conf = call.conf();
            json!([conf["of"], conf["cni.dev/valid-attachments"]])
        })
        .collect();
    assert_eq!(reported, [json!(["bank", both]), json!(["shop", both])]);
}
