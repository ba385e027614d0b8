//! Every reference plugin by itself on this kernel: what meta-cni delegates to works here without it,
//! or is lacking by name. The distribution's plugins and the pinned ones, where both have it.

use e2e::{Node, Pod, lacking};
use serde_json::{Value, json};

const SUBNETS: [&str; 2] = ["10.5.0.0/24", "fd00:5::/64"];

/// Runs ADD of a chain by hand, looks, runs DEL in reverse; nothing may be left.
fn chain_works(node: &Node, plugins: &[Value], look: impl FnOnce(&Pod, &Value)) {
    let pod = node.pod("default", "pod").create();
    let mut results = vec![Value::Null];
    let call = |verb: &str, plugin: &Value, previous: &Value| {
        let kind = plugin["type"].as_str().expect("a plugin has a type");
        let call = node.call(verb).pod(&pod).whole_conf(plugin.clone());
        let call = call.program(&node.bin_dir().join(kind));
        call.conf(json!({ "prevResult": previous })).run().ok()
    };
    for plugin in plugins {
        let previous = results.last().expect("begins with one").clone();
        results.push(call("ADD", plugin, &previous));
    }
    let result = results.last().expect("begins with one");
    look(&pod, result);
    for plugin in plugins.iter().rev() {
        call("DEL", plugin, result);
    }
    node.assert_clean();
}

fn both(name: &str) -> [Node; 2] {
    [Node::new(name), Node::with_debian_plugins(name)]
}

fn plugin(node: &Node, kind: &str, rest: Value) -> Value {
    let mut conf = json!({ "cniVersion": node.delegate_version(), "name": "net", "type": kind });
    conf.as_object_mut()
        .expect("made so")
        .extend(rest.as_object().expect("rest is an object").clone());
    conf
}

#[test]
fn loopback() {
    for node in both("loopback") {
        let conf = plugin(&node, "loopback", json!({}));
        let pod = node.pod("default", "pod").create();
        let program = node.bin_dir().join("loopback");
        let call = |verb| {
            let call = node.call(verb).pod(&pod).ifname("lo").program(&program);
            call.whole_conf(conf.clone()).run().ok()
        };
        assert_eq!(call("ADD")["interfaces"][0]["name"], "lo");
        call("DEL");
    }
}

#[test]
fn ptp() {
    for node in both("ptp") {
        let conf = plugin(&node, "ptp", json!({ "ipam": node.host_local(&SUBNETS) }));
        chain_works(&node, &[conf], |pod, _| {
            node.host().ping(&pod.address("eth0", false));
            node.host().ping(&pod.address("eth0", true));
        });
    }
}

#[test]
fn static_addresses() {
    for node in both("static") {
        let ipam = json!({
            "type": "static",
            "addresses": [{ "address": "10.5.0.9/24" }, { "address": "fd00:5::9/64" }],
        });
        let mut conf = node.bridge("br0", &[]);
        conf["ipam"] = ipam;
        chain_works(&node, &[conf], |pod, _| {
            let addresses = pod.netns().addresses("eth0");
            assert_eq!(addresses, ["10.5.0.9/24", "fd00:5::9/64"]);
        });
    }
}

#[test]
fn host_device() {
    for node in both("host-device") {
        node.master("dev0");
        let conf = plugin(&node, "host-device", json!({ "device": "dev0" }));
        chain_works(&node, &[conf], |pod, _| {
            assert_eq!(pod.netns().links(), ["lo", "eth0"]);
            assert_eq!(node.host().link("dev0"), None);
        });
        assert!(node.host().link("dev0").is_some());
    }
}

#[test]
fn tuning() {
    for node in both("tuning") {
        let rest = json!({
            "mtu": 1400,
            "mac": "02:00:00:00:00:05",
            "sysctl": { "net.ipv4.conf.all.log_martians": "1" },
            "dataDir": node.folder().join("tuning"),
        });
        let chain = [node.bridge("br0", &SUBNETS), plugin(&node, "tuning", rest)];
        chain_works(&node, &chain, |pod, _| {
            let link = pod.netns().link("eth0").expect("eth0 is there");
            assert_eq!(link["mtu"], 1400);
            assert_eq!(link["address"], "02:00:00:00:00:05");
        });
    }
}

#[test]
fn portmap_leaves_no_rule() {
    for node in both("portmap") {
        let ports = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
        let rest = json!({
            "capabilities": { "portMappings": true },
            "runtimeConfig": { "portMappings": ports },
        });
        let chain = [node.bridge("br0", &SUBNETS), plugin(&node, "portmap", rest)];
        chain_works(&node, &chain, |_, _| {
            let left = node.leftovers();
            assert!(left.iter().any(|line| line.contains("8080")), "{left:#?}");
        });
    }
}

