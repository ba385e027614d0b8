//! Faults of what leases addresses.

use std::fs;

use e2e::{IpamServer, Node, locate};
use serde_json::{Value, json};

use super::{Fault, Scene, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "ipam-server away",
        &[
            "ADD failed",
            "ipam-server at unix://",
            "ipam.sock cannot be reached",
        ],
        Some("start it, or correct its address"),
        || leasing(json!({ "pool": "blue" }), &[], true),
    ),
    fault(
        "unknown pool",
        &[
            "ADD failed",
            "default/blue (net1)",
            "pool green does not exist",
        ],
        Some("correct the network"),
        || leasing(json!({ "pool": "green" }), &[], false),
    ),
    fault(
        "pool exhausted",
        &[
            "ADD failed",
            "default/blue (net1)",
            "pool blue has no free IPv4 address",
        ],
        Some("meta-cni doctor"),
        || {
            leasing(
                json!({ "pool": "blue" }),
                &["lease", "allocate", "--pool", "blue", "--claim", "one"],
                false,
            )
        },
    ),
    fault(
        "pool cordoned",
        &["ADD failed", "default/blue (net1)", "pool blue is cordoned"],
        Some("meta-cni doctor"),
        || {
            leasing(
                json!({ "pool": "blue" }),
                &["pool", "cordon", "blue"],
                false,
            )
        },
    ),
    fault(
        "address asked for in no pool",
        &[
            "ADD failed",
            "default/blue (net1)",
            "10.9.9.9 is not in the ranges of blue",
        ],
        Some("in the pool"),
        elsewhere,
    ),
    fault(
        "no pool named",
        &["ADD failed", "network default/blue", "ipam.pool"],
        Some("correct the network"),
        || leasing(json!({}), &[], false),
    ),
    fault(
        "the file of a key is missing",
        &[
            "ADD failed",
            "reading ",
            "/client.key (ipam.tls.key)",
            "No such file",
        ],
        Some("is it there, and mounted?"),
        no_key,
    ),
];

/// A node with meta-ipam, and a network that leases so from this server.
fn node(server: Value, ipam: Value) -> Node {
    let node = Node::recorder("leased");
    node.install(&locate::executable("meta-ipam"));
    let mut blue = node.side_bridge("br-blue", &[]);
    blue["ipam"] = ipam;
    blue["ipam"]["type"] = json!("meta-ipam");
    node.ipam_file(&json!({ "servers": { "here": server }, "timeoutSeconds": 1 }));
    node.nad("default", "blue", blue);
    node
}

/// A server with pool `blue` of one address.
fn server() -> IpamServer {
    let server = IpamServer::start();
    ipamctl(
        &server,
        &["pool", "create", "blue", "--ipv4-cidr", "10.2.0.1/32"],
    );
    server
}

#[track_caller]
fn ipamctl(server: &IpamServer, arguments: &[&str]) {
    let output = server.ipamctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn leasing(ipam: Value, before: &[&str], is_away: bool) -> Scene {
    let mut server = server();
    if !before.is_empty() {
        ipamctl(&server, before);
    }
    let node = node(json!({ "address": server.address() }), ipam);
    if is_away {
        server.stop();
    }
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).error();
    Scene {
        node,
        _parts: vec![Box::new(server)],
    }
}

fn elsewhere() -> Scene {
    let server = server();
    let node = node(
        json!({ "address": server.address() }),
        json!({ "pool": "blue" }),
    );
    let wanted = json!([{ "name": "blue", "ips": ["10.9.9.9/24"] }]);
    let pod = node
        .pod("default", "web")
        .networks(&wanted.to_string())
        .create();
    node.add(&pod).error();
    Scene {
        node,
        _parts: vec![Box::new(server)],
    }
}

fn no_key() -> Scene {
    let folder = tempfile::tempdir().expect("make a folder");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("make a key");
    let certificate = folder.path().join("client.crt");
    fs::write(&certificate, key.cert.pem()).expect("write a certificate");
    let tls =
        json!({ "ca": certificate, "cert": certificate, "key": folder.path().join("client.key") });
    let server = json!({ "address": "https://127.0.0.1:1", "tls": tls });
    let node = node(server, json!({ "pool": "blue" }));
    let pod = node.pod("default", "web").networks("blue").create();
    node.add(&pod).error();
    Scene {
        node,
        _parts: vec![Box::new(folder)],
    }
}
