//! Plugins that change what the one before them made.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use e2e::{Netns, Node, Pod, lacking};
use serde_json::{Value, json};

use crate::delegates::attach::{both, bridge, default, plugin, reach, secondary, with_elements};

fn after_bridge(node: &Node, kind: &str, rest: Value) -> Value {
    node.list(&[bridge(node), plugin(node, kind, rest)])
}

#[test]
fn tuning_sets_what_its_configuration_says() {
    for node in both("tuning") {
        let rest = json!({
            "mtu": 1400,
            "sysctl": { "net.ipv4.conf.all.log_martians": "1" },
            "dataDir": node.folder().join("tuning"),
        });
        secondary(&node, &after_bridge(&node, "tuning", rest), |a, b| {
            let link = a.netns().link("net1").expect("net1 is there");
            assert_eq!(link["mtu"], 1400);
            let martians = a.netns().sh("sysctl -n net.ipv4.conf.all.log_martians");
            assert_eq!(martians.trim(), "1");
            reach(a, b, "net1");
        });
    }
}

#[test]
fn tuning_sets_the_mac_that_a_pod_asks_for() {
    for node in both("mac") {
        let rest = json!({
            "capabilities": { "mac": true },
            "dataDir": node.folder().join("tuning"),
        });
        node.nad("default", "net", after_bridge(&node, "tuning", rest));
        let element = |mac: &str| json!({ "name": "net", "mac": mac });
        let elements = [element("02:00:00:00:00:0a"), element("0200.0000.000B")];
        with_elements(&node, [&elements[0], &elements[1]], |a, b| {
            for (pod, mac) in [(a, "02:00:00:00:00:0a"), (b, "02:00:00:00:00:0b")] {
                let link = pod.netns().link("net1").expect("net1 is there");
                assert_eq!(link["address"], mac);
            }
            reach(a, b, "net1");
        });
    }
}

fn port_mapping(port: u16) -> Value {
    json!([{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }])
}

#[test]
fn portmap_leads_from_a_port_of_the_host_to_the_pod() {
    for node in both("portmap") {
        let rest = json!({ "capabilities": { "portMappings": true } });
        portmap(&node, after_bridge(&node, "portmap", rest));
    }
}

#[test]
fn portmap_leads_from_a_port_of_the_host_to_the_pod_by_nftables() {
    let node = Node::new("portmap-nft");
    let rest = json!({ "backend": "nftables", "capabilities": { "portMappings": true } });
    portmap(&node, after_bridge(&node, "portmap", rest));
}

fn portmap(node: &Node, conf: Value) {
    node.nad("default", "net", conf);
    let element = |port: u16| json!({ "name": "net", "portMappings": port_mapping(port) });
    with_elements(node, [&element(8080), &element(8081)], |a, b| {
        reach(a, b, "net1");
        served_by(node, "10.5.0.1:8080", a);
        served_by(node, "[fd00:5::1]:8080", a);
        served_by(node, "10.5.0.1:8081", b);
    });
}

/// CHECK of portmap's iptables backend looks for IPv4 rules among those of IPv6.
#[test]
fn portmap_leads_to_the_default_network() {
    for node in both("portmap-default") {
        let rest = json!({ "capabilities": { "portMappings": true } });
        let mut conf = after_bridge(&node, "portmap", rest);
        conf["disableCheck"] = json!(true);
        let node = node.conf(json!({
            "delegates": [conf],
            "capabilities": { "portMappings": true },
            "runtimeConfig": { "portMappings": port_mapping(8080) },
        }));
        let pod = node.pod("default", "a").create();
        node.add(&pod).ok();
        served_by(&node, "10.5.0.1:8080", &pod);
        served_by(&node, "[fd00:5::1]:8080", &pod);
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

/// Asserts that a connection from the host to `address` is answered by port 80 of `pod`.
fn served_by(node: &Node, address: &str, pod: &Pod) {
    let address: SocketAddr = address.parse().expect("a socket address");
    let any = if address.is_ipv6() {
        "[::]:80"
    } else {
        "0.0.0.0:80"
    };
    let listener = pod.netns().run(|| TcpListener::bind(any));
    let listener = listener.expect("port 80 of the pod is free");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"here")
    });
    let answer = read_from(node.host(), address);
    assert_eq!(answer, "here", "{address} of {}", pod.name);
    server
        .join()
        .expect("the server does not panic")
        .expect("it answers");
}