#[test]
fn masquerading_leaves_no_rule() {
    for node in both("masq") {
        let mut conf = node.bridge("br0", &SUBNETS);
        conf["ipMasq"] = json!(true);
        chain_works(&node, &[conf], |_, _| {
            let left = node.leftovers();
            let count = left
                .iter()
                .filter(|line| line.contains("chain CNI-"))
                .count();
            assert_eq!(count, 2, "one a family: {left:#?}");
        });
    }
}

#[test]
fn nftables_rules_are_seen_and_removed() {
    let node = Node::new("nft");
    let ports = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    let rest = json!({
        "backend": "nftables",
        "capabilities": { "portMappings": true },
        "runtimeConfig": { "portMappings": ports },
    });
    let mut bridge = node.bridge("br0", &SUBNETS);
    bridge["ipMasq"] = json!(true);
    bridge["ipMasqBackend"] = json!("nftables");
    chain_works(&node, &[bridge, plugin(&node, "portmap", rest)], |_, _| {
        let left = node.leftovers();
        for sign in ["dnat", "masquerade"] {
            assert!(left.iter().any(|line| line.contains(sign)), "{left:#?}");
        }
    });
}

#[test]
fn bandwidth() {
    if !lacking::require("bandwidth") {
        return;
    }
    for node in both("bandwidth") {
        let rest = json!({
            "ingressRate": 1_000_000, "ingressBurst": 1_000_000,
            "egressRate": 1_000_000, "egressBurst": 1_000_000,
        });
        let chain = [
            node.bridge("br0", &SUBNETS),
            plugin(&node, "bandwidth", rest),
        ];
        chain_works(&node, &chain, |_, _| {
            let kinds = node.host().ip("-d link show type ifb");
            assert_eq!(
                kinds
                    .iter()
                    .filter(|link| link["ifname"].is_string())
                    .count(),
                1
            );
        });
    }
}

#[test]
fn firewall() {
    for node in both("firewall") {
        let rest = json!({ "backend": "iptables" });
        let allows = |line: &String| line.contains("10.5.0.2") && line.contains("accept");
        let chain = [
            node.bridge("br0", &SUBNETS),
            plugin(&node, "firewall", rest),
        ];
        chain_works(&node, &chain, |_, _| {
            let left = node.leftovers();
            assert!(left.iter().any(allows), "{left:#?}");
        });
    }
}

#[test]
fn source_based_routing() {
    for node in both("sbr") {
        let chain = [
            node.bridge("br0", &SUBNETS),
            plugin(&node, "sbr", json!({})),
        ];
        chain_works(&node, &chain, |pod, _| {
            assert!(pod.netns().sh("ip rule").contains("from 10.5.0.2"));
        });
    }
}

#[test]
fn ipvlan() {
    if !lacking::require("ipvlan") {
        return;
    }
    on_a_master("ipvlan", json!({ "mode": "l2" }));
}

#[test]
fn vlan() {
    if !lacking::require("vlan") {
        return;
    }
    on_a_master("vlan", json!({ "vlanId": 7 }));
}

#[test]
fn macvlan() {
    if !lacking::require("macvlan") {
        return;
    }
    on_a_master("macvlan", json!({ "mode": "bridge" }));
}

fn on_a_master(kind: &str, rest: Value) {
    for node in both(kind) {
        node.master("mst0");
        let mut conf = plugin(&node, kind, rest.clone());
        conf["master"] = json!("mst0");
        conf["ipam"] = node.host_local(&SUBNETS);
        chain_works(&node, &[conf], |pod, _| {
            assert_eq!(pod.netns().addresses("eth0").len(), 2);
        });
    }
}

#[test]
fn vrf() {
    if !lacking::require("vrf") {
        return;
    }
    for node in both("vrf") {
        let rest = json!({ "vrfname": "red" });
        let chain = [node.bridge("br0", &SUBNETS), plugin(&node, "vrf", rest)];
        chain_works(&node, &chain, |pod, _| {
            assert!(pod.netns().links().contains(&"red".to_owned()));
        });
    }
}

#[test]
fn dummy() {
    if !lacking::require("dummy") {
        return;
    }
    let node = Node::new("dummy");
    let conf = plugin(&node, "dummy", json!({ "ipam": node.host_local(&SUBNETS) }));
    chain_works(&node, &[conf], |pod, _| {
        assert_eq!(pod.netns().links(), ["lo", "eth0"]);
    });
}

#[test]
fn tap() {
    if !lacking::require("tap") {
        return;
    }
    let node = Node::new("tap");
    let conf = plugin(&node, "tap", json!({ "ipam": node.host_local(&SUBNETS) }));
    chain_works(&node, &[conf], |pod, _| {
        assert_eq!(pod.netns().links(), ["lo", "eth0"]);
    });
}
