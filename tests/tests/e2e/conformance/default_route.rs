//! Section 3, "Default route", on real interfaces and routes.

use std::time::Duration;

use e2e::{Node, Pod, wait_until};
use serde_json::{Value, json};

const BLUE: [&str; 2] = ["10.2.0.0/24", "fd00:2::/64"];
const RED: [&str; 2] = ["10.3.0.0/24", "fd00:3::/64"];

/// A node with the dual-stack side networks `blue` and `red`, and a default network whose default
/// routes lead over `eth0`.
fn node(name: &str) -> Node {
    let node = Node::new(name);
    node.nad("default", "blue", node.side_bridge("br-blue", &BLUE));
    node.nad("default", "red", node.side_bridge("br-red", &RED));
    node
}

fn add(node: &Node, elements: Value) -> Pod {
    let pod = node.pod("default", "web").select(&elements).create();
    node.add(&pod).ok();
    pod
}

fn asking(name: &str, gateways: &[&str]) -> Value {
    json!({ "name": name, "default-route": gateways })
}

#[test]
fn nobody_asks_and_the_default_routes_stay_those_of_the_default_network() {
    let node = node("stay");
    let pod = add(&node, json!([{ "name": "blue" }]));
    assert_eq!(
        pod.netns().default_routes(),
        ["10.1.0.1 eth0", "fd00:1::1 eth0"]
    );
}

