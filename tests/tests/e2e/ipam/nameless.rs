//! Networks of one name in two namespaces: their leases are kept apart, whether their configurations have that name or none.

use e2e::{IpamServer, Node, locate};
use serde_json::{Value, json};

fn leasing(node: &Node, bridge: &str, name: Option<&str>) -> Value {
    let mut conf = node.bridge(bridge, &[]);
    e2e::merge::merge(&mut conf, &json!({ "name": name, "cniVersion": "1.0.0" }));
    conf["ipam"] = json!({ "type": "meta-ipam", "pool": "one" });
    conf
}

/// Namespace of the pod and network of each lease.
async fn owners(server: &IpamServer) -> Vec<(String, String)> {
    let leases = server.leases().await.into_iter();
    let mut owners: Vec<_> = leases
        .filter_map(|lease| lease.owner)
        .map(|owner| (owner.namespace, owner.network))
        .collect();
    owners.sort();
    owners
}

#[tokio::test]
async fn leases_of_networks_of_one_name_are_filed_and_released_by_namespace() {
    for (node, name) in [("nameless", None), ("same-name", Some("lan"))] {
        filed_and_released_by_namespace(node, name).await;
    }
}

async fn filed_and_released_by_namespace(node: &str, name: Option<&str>) {
    let server = IpamServer::start();
    server.create_pool("one", "10.5.0.0/24", "").await;
    let node = Node::recorder(node);
    node.install(&locate::executable("meta-ipam"));
    node.leases_from(&server.address(), json!({}));
    for namespace in ["shop", "bank"] {
        let conf = leasing(&node, &format!("br-{namespace}"), name);
        node.nad(namespace, "blue", conf);
    }
    let pods = ["shop", "bank"].map(|namespace| {
        let pod = node.pod(namespace, "web").networks("blue").create();
        node.add(&pod).ok();
        pod
    });
    let expected = ["bank", "shop"].map(|namespace| {
        let network = format!("{namespace}/blue");
        (namespace.to_owned(), network)
    });
    assert_eq!(owners(&server).await, expected);
    node.del(&pods[0]).ok();
    assert_eq!(owners(&server).await, expected[..1]);
    node.gc([&pods[1]]).ok();
    assert_eq!(owners(&server).await, expected[..1]);
    node.gc([]).ok();
    assert_eq!(owners(&server).await, []);
}
