//! Section 5, "Verbs": ADD, DEL, CHECK and VERSION. STATUS, GC and the environment of all verbs have
//! files of their own.

mod environment;
mod gc;
mod status;

use std::fs;

use e2e::{Node, Pod};
use serde_json::{Value, json};

/// A network whose plugins CHECK asks.
fn checked_by_plugins(mut network: Value) -> Value {
    network["checkByPlugins"] = json!(true);
    network
}

/// A recording network that makes a real interface.
fn linked(node: &Node, name: &str) -> Value {
    node.recording(name, json!({ "link": true, "ips": ["10.9.0.5/24"] }))
}

#[test]
fn add_makes_all_attachments_and_returns_the_result_of_the_default_network() {
    let node = Node::new("add");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = node
        .pod("default", "web")
        .networks("blue,blue@ext0")
        .create();
    let other = node.pod("default", "other").networks("blue").create();
    let result = node.add(&pod).ok();
    node.add(&other).ok();
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["ips"][0]["address"], "10.1.0.2/24");
    assert_eq!(result["ips"][1]["address"], "fd00:1::2/64");
    let mut links = pod.netns().links();
    links.sort();
    assert_eq!(links, ["eth0", "ext0", "lo", "net1"]);
    for (ifname, v6) in [
        ("eth0", false),
        ("eth0", true),
        ("net1", false),
        ("net1", true),
    ] {
        pod.netns().ping(&other.address(ifname, v6));
    }
    for pod in [&pod, &other] {
        node.check(pod).ok();
        node.del(pod).ok();
    }
    node.assert_clean();
}