#[test]
fn a_family_that_is_asked_for_leads_over_the_asking_interface_and_the_other_family_is_left_alone() {
    for (gateway, expected) in [
        ("10.2.0.1", ["10.2.0.1 net1", "fd00:1::1 eth0"]),
        ("fd00:2::1", ["10.1.0.1 eth0", "fd00:2::1 net1"]),
    ] {
        let node = node("family");
        let pod = add(
            &node,
            json!([asking("blue", &[gateway]), { "name": "red" }]),
        );
        assert_eq!(pod.netns().default_routes(), expected);
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn one_attachment_may_ask_for_both_families() {
    let node = node("both");
    let pod = add(&node, json!([asking("blue", &["10.2.0.1", "fd00:2::1"])]));
    assert_eq!(
        pod.netns().default_routes(),
        ["10.2.0.1 net1", "fd00:2::1 net1"]
    );
}

#[test]
fn two_attachments_may_ask_for_one_family_each() {
    let node = node("each");
    let wishes = json!([asking("blue", &["10.2.0.1"]), asking("red", &["fd00:3::1"])]);
    let pod = add(&node, wishes);
    assert_eq!(
        pod.netns().default_routes(),
        ["10.2.0.1 net1", "fd00:3::1 net2"]
    );
    node.check(&pod).ok();
}

#[test]
fn two_attachments_that_ask_for_one_family_are_refused_before_anything_runs() {
    let node = node("two");
    let wishes = json!([
        asking("blue", &["fd00:2::1"]),
        asking("red", &["fd00:3::1"])
    ]);
    let pod = node.pod("default", "web").select(&wishes).create();
    node.add(&pod)
        .fails(7, &["net1, net2", "IPv6", "default-route"]);
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

#[test]
fn two_gateways_of_one_family_are_refused_before_anything_runs() {
    let node = node("gateways");
    let wishes = json!([asking("blue", &["10.2.0.1", "10.2.0.2"])]);
    let pod = node.pod("default", "web").select(&wishes).create();
    node.add(&pod).fails(7, &["[0].default-route", "IPv4"]);
    node.assert_clean();
}

#[test]
fn an_empty_list_removes_the_default_routes_of_the_attachments_own_interface() {
    let node = node("empty");
    node.nad(
        "default",
        "routed",
        node.bridge("br-routed", &["10.4.0.0/24", "fd00:4::/64"]),
    );
    let pod = add(&node, json!([asking("routed", &[])]));
    assert_eq!(
        pod.netns().default_routes(),
        ["10.1.0.1 eth0", "fd00:1::1 eth0"]
    );
    assert_eq!(node.network_status(&pod)[1].get("gateway"), None);
}

#[test]
fn a_default_network_that_asks_keeps_its_routes_from_those_of_others() {
    let node = node("default");
    node.nad(
        "kube-system",
        "main",
        node.bridge("br-main", &["10.5.0.0/24", "fd00:5::/64"]),
    );
    node.nad(
        "default",
        "routed",
        node.bridge("br-routed", &["10.4.0.0/24", "fd00:4::/64"]),
    );
    let main = json!([asking("main", &["10.5.0.1", "fd00:5::1"])]).to_string();
    let pod = node
        .pod("default", "web")
        .default_network(&main)
        .networks("routed")
        .create();
    node.add(&pod).ok();
    assert_eq!(
        pod.netns().default_routes(),
        ["10.5.0.1 eth0", "fd00:5::1 eth0"]
    );
}

#[test]
fn packets_really_leave_over_the_interface_that_asked() {
    let node = node("packets");
    let pod = add(&node, json!([asking("blue", &["10.2.0.1", "fd00:2::1"])]));
    for (far, family) in [("192.0.2.1/32", "-4"), ("2001:db8::1/128", "-6")] {
        node.host()
            .sh(&format!("ip {family} address add {far} dev lo"));
        pod.netns().ping(far);
        let far = far.split('/').next().unwrap();
        let route = pod.netns().ip(&format!("route get {far}"));
        assert_eq!(route[0]["dev"], "net1");
    }
}

#[test]
fn result_and_network_status_say_what_is_true_afterwards() {
    let node = node("true");
    let wish = json!([asking("blue", &["10.2.0.1"])]);
    let pod = node.pod("default", "web").select(&wish).create();
    let result = node.add(&pod).ok();
    let routes = result["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 1, "{result}");
    assert_eq!(routes[0]["dst"], "::/0");
    let status = node.network_status(&pod);
    assert_eq!(status[0]["gateway"], json!(["fd00:1::1"]));
    assert_eq!(status[1]["gateway"], json!(["10.2.0.1"]));
}

#[test]
fn a_gateway_that_is_not_on_the_link_fails_the_add_and_everything_is_undone() {
    let node = node("off-link");
    let wish = json!([asking("blue", &["10.9.9.9"])]);
    let pod = node.pod("default", "web").select(&wish).create();
    node.add(&pod)
        .fails(7, &["10.9.9.9", "net1", "10.2.0.2/24"]);
    assert_eq!(pod.netns().links(), ["lo"]);
    node.assert_clean();
}

#[test]
fn a_router_that_no_prefix_could_have_is_on_the_link() {
    for (case, addresses, gateways, expected) in [
        (
            "link-local",
            json!([{ "address": "10.2.0.7/24" }, { "address": "fd00:2::7/64" }]),
            ["169.254.1.1", "fe80::1"],
            ["169.254.1.1 net1", "fe80::1 net1"],
        ),
        (
            "host addresses",
            json!([{ "address": "10.2.0.7/32" }, { "address": "fd00:2::7/128" }]),
            ["10.9.0.1", "fd00:9::1"],
            ["10.9.0.1 net1", "fd00:9::1 net1"],
        ),
    ] {
        let node = node("beside");
        let mut conf = node.side_bridge("br-blue", &BLUE);
        conf["isGateway"] = json!(false);
        // The bridge's own CHECK takes a network without a gateway for broken.
        conf["disableCheck"] = json!(true);
        conf["ipam"] = json!({ "type": "static", "addresses": addresses });
        node.nad("default", "blue", conf);
        let pod = add(&node, json!([asking("blue", &gateways)]));
        assert_eq!(pod.netns().default_routes(), expected, "{case}");
        node.check(&pod).ok();
        node.del(&pod).ok();
        node.assert_clean();
    }
}

#[test]
fn check_finds_a_default_route_that_is_gone_or_has_a_rival() {
    let node = node("check");
    let mut unasked = node.side_bridge("br-blue", &BLUE);
    unasked["disableCheck"] = json!(true);
    node.nad("default", "blue", unasked);
    let pod = add(&node, json!([asking("blue", &["10.2.0.1"])]));
    node.check(&pod).ok();
    pod.netns()
        .sh("ip route add default via 10.1.0.1 dev eth0 metric 9");
    node.check(&pod)
        .fails(100, &["default/blue", "eth0 has an IPv4 default route"]);
    pod.netns()
        .sh("ip route delete default via 10.1.0.1 dev eth0 metric 9");
    pod.netns()
        .sh("ip route delete default via 10.2.0.1 dev net1");
    node.check(&pod)
        .fails(100, &["default/blue", "10.2.0.1", "gone"]);
}

#[test]
fn a_family_is_never_without_a_default_route_while_it_is_changed() {
    let node = node("atomic");
    let wish = json!([asking("blue", &["10.2.0.1", "fd00:2::1"])]);
    let pod = node.pod("default", "web").select(&wish).create();
    // Prints every change of routes as the kernel makes it.
    let monitor = node.folder().join("monitor");
    let mut ip = pod
        .netns()
        .run(|| {
            let out = std::fs::File::create(&monitor).expect("make a file");
            std::process::Command::new("ip")
                .args(["monitor", "route"])
                .stdout(out)
                .spawn()
        })
        .expect("start ip monitor");
    // A route of ours shows when the monitor listens; the kernel reports only what changes.
    wait_until("the monitor listens", Duration::from_secs(10), || {
        pod.netns().sh("ip route add blackhole 203.0.113.1");
        pod.netns().sh("ip route delete blackhole 203.0.113.1");
        let text = std::fs::read_to_string(&monitor).unwrap_or_default();
        text.contains("203.0.113.1").then_some(())
    });
    node.add(&pod).ok();
    let text = wait_until("the change of IPv6", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&monitor).unwrap_or_default();
        (text.contains("default via fd00:2::1") && text.contains("default via 10.2.0.1"))
            .then_some(text)
    });
    ip.kill().expect("stop ip monitor");
    ip.wait().expect("ip monitor ends");
    let set = |gateway: &str| text.find(&format!("\ndefault via {gateway}"));
    let removed = |gateway: &str| text.find(&format!("Deleted default via {gateway}"));
    for (new, old) in [("10.2.0.1", "10.1.0.1"), ("fd00:2::1", "fd00:1::1")] {
        let set = set(new).expect("the monitor shows the new route");
        assert!(removed(old).is_none_or(|removed| set < removed), "{text}");
    }
}
