//! An ADD that fails after delegates have run leaves nothing, with the API server as the source.

use e2e::{ApiServer, Node};
use serde_json::json;

use crate::kubernetes::fixture::{assert_says, events, node, sorted_links};

fn networks(node: &Node, namespace: &str) {
    let api = ApiServer::shared();
    for (name, subnet) in [("one", "10.51.0.0/24"), ("two", "10.52.0.0/24")] {
        let bridge = node.bridge(&format!("br-{name}"), &[subnet]);
        api.nad(namespace, name, bridge);
    }
    let failing = json!({
        "link": true,
        "ips": ["10.53.0.5/24"],
        "failOn": { "ADD": { "code": 104, "msg": "no port is free", "details": "0 of 8", "late": true } },
    });
    api.nad(namespace, "three", node.recording("three", failing));
}

#[test]
fn an_add_whose_third_delegate_fails_leaves_no_interface_no_address_and_no_record() {
    for parallel in [1, 4] {
        let namespace = format!("third-{parallel}");
        let api = ApiServer::shared();
        let node = node("third").conf(json!({ "maxParallelDelegates": parallel }));
        networks(&node, &namespace);
        let pod = node
            .pod(&namespace, "web")
            .networks("one,two,three")
            .create_in(api);
        let (code, msg, details) = node.add(&pod).error();
        assert_eq!(code, 104);
        assert_says(
            &msg,
            &[
                &format!("{namespace}/web"),
                &format!("{namespace}/three"),
                "no port is free",
            ],
        );
        assert_says(&format!("{msg}{details}"), &["0 of 8"]);
        assert_eq!(pod.netns().links(), ["lo"]);
        for network in ["br-default", "br-one", "br-two"] {
            assert!(node.leased(network).is_empty(), "{network}");
        }
        node.assert_clean();
        assert!(api.network_status(&namespace, "web").is_null());
        let reported = events(api, &namespace);
        assert_eq!(reported.len(), 1);
        assert_says(&reported[0].1, &["no port is free"]);
    }
}

#[test]
fn a_pod_whose_add_failed_is_attached_once_the_cause_is_gone() {
    let (node, api) = (node("mended"), ApiServer::shared());
    networks(&node, "mended");
    let pod = node
        .pod("mended", "web")
        .networks("one,three")
        .create_in(api);
    node.add(&pod).error();
    let mended = node.recording("three", json!({ "link": true }));
    api.nad("mended", "three", mended);
    node.add(&pod).ok();
    assert_eq!(sorted_links(&pod), ["eth0", "lo", "net1", "net2"]);
    node.del(&pod).ok();
    node.assert_clean();
}