#[test]
fn networks_of_several_kinds_work_in_one_pod_and_leave_nothing() {
    let node = Node::new("kinds");
    node.master("mst0");
    node.nad(
        "default",
        "macvlan",
        node.macvlan("mst0", &["10.3.0.0/24", "fd00:3::/64"]),
    );
    let ptp = json!({
        "cniVersion": "1.0.0", "name": "ptp", "type": "ptp", "ipam": node.host_local(&["10.4.0.0/24"]),
    });
    let mut side = node.side_bridge("br-chain", &["10.5.0.0/24"]);
    side["cniVersion"] = json!("0.4.0");
    let tuning = json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.net3.arp_filter": "1" } });
    node.nad("default", "ptp", ptp);
    node.nad("default", "chain", node.list(&[side, tuning]));
    let pod = node
        .pod("default", "web")
        .networks("macvlan,ptp,chain")
        .create();
    node.add(&pod).ok();
    assert_eq!(
        pod.netns().addresses("net1"),
        ["10.3.0.2/24", "fd00:3::2/64"]
    );
    assert_eq!(pod.netns().addresses("net2"), ["10.4.0.2/24"]);
    let sysctl = pod
        .netns()
        .sh("cat /proc/sys/net/ipv4/conf/net3/arp_filter");
    assert_eq!(sysctl.trim(), "1");
    node.check(&pod).ok();
    node.del(&pod).ok();
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

#[test]
fn the_default_network_is_added_before_and_deleted_after_all_others() {
    let node = Node::recorder("first");
    node.recording_nads(&["a", "b", "c"]);
    let pod = node.pod("default", "web").networks("a,b,c").create();
    node.add(&pod).ok();
    node.del(&pod).ok();
    let calls = node.calls();
    assert_eq!(calls[0].summary(), "ADD eth0 default");
    assert_eq!(calls[7].summary(), "DEL eth0 default");
    assert!(calls[1..].iter().all(|call| !call.overlaps(&calls[0])));
    assert!(calls[..7].iter().all(|call| !call.overlaps(&calls[7])));
}

#[test]
fn plugins_of_a_list_run_in_order_and_hand_their_result_on_and_back_in_reverse_with_the_last() {
    let node = Node::recorder("list").default_network(|node| linked(node, "default"));
    let with = |ip: &str| {
        let result = json!({ "cniVersion": "1.1.0", "ips": [{ "address": ip }] });
        node.recording("red", json!({ "result": result }))
    };
    let red = node.list(&[with("10.9.0.1/24"), with("10.9.0.2/24")]);
    node.nad("default", "red", checked_by_plugins(red));
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    node.check(&pod).ok();
    node.del(&pod).ok();
    let of_red = node
        .calls()
        .into_iter()
        .filter(|call| call.network == "red");
    let seen: Vec<Value> = of_red
        .map(|call| {
            let conf = call.conf();
            let own = conf["record"]["result"]["ips"][0]["address"].clone();
            json!([call.verb, own, conf["prevResult"]["ips"][0]["address"]])
        })
        .collect();
    assert_eq!(
        seen,
        [
            json!(["ADD", "10.9.0.1/24", null]),
            json!(["ADD", "10.9.0.2/24", "10.9.0.1/24"]),
            json!(["CHECK", "10.9.0.1/24", "10.9.0.2/24"]),
            json!(["CHECK", "10.9.0.2/24", "10.9.0.2/24"]),
            json!(["DEL", "10.9.0.2/24", "10.9.0.2/24"]),
            json!(["DEL", "10.9.0.1/24", "10.9.0.2/24"]),
        ]
    );
}

#[test]
fn del_gives_each_delegate_the_bytes_of_its_add_though_nads_and_networks_dir_are_gone() {
    let node = Node::recorder("bytes");
    let mut red = node.recording("red", json!({}));
    red["weird"] =
        json!({ "z": 1.5, "a": [null, "\u{e9}\n"], "m": 18_446_744_073_709_551_615_u64 });
    node.nad("default", "red", red);
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    fs::remove_dir_all(node.networks_dir()).unwrap();
    node.call("DEL").pod(&pod).env("CNI_ARGS", "").run().ok();
    for network in ["eth0 default", "net1 red"] {
        let (add, del) = (
            node.last_call(&format!("ADD {network}")),
            node.last_call(&format!("DEL {network}")),
        );
        let head = add.stdin.strip_suffix('}').unwrap();
        let tail = del
            .stdin
            .strip_prefix(head)
            .expect("the same bytes in the same order");
        assert!(tail.starts_with(r#","prevResult":"#), "{tail}");
        assert_eq!(del.env["CNI_ARGS"], add.env["CNI_ARGS"]);
        assert_eq!(del.env["CNI_PATH"], add.env["CNI_PATH"]);
    }
    node.assert_clean();
}

#[test]
fn del_of_real_networks_needs_neither_nads_nor_networks_dir_and_gives_addresses_back() {
    let node = Node::new("leases");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    assert_eq!(node.leased("br-blue"), ["10.2.0.2", "fd00:2::2"]);
    fs::remove_dir_all(node.networks_dir()).unwrap();
    node.del(&pod).ok();
    assert_eq!(node.leased("br-blue"), [""; 0]);
    assert_eq!(node.leased("br-default"), [""; 0]);
    node.assert_clean();
}

#[test]
fn del_of_what_was_never_added_and_a_second_del_succeed() {
    let node = Node::recorder("never");
    let (never, pod) = (
        node.pod("default", "never").without_manifest().create(),
        node.pod("default", "web").create(),
    );
    node.del(&never).ok();
    node.add(&pod).ok();
    node.remove_pod(&pod);
    node.del(&pod).ok();
    node.del(&pod).ok();
    assert_eq!(node.summaries(), ["ADD eth0 default", "DEL eth0 default"]);
    node.assert_clean();
}

/// A node with networks `a`, `b`, `c`, of which `a` and `c` fail to be deleted as long as the file
/// `broken` of its folder is there, and a pod that has them all.
fn with_failing_dels(name: &str) -> (Node, Pod) {
    let node = Node::recorder(name).conf(json!({ "maxParallelDelegates": 1 }));
    let broken = node.folder().join("broken");
    fs::write(&broken, "").unwrap();
    for name in ["a", "c"] {
        let fail = json!({ "DEL": { "code": 42, "msg": format!("no end of {name}") } });
        let conf = node.recording(name, json!({ "failOn": fail, "while": broken }));
        node.nad("default", name, conf);
    }
    node.recording_nads(&["b"]);
    let pod = node.pod("default", "web").networks("a,b,c").create();
    node.add(&pod).ok();
    (node, pod)
}

#[test]
fn del_tries_all_attachments_in_reverse_and_joins_their_errors() {
    let (node, pod) = with_failing_dels("joined");
    let errors = ["default/a", "no end of a", "default/c", "no end of c"];
    node.del(&pod).fails(42, &errors);
    let dels = ["DEL net3 c", "DEL net2 b", "DEL net1 a", "DEL eth0 default"];
    assert_eq!(node.summaries()[4..8], dels);
    let again = ["DEL net3 c", "DEL net1 a"];
    assert_eq!(node.summaries()[8..], again, "once more before the answer");
}

#[test]
fn a_record_is_kept_until_every_delegate_is_deleted_and_only_the_rest_is_tried_again() {
    let (node, pod) = with_failing_dels("kept");
    node.del(&pod).error();
    assert!(node.record_file(&pod).exists());
    node.del(&pod).error();
    let rest = ["DEL net3 c", "DEL net1 a"];
    assert_eq!(node.summaries()[10..], [rest, rest].concat());
    fs::remove_file(node.folder().join("broken")).unwrap();
    node.remove_pod(&pod);
    node.del(&pod).ok();
    assert_eq!(node.summaries()[14..], rest);
    node.assert_clean();
}

#[test]
fn check_asks_plugins_against_their_own_recorded_result() {
    let node = Node::recorder("check").default_network(|node| linked(node, "default"));
    node.nad("default", "red", checked_by_plugins(linked(&node, "red")));
    node.nad("default", "blue", linked(&node, "blue"));
    let pod = node.pod("default", "web").networks("red,blue").create();
    node.add(&pod).ok();
    // What the runtime gives as prevResult is not what counts.
    let lie = json!({ "prevResult": { "cniVersion": "1.1.0", "ips": [] } });
    node.call("CHECK").pod(&pod).conf(lie).run().ok();
    for (summary, ifname) in [("CHECK eth0 default", "eth0"), ("CHECK net1 red", "net1")] {
        let prev = node.last_call(summary).conf()["prevResult"].clone();
        let link = pod.netns().link(ifname).unwrap();
        assert_eq!(prev["interfaces"][0]["name"], ifname);
        assert_eq!(prev["interfaces"][0]["mac"], link["address"]);
    }
    // A secondary network's plugins are asked only if it says so.
    assert!(!node.summaries().contains(&"CHECK net2 blue".to_owned()));
}

#[test]
fn check_passes_the_failure_of_a_delegate_on() {
    let node = Node::new("check-fails");
    let blue = node.side_bridge("br-blue", &["10.2.0.0/24"]);
    node.nad("default", "blue", checked_by_plugins(blue));
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    pod.netns().sh("ip address flush dev net1");
    node.check(&pod)
        .fails(999, &["default/blue (net1)", "bridge CHECK"]);
    pod.netns().sh("ip address flush dev eth0");
    node.check(&pod).fails(999, &["(eth0)", "bridge CHECK"]);
}

#[test]
fn check_names_the_interface_that_vanished_even_if_the_list_disables_check() {
    let node = Node::new("vanished");
    let mut blue = node.list(&[node.side_bridge("br-blue", &["10.2.0.0/24"])]);
    node.nad("default", "asked", blue.clone());
    blue["disableCheck"] = json!(true);
    node.nad("default", "unasked", blue);
    for network in ["asked", "unasked"] {
        let pod = node.pod("default", network).networks(network).create();
        node.add(&pod).ok();
        node.check(&pod).ok();
        pod.netns().sh("ip link delete net1");
        node.check(&pod).fails(
            100,
            &[&format!("default/{network}"), "interface net1 is gone"],
        );
    }
}

#[test]
fn a_list_that_disables_check_or_is_too_old_for_it_is_not_asked() {
    let node = Node::recorder("unchecked");
    let mut disabled = linked(&node, "disabled");
    disabled["disableCheck"] = json!(true);
    let mut old = linked(&node, "old");
    old["cniVersion"] = json!("0.3.1");
    for (name, network) in [
        ("disabled", disabled),
        ("old", old),
        ("asked", linked(&node, "asked")),
    ] {
        node.nad("default", name, checked_by_plugins(network));
    }
    let node = node.default_network(|node| linked(node, "default"));
    let pod = node
        .pod("default", "web")
        .networks("disabled,old,asked")
        .create();
    node.add(&pod).ok();
    node.check(&pod).ok();
    let checks = node
        .summaries()
        .into_iter()
        .filter(|call| call.starts_with("CHECK"));
    let mut checks: Vec<String> = checks.collect();
    checks.sort();
    assert_eq!(checks, ["CHECK eth0 default", "CHECK net3 asked"]);
}

#[test]
fn check_does_not_ask_for_an_interface_that_no_result_names() {
    let node = Node::recorder("unnamed").default_network(|node| {
        node.recording("default", json!({ "result": { "cniVersion": "1.1.0" } }))
    });
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    node.check(&pod).ok();
    assert_eq!(node.summaries(), ["ADD eth0 default", "CHECK eth0 default"]);
}

/// What AWS' plugin and sriov-cni name beside the links of a pod.
#[test]
fn check_does_not_ask_for_an_interface_that_is_no_link_of_the_pod() {
    let node = Node::recorder("no-links").default_network(|node| linked(node, "default"));
    let pod = node.pod("default", "web").networks("dummy,dpdk,vhost");
    let pod = pod.create();
    let sandbox = pod.netns().path();
    for (name, interface) in [
        (
            "dummy",
            json!({ "name": "dummy1", "mac": "0", "sandbox": "0" }),
        ),
        (
            "dpdk",
            json!({ "name": "net2", "sandbox": sandbox, "pciID": "0000:3b:02.1" }),
        ),
        (
            "vhost",
            json!({ "name": "net3", "sandbox": sandbox, "socketPath": "/run/v.sock" }),
        ),
    ] {
        let result = json!({ "cniVersion": "1.1.0", "interfaces": [interface] });
        node.nad(
            "default",
            name,
            node.recording(name, json!({ "result": result })),
        );
    }
    node.add(&pod).ok();
    node.check(&pod).ok();
    pod.netns().sh("ip link delete eth0");
    node.check(&pod).error();
}

#[test]
fn version_lists_all_versions_from_0_1_0_to_1_1_0_and_needs_no_configuration() {
    let node = Node::recorder("version");
    let versions = json!({
        "cniVersion": "1.1.0",
        "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    });
    assert_eq!(node.version().ok(), versions);
    let bare = node.call("VERSION").without_env("CNI_PATH").stdin("").run();
    assert_eq!(bare.ok(), versions);
}
