//! Section 5, "Verbs": STATUS.

use std::fs;
use std::os::unix::net::UnixListener;

use e2e::{Node, Outcome};
use serde_json::{Value, json};

/// A node whose default network answers STATUS as `record` says.
fn node(name: &str, record: Value) -> Node {
    Node::new(name).default_network(|node| node.recording("default", record))
}

fn failing(code: u64) -> Value {
    json!({ "failOn": { "STATUS": { "code": code, "msg": "no uplink", "details": "port 7" } } })
}

#[test]
fn status_succeeds_when_the_default_network_can_serve_add() {
    let node = node("well", json!({}));
    let outcome = node.status();
    outcome.ok();
    assert_eq!(outcome.stdout, "");
    let call = node.last_call("STATUS  default");
    assert_eq!(call.conf()["cniVersion"], "1.1.0");
    for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"] {
        assert_eq!(call.env.get(variable).map_or("", String::as_str), "");
    }
    node.assert_clean();
}

#[test]
fn status_of_real_plugins_succeeds() {
    Node::new("real").status().ok();
}

#[test]
fn the_default_networks_status_is_passed_through_with_its_code() {
    for code in [50, 51, 7, 123] {
        node("passed", failing(code))
            .status()
            .fails(code, &["no uplink", "port 7"]);
    }
}

#[test]
fn a_secondary_network_never_makes_status_fail() {
    let node = node("secondary", json!({}));
    node.nad("default", "red", node.recording("red", failing(50)));
    node.nad("default", "broken", json!("{"));
    let delegates = json!([
        node.recording("default", json!({})),
        node.recording("b", failing(50))
    ]);
    let node = node.conf(json!({ "delegates": delegates }));
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    node.status().ok();
    node.nad("kube-system", "main", node.recording("main", json!({})));
    let node = node.conf(json!({ "clusterNetwork": "main", "defaultNetworks": ["broken"] }));
    node.status().ok();
}

#[test]
fn a_default_network_before_1_1_0_is_not_asked() {
    let node = node("old", failing(50)).default_network(|node| {
        let mut conf = node.recording("default", failing(50));
        conf["cniVersion"] = json!("1.0.0");
        conf
    });
    node.status().ok();
    assert!(node.calls().is_empty());
}

#[test]
fn a_default_network_that_hangs_is_not_available_and_the_answer_is_still_quick() {
    let node = node("hang", json!({ "hang": true }));
    node.status().fails(50, &["default"]);
    assert_eq!(node.last_call("STATUS  default").end, None);
}

#[test]
fn slow_plugins_together_do_not_make_status_slow() {
    let node = node("slow", json!({})).default_network(|node| {
        let slow = node.recording("default", json!({ "delayMs": 60_000 }));
        node.list(&[slow.clone(), slow.clone(), slow])
    });
    node.status().fails(50, &["default"]);
    assert!(node.calls().iter().all(|call| call.end.is_none()));
}

#[test]
fn what_would_make_every_add_fail_makes_status_fail() {
    let node = node("unable", json!({}));
    let status = |conf: Value| node.call("STATUS").conf(conf).run();
    status(json!({ "delegates": null })).fails(50, &["default network"]);
    status(json!({ "networksDir": "/absent" })).fails(50, &["/absent"]);
    status(json!({ "clusterNetwork": "absent" })).fails(50, &["absent"]);
    status(json!({ "stateDir": "/proc/absent" })).fails(50, &["/proc/absent"]);
    let missing = json!([{ "cniVersion": "1.1.0", "name": "x", "type": "absent-plugin" }]);
    status(json!({ "delegates": missing })).fails(50, &["absent-plugin"]);
}

/// STATUS of a default network whose plugins do not know STATUS, with these keys.
fn older(node: &Node, keys: Value) -> Outcome {
    let mut network = node.recording("default", json!({}));
    network["cniVersion"] = json!("1.0.0");
    let network_keys = network.as_object_mut().expect("an object");
    network_keys.extend(keys.as_object().expect("an object").clone());
    let conf = json!({ "delegates": [network] });
    node.call("STATUS").conf(conf).run()
}

#[test]
fn what_the_default_network_needs_of_the_node_is_looked_for_and_nothing_is_run() {
    let node = Node::new("needs");
    let ipam = |kind: &str| json!({ "ipam": { "type": kind } });
    older(&node, ipam("absent-ipam")).fails(50, &["absent-ipam", "install it"]);
    older(&node, ipam("host-local")).ok();

    let master = |name: &str| json!({ "type": "macvlan", "master": name });
    older(&node, master("eth7")).fails(50, &["interface eth7, the master of macvlan"]);
    older(&node, json!({ "type": "ipvlan" })).fails(50, &["no default route"]);
    older(&node, json!({ "type": "vlan" })).fails(50, &["vlan names no master"]);
    node.master("up0");
    node.host()
        .sh("ip link property add dev up0 altname storage-of-rack-17");
    older(&node, master("up0")).ok();
    older(&node, master("storage-of-rack-17")).ok();
    assert!(node.calls().is_empty());
}

#[test]
fn a_dhcp_daemon_that_does_not_run_makes_status_fail() {
    let node = Node::new("dhcp");
    let socket = node.folder().join("dhcp.sock");
    let ipam = json!({ "ipam": { "type": "dhcp", "daemonSocketPath": socket } });
    let place = socket.display().to_string();
    older(&node, ipam.clone()).fails(50, &[&place, "No such file", "dhcp daemon"]);
    let daemon = UnixListener::bind(&socket).expect("listen on a socket");
    older(&node, ipam.clone()).ok();
    drop(daemon);
    older(&node, ipam).fails(50, &[&place, "refused", "dhcp daemon"]);
    assert!(node.calls().is_empty());
}

#[test]
fn a_document_that_cannot_be_read_does_not_make_status_fail() {
    let node = node("broken", json!({}));
    fs::write(node.networks_dir().join("z.yaml"), "kind: [").unwrap();
    node.status().ok();
}
