//! Section 4, "network-status", as it is written beside a folder of manifests.

use std::fs;

use e2e::{Node, Pod, manifests::NETWORK_STATUS};
use serde_json::{Value, json};

#[test]
fn network_status_has_each_interface_of_the_sandbox_with_all_that_is_known_of_it() {
    let node = Node::new("status");
    node.nad(
        "default",
        "blue",
        node.side_bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]),
    );
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    let mac = |ifname: &str| pod.netns().link(ifname).unwrap()["address"].clone();
    assert_eq!(
        node.network_status(&pod),
        [
            json!({
                "name": "br-default", "interface": "eth0", "ips": ["10.1.0.2", "fd00:1::2"],
                "mac": mac("eth0"), "mtu": 1500, "default": true, "dns": {}, "gateway": ["10.1.0.1", "fd00:1::1"],
            }),
            json!({
                "name": "default/blue", "interface": "net1", "ips": ["10.2.0.2", "fd00:2::2"],
                "mac": mac("net1"), "mtu": 1500, "dns": {},
            }),
        ]
    );
}

#[test]
fn a_nad_is_named_with_its_own_namespace_whoever_uses_it() {
    let node = Node::recorder("names").conf(json!({ "clusterNetwork": "main" }));
    node.nad("kube-system", "main", node.recording("x", json!({})));
    node.nad("other", "red", node.recording("y", json!({})));
    let pod = node.pod("default", "web").networks("other/red").create();
    node.add(&pod).ok();
    let names: Vec<Value> = node
        .network_status(&pod)
        .iter()
        .map(|e| e["name"].clone())
        .collect();
    assert_eq!(names, ["kube-system/main", "other/red"]);
}

#[test]
fn the_default_network_has_the_name_of_its_configuration_and_not_its_path() {
    let node = Node::recorder("path");
    node.conf_file(
        "10-calico.conf",
        &node.recording("k8s-pod-network", json!({})),
    );
    let folder = node.conf_dir();
    for path in [
        folder.clone(),
        folder.join("10-calico.conf"),
        "k8s-pod-network".into(),
    ] {
        let pod = node.pod("default", "web").create();
        let named = json!({ "clusterNetwork": path });
        node.call("ADD").pod(&pod).conf(named).run().ok();
        let reported = &node.network_status(&pod)[0];
        assert_eq!(reported["name"], "k8s-pod-network", "{}", path.display());
        node.del(&pod).ok();
    }
}

#[test]
fn network_status_has_mtu_and_dns_of_a_result() {
    let node = Node::recorder("mtu");
    let dns =
        json!({ "nameservers": ["10.0.0.10"], "domain": "a.example", "search": ["b.example"] });
    let interface = json!({ "name": "net1", "mtu": 1400, "sandbox": "/x" });
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [interface], "dns": dns });
    node.nad(
        "default",
        "red",
        node.recording("red", json!({ "result": result })),
    );
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    let reported = &node.network_status(&pod)[1];
    assert_eq!((&reported["mtu"], &reported["dns"]), (&json!(1400), &dns));
}

#[test]
fn an_mtu_that_no_result_has_is_the_kernels() {
    let node = Node::new("kernel-mtu");
    let mut blue = node.side_bridge("br-blue", &["10.2.0.0/24"]);
    blue["mtu"] = json!(1400);
    node.nad("default", "blue", blue);
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).ok();
    let reported = node.network_status(&pod);
    let mtus: Vec<_> = reported.iter().map(|element| &element["mtu"]).collect();
    assert_eq!(mtus, [&json!(1500), &json!(1400)]);
}

/// Interface, default and addresses of each element.
fn elements(node: &Node, pod: &Pod) -> Vec<Value> {
    let status = node.network_status(pod);
    let element = |e: &Value| json!([e["interface"], e["default"], e["ips"]]);
    status.iter().map(element).collect()
}

#[test]
fn exactly_one_element_is_the_default_even_if_networks_make_several_interfaces() {
    let node = Node::recorder("default").default_network(|node| {
        let in_sandbox = |name: &str| json!({ "name": name, "sandbox": "/x", "mac": "02:00:00:00:00:01" });
        let result = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{ "name": "host0" }, in_sandbox("eth0"), in_sandbox("eth0-b")],
            "ips": [{ "address": "10.9.0.5/24", "interface": 2 }, { "address": "fd00:9::5/64", "interface": 1 }],
        });
        node.recording("default", json!({ "result": result }))
    });
    node.recording_nads(&["red"]);
    let pod = node.pod("default", "web").networks("red").create();
    node.add(&pod).ok();
    assert_eq!(
        elements(&node, &pod),
        [
            json!(["eth0", true, ["fd00:9::5"]]),
            json!(["eth0-b", null, ["10.9.0.5"]]),
            json!(["net1", null, null]),
        ]
    );
}

#[test]
fn the_default_is_the_interface_with_the_gateway_if_the_default_network_makes_several() {
    let node = Node::recorder("gateway").default_network(|node| {
        let in_sandbox =
            |name: &str| json!({ "name": name, "sandbox": "/x", "mac": "02:00:00:00:00:01" });
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [in_sandbox("eth0"), { "name": "host1" }, in_sandbox("ovn-udn1")],
            "ips": [
                { "address": "10.244.0.4/24", "interface": 0 },
                { "address": "10.128.0.4/16", "interface": 2, "gateway": "10.128.0.1" },
            ],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "10.128.0.1" }],
        });
        node.recording("ovn", json!({ "result": result }))
    });
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    assert_eq!(
        elements(&node, &pod),
        [
            json!(["eth0", null, ["10.244.0.4"]]),
            json!(["ovn-udn1", true, ["10.128.0.4"]]),
        ]
    );
}

#[test]
fn a_network_that_makes_no_interface_has_no_element() {
    let node = Node::recorder("istio");
    let none = json!({ "cniVersion": "1.0.0" });
    node.nad(
        "default",
        "istio-cni",
        node.recording("istio-cni", json!({ "result": none })),
    );
    node.recording_nads(&["red"]);
    let pod = node
        .pod("default", "web")
        .networks("istio-cni,red")
        .create();
    node.add(&pod).ok();
    let reported: Vec<Value> = node
        .network_status(&pod)
        .iter()
        .map(|e| e["interface"].clone())
        .collect();
    assert_eq!(reported, ["eth0", "net2"]);
    node.del(&pod).ok();
}

#[test]
fn a_network_whose_result_names_addresses_but_no_interface_has_the_interface_of_its_call() {
    let node = Node::recorder("legacy");
    let mut old = node.recording("red", json!({ "ips": ["10.9.0.5/24", "fd00:9::5/64"] }));
    old["cniVersion"] = json!("0.2.0");
    node.nad("default", "red", old);
    let pod = node.pod("default", "web").networks("red@ext0").create();
    node.add(&pod).ok();
    let reported = &node.network_status(&pod)[1];
    assert_eq!(
        (&reported["interface"], &reported["ips"]),
        (&json!("ext0"), &json!(["10.9.0.5", "fd00:9::5"]))
    );
}

#[test]
fn a_status_that_the_pod_has_already_is_not_written_again() {
    let node = Node::recorder("same");
    let pod = node.pod("default", "web").create();
    node.add(&pod).ok();
    let status = fs::read_to_string(node.status_file(&pod)).unwrap();
    fs::remove_file(node.status_file(&pod)).unwrap();
    let again = node
        .pod("default", "web")
        .annotation(NETWORK_STATUS, &status)
        .create();
    node.add(&again).ok();
    assert!(!node.status_file(&again).exists());
}
