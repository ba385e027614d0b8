//! The life of two pods on one network, which every plugin of this suite goes through: ADD, what the test
//! looks at, CHECK, DEL, nothing left.

use e2e::{Node, Pod};
use serde_json::{Value, json};

/// The subnets of the network under test.
pub(crate) const SUBNETS: [&str; 2] = ["10.5.0.0/24", "fd00:5::/64"];

/// A node with each set of plugins.
pub(crate) fn both(name: &str) -> [Node; 2] {
    [Node::new(name), Node::with_debian_plugins(name)]
}

/// The configuration of one plugin.
pub(crate) fn plugin(node: &Node, kind: &str, rest: Value) -> Value {
    let mut conf = json!({ "cniVersion": node.delegate_version(), "name": "net", "type": kind });
    let rest = rest.as_object().expect("rest is an object").clone();
    conf.as_object_mut().expect("made so").extend(rest);
    conf
}

/// Addresses from [`SUBNETS`] without default routes, which are the default network's.
pub(crate) fn addresses(node: &Node) -> Value {
    let mut ipam = node.host_local(&SUBNETS);
    ipam["routes"] = json!([]);
    ipam
}

/// A bridge with [`addresses`].
pub(crate) fn bridge(node: &Node) -> Value {
    let mut conf = node.bridge("br-net", &SUBNETS);
    conf["ipam"]["routes"] = json!([]);
    conf
}

/// Two pods whose second interface `net1` is on the network that `conf` describes.
pub(crate) fn secondary(node: &Node, conf: &Value, look: impl FnOnce(&Pod, &Pod)) {
    let element = json!({ "name": "net" });
    node.nad("default", "net", conf.clone());
    with_elements(node, [&element, &element], look);
}

/// The same with what each pod says of the network; NADs are made by the caller.
pub(crate) fn with_elements(node: &Node, elements: [&Value; 2], look: impl FnOnce(&Pod, &Pod)) {
    let pod = |name: &str, element: &Value| {
        let annotation = json!([element]).to_string();
        node.pod("default", name).networks(&annotation).create()
    };
    live(node, &pod("a", elements[0]), &pod("b", elements[1]), look);
}

/// Two pods whose only interface `eth0` is on the network that `conf` describes.
pub(crate) fn default(node: Node, conf: Value, look: impl FnOnce(&Node, &Pod, &Pod)) {
    let node = node.conf(json!({ "delegates": [conf] }));
    let (a, b) = (node.pod("default", "a"), node.pod("default", "b"));
    live(&node, &a.create(), &b.create(), |a, b| look(&node, a, b));
}

/// The life of two pods.
pub(crate) fn live(node: &Node, a: &Pod, b: &Pod, look: impl FnOnce(&Pod, &Pod)) {
    node.add(a).ok();
    node.add(b).ok();
    look(a, b);
    node.check(a).ok();
    node.check(b).ok();
    node.del(a).ok();
    node.check(b).ok();
    node.del(b).ok();
    node.assert_clean();
}

/// Asserts that `a` reaches `b` over both families, where each has one address of each on `ifname`.
pub(crate) fn reach(a: &Pod, b: &Pod, ifname: &str) {
    for pod in [a, b] {
        let addresses = pod.netns().addresses(ifname);
        assert_eq!(addresses.len(), 2, "{addresses:?}");
    }
    a.netns().ping(&b.address(ifname, false));
    a.netns().ping(&b.address(ifname, true));
}
