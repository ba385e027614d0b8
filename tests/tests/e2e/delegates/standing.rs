//! Interfaces that stand on other interfaces of the pod. The distribution's plugins are too old for it.

use e2e::{Node, lacking};
use serde_json::{Value, json};

use crate::delegates::attach::{bridge, live, reach};

/// A macvlan over an interface of the pod.
fn over(node: &Node, name: &str, master: &str, index: u8) -> Value {
    let subnets = [format!("10.{index}.0.0/24"), format!("fd00:{index}::/64")];
    let mut conf = node.macvlan(master, &[&subnets[0], &subnets[1]]);
    conf["name"] = json!(name);
    conf["linkInContainer"] = json!(true);
    conf
}

#[test]
fn an_interface_is_made_behind_the_one_that_it_stands_on_and_deleted_before_it() {
    if !lacking::require("macvlan") {
        return;
    }
    let node = Node::new("standing");
    node.nad("default", "low", bridge(&node));
    node.nad("default", "top", over(&node, "top", "net2", 6));
    node.nad("default", "side", over(&node, "side", "eth0", 7));
    let pod = |name: &str| node.pod("default", name).networks("side,low,top").create();
    live(&node, &pod("a"), &pod("b"), |a, b| {
        for (ifname, below) in [("net1", "eth0"), ("net3", "net2")] {
            let link = a.netns().link(ifname).expect("it is there");
            assert_eq!(link["link"], below);
            reach(a, b, ifname);
        }
    });
}

#[test]
fn an_interface_on_one_that_comes_later_or_never_is_refused_before_anything_runs() {
    let node = Node::new("unfounded");
    node.nad("default", "low", bridge(&node));
    for (master, problem) in [
        ("net2", "network default/low, which comes later"),
        ("net1", "its own interface"),
        ("net9", "no interface of the pod"),
    ] {
        node.nad("default", "top", over(&node, "top", master, 6));
        let pod = node.pod("default", "a").networks("top,low").create();
        node.add(&pod).fails(7, &["default/top", problem]);
        assert_eq!(pod.netns().links(), ["lo"]);
        node.assert_clean();
    }
}
