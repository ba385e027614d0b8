//! A network that had host-local leases by meta-ipam from now on: the imported leases of its older pods end with them.

use e2e::{IpamServer, Node, Pod};
use serde_json::{Value, json};

/// The network `blue` before and after the switch.
fn blue(node: &Node, ipam: Value) {
    let mut conf = node.recording("blue", json!({}));
    conf["ipam"] = ipam;
    node.nad("default", "blue", conf);
}

/// Takes in an address that host-local gave to an interface of a container, as one of this network.
fn import(server: &IpamServer, network: &str, address: &str, container: &str) {
    let folder = server.folder().join("networks").join(network);
    std::fs::create_dir_all(&folder).expect("make a folder");
    std::fs::write(folder.join(address), format!("{container}\r\nnet1")).expect("write a file");
    let folder = folder.display().to_string();
    server.ipamctl_json(&[
        "import",
        "host-local",
        &folder,
        "--pool",
        "p",
        "--node=n1",
        "--network",
        network,
    ]);
}

/// A node with a pod of host-local whose address is imported, and one that has leased by meta-ipam since.
async fn switched(server: &IpamServer, name: &str) -> (Node, Pod, Pod) {
    server.create_pool("p", "10.94.0.0/24", "").await;
    let node = Node::recorder(name);
    blue(&node, json!({"type": "host-local"}));
    let old = node.pod("default", "old").networks("blue").create();
    node.add(&old).ok();
    // As an earlier version filed it.
    import(server, "blue", "10.94.0.7", &old.container_id);
    node.leases_from(&server.address(), json!({ "node": "n1" }));
    blue(&node, json!({ "type": "meta-ipam", "pool": "p" }));
    let new = node.pod("default", "new").networks("blue").create();
    node.add(&new).ok();
    assert_eq!(holders(server).await, both(&old, &new));
    (node, old, new)
}

fn both(one: &Pod, other: &Pod) -> Vec<String> {
    let mut both = vec![one.container_id.clone(), other.container_id.clone()];
    both.sort();
    both
}

/// The containers that hold leases.
async fn holders(server: &IpamServer) -> Vec<String> {
    let leases = server.leases().await.into_iter();
    let mut holders: Vec<_> = leases
        .filter_map(|lease| Some(lease.owner?.container_id))
        .collect();
    holders.sort();
    holders
}

#[tokio::test]
async fn the_imported_lease_of_an_older_pod_ends_with_its_del() {
    let server = IpamServer::start();
    let (node, old, new) = switched(&server, "switched").await;
    node.del(&old).ok();
    assert_eq!(holders(&server).await, [new.container_id.as_str()]);
    node.del(&new).ok();
    assert_eq!(holders(&server).await, [""; 0]);
}

#[tokio::test]
async fn an_imported_lease_of_a_sandbox_that_is_gone_ends_with_gc_and_that_of_a_live_pod_stays() {
    let server = IpamServer::start();
    let (node, old, new) = switched(&server, "collected").await;
    import(&server, "default/blue", "10.94.0.99", "gone");
    node.gc([&old, &new]).ok();
    assert_eq!(holders(&server).await, both(&old, &new));
}
