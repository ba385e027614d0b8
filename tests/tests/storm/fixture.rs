//! A node with everything around it, and the pods that are bound to it.

use std::collections::BTreeMap;

use e2e::pod::NETWORKS;
use e2e::{Agent, ApiServer, IpamServer, Node};
use serde_json::{Value, json};

use crate::programs;

/// The namespace of the pods.
pub(crate) const NAMESPACE: &str = "storm";

/// A cluster of one node.
pub(crate) struct World {
    pub(crate) api: ApiServer,
    pub(crate) ipam: IpamServer,
    pub(crate) node: Node,
    pub(crate) agent: Agent,
    pub(crate) pods: Vec<Bound>,
}

/// A pod as the kubelet knows it before it has a sandbox.
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl World {
    /// `knowledge` says whom the node asks about `pods` pods, which all want network `second`.
    pub(crate) fn new(
        name: &str,
        pods: usize,
        knowledge: impl FnOnce(Node, &ApiServer) -> Node,
    ) -> World {
        let (api, ipam) = (ApiServer::start(), IpamServer::start());
        let node = knowledge(Node::new(name), &api);
        let node = node.default_network(|node| leased(node, &ipam, "first"));
        programs::replace(&node);
        for (pool, number) in [("first", 1), ("second", 2)] {
            pool_of(&ipam, pool, number);
        }
        api.create_nads(
            NAMESPACE,
            [("second".to_owned(), leased(&node, &ipam, "second"))],
        );
        let names: Vec<String> = (0..pods).map(|number| format!("web-{number}")).collect();
        let wish = BTreeMap::from([(NETWORKS.to_owned(), "second".to_owned())]);
        let bound = names.iter().map(|pod| (pod.clone(), node.name()));
        let uids = api.create_pods(NAMESPACE, &wish, bound);
        let agent = Agent::start(&node, &api);
        let pods = names.into_iter().zip(uids);
        World {
            pods: pods.map(|(name, uid)| Bound { name, uid }).collect(),
            api,
            ipam,
            agent,
            node,
        }
    }
}

/// A bridge whose addresses of both families are leased from the pool of the same name.
fn leased(node: &Node, ipam: &IpamServer, pool: &str) -> Value {
    let mut network = node.bridge(&format!("br-{pool}"), &[]);
    network["name"] = json!(pool);
    network["isDefaultGateway"] = json!(pool == "first");
    network["ipam"] = json!({
        "type": "meta-ipam",
        "pool": pool,
        "server": format!("unix://{}", ipam.socket().display()),
        "stateDir": node.state_dir(),
    });
    network
}

fn pool_of(ipam: &IpamServer, pool: &str, number: u8) {
    ipam.ipamctl_json(&[
        "pool",
        "create",
        pool,
        &format!("--ipv4-cidr=10.{number}.0.0/16"),
        &format!("--ipv4-gateway=10.{number}.0.1"),
        &format!("--ipv6-cidr=fd00:{number}::/64"),
        &format!("--ipv6-gateway=fd00:{number}::1"),
    ]);
}