fn read_from(netns: &Netns, address: SocketAddr) -> String {
    let patience = Duration::from_secs(5);
    let stream = netns.run(|| TcpStream::connect_timeout(&address, patience));
    let mut stream = stream.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    stream
        .set_read_timeout(Some(patience))
        .expect("set a limit");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    answer
}

#[test]
fn bandwidth_limits_both_ways() {
    if !lacking::require("bandwidth") {
        return;
    }
    for node in both("bandwidth") {
        let rest = json!({ "capabilities": { "bandwidth": true } });
        node.nad("default", "net", after_bridge(&node, "bandwidth", rest));
        let element = json!({
            "name": "net",
            "bandwidth": {
                "ingressRate": 8_000_000, "ingressBurst": 8_000_000,
                "egressRate": 8_000_000, "egressBurst": 8_000_000,
            },
        });
        with_elements(&node, [&element, &element], |a, b| {
            let limits = node.host().sh("tc qdisc show");
            let count = limits.matches("qdisc tbf").count();
            assert_eq!(count, 4, "two pods, two directions: {limits}");
            reach(a, b, "net1");
        });
    }
}

#[test]
fn source_based_routing_answers_where_it_was_asked() {
    for node in both("sbr") {
        let mut bridge = bridge(&node);
        bridge["isDefaultGateway"] = json!(true);
        let conf = node.list(&[bridge, plugin(&node, "sbr", json!({}))]);
        secondary(&node, &conf, |a, b| {
            let rules = a.netns().sh("ip rule") + &a.netns().sh("ip -6 rule");
            for address in ["from 10.5.0.2", "from fd00:5::2"] {
                assert!(rules.contains(address), "{rules}");
            }
            reach(a, b, "net1");
        });
    }
}

#[test]
fn firewall_lets_the_pods_addresses_through() {
    if !lacking::require("iptables") {
        return;
    }
    for node in both("firewall") {
        let rest = json!({ "backend": "iptables" });
        secondary(&node, &after_bridge(&node, "firewall", rest), |a, b| {
            for address in ["10.5.0.2", "fd00:5::2"] {
                let left = node.leftovers();
                let allows = |line: &String| line.contains(address) && line.contains("accept");
                assert!(left.iter().any(allows), "{left:#?}");
            }
            reach(a, b, "net1");
        });
    }
}

#[test]
fn vrf_takes_the_interface_in() {
    if !lacking::require("vrf") {
        return;
    }
    for node in both("vrf") {
        let rest = json!({ "vrfname": "red" });
        secondary(&node, &after_bridge(&node, "vrf", rest), |a, _| {
            let link = a.netns().link("net1").expect("net1 is there");
            assert_eq!(link["master"], "red");
            node.host().ping(&a.address("net1", false));
            node.host().ping(&a.address("net1", true));
        });
    }
}

#[test]
fn masquerading_of_the_default_network_leaves_no_rule() {
    for node in both("masq") {
        let mut conf = bridge(&node);
        conf["ipMasq"] = json!(true);
        default(node, conf, |node, a, b| {
            let left = node.leftovers();
            let chains = left.iter().filter(|line| line.contains("chain CNI-"));
            assert_eq!(chains.count(), 4, "two pods, two families: {left:#?}");
            reach(a, b, "eth0");
        });
    }
}

/// Both attachments share one chain of iptables, which the first DEL cannot remove. With a second family, bridge never
/// looks for that one's rule again: its interface is gone by then.
#[test]
fn a_masquerading_network_twice_in_a_pod_is_deleted_by_the_first_del() {
    for node in both("masq-twice") {
        let mut conf = node.bridge("br-net", &["10.5.0.0/24"]);
        conf["ipMasq"] = json!(true);
        node.nad("default", "net", conf);
        let pod = node.pod("default", "a").networks("net,net").create();
        node.add(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn source_based_routing_is_deleted_once_the_namespace_is_gone() {
    for node in both("sbr-gone") {
        let conf = after_bridge(&node, "sbr", json!({}));
        node.nad("default", "net", conf);
        let pod = node.pod("default", "a").networks("net").create();
        node.add(&pod).ok();
        pod.netns().remove();
        node.del(&pod).ok();
        node.call("DEL").pod(&pod).env("CNI_NETNS", "").run().ok();
        node.assert_clean();
    }
}
