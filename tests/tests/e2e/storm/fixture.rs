//! A node with everything around it, and the pods that are bound to it.

use std::collections::BTreeMap;
use std::path::Path;

use e2e::manifests::NETWORKS;
use e2e::{Agent, ApiServer, IpamServer, Node};
use serde_json::{Value, json};

use crate::storm::programs;

/// The namespace of the pods.
pub(crate) const NAMESPACE: &str = "storm";

/// Whom a node asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asks {
    /// The agent, else the API server; ipam-server for leases.
    AnyoneThere,
    /// The agent and nobody else, which passes on what is asked of ipam-server.
    TheAgent,
}

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
    /// With `pods` pods, which all want network `second`.
    pub(crate) fn new(name: &str, pods: usize, asks: Asks) -> World {
        let (api, ipam) = (ApiServer::start(), IpamServer::start());
        let node = match asks {
            Asks::AnyoneThere => Node::new(name).with_api(&api),
            Asks::TheAgent => Node::new(name).with_agent(),
        };
        let passed_on = node.folder().join("run/ipam.sock");
        let leases_from = match asks {
            Asks::AnyoneThere => ipam.socket(),
            Asks::TheAgent => passed_on.clone(),
        };
        node.leases_from(&unix(&leases_from), json!({}));
        let node = node.default_network(|node| leased(node, "first"));
        programs::replace(&node);
        for (pool, number) in [("first", 1), ("second", 2)] {
            pool_of(&ipam, pool, number);
        }
        api.create_nads(NAMESPACE, [("second".to_owned(), leased(&node, "second"))]);
        let names: Vec<String> = (0..pods).map(|number| format!("web-{number}")).collect();
        let wish = BTreeMap::from([(NETWORKS.to_owned(), "second".to_owned())]);
        let bound = names.iter().map(|pod| (pod.clone(), node.name()));
        let uids = api.create_pods(NAMESPACE, &wish, bound);
        let passes_on = [
            format!("--ipam-server={}", unix(&ipam.socket())),
            format!("--ipam-socket={}", passed_on.display()),
        ];
        let more = match asks {
            Asks::AnyoneThere => vec![],
            Asks::TheAgent => passes_on.iter().map(String::as_str).collect(),
        };
        let agent = Agent::start_with(&node, &api, &more);
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
fn leased(node: &Node, pool: &str) -> Value {
    let mut network = node.bridge(&format!("br-{pool}"), &[]);
    network["name"] = json!(pool);
    network["isDefaultGateway"] = json!(pool == "first");
    network["ipam"] = json!({
        "type": "meta-ipam",
        "pool": pool,
    });
    network
}

fn unix(socket: &Path) -> String {
    format!("unix://{}", socket.display())
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
