//! Faults of networks, of what they need on the node, and of what pods ask for.

use std::fs;

use e2e::Node;
use serde_json::{Value, json};

use super::{Fault, fault, warning};
use crate::doctor::scene::Scene;

/// Addresses of the network that something is wrong with.
const SUBNETS: [&str; 1] = ["10.2.0.0/24"];

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "plugin missing",
        &["plugin \"no-such-plugin\" is not in "],
        missing_plugin,
    ),
    fault(
        "IPAM plugin missing",
        &["plugin \"no-such-ipam\" is not in "],
        missing_ipam,
    ),
    fault(
        "plugin not executable",
        &[
            "plugin \"plain\" cannot be executed",
            "/bin/plain is no executable file",
        ],
        not_executable,
    ),
    fault(
        "plugin too old",
        &["plugin \"bridge\" does not speak CNI 1.1.0"],
        too_old,
    ),
    fault(
        "wrong master",
        &["interface eth7, the master of macvlan, is not on this node"],
        wrong_master,
    ),
    fault(
        "master down",
        &["interface up0, the master of macvlan, is down"],
        master_down,
    ),
    warning(
        "master without carrier",
        &["interface up0, the master of macvlan, has no carrier"],
        no_carrier,
    ),
    fault(
        "device of host-device missing",
        &["interface eth7, the device of host-device, is not on this node"],
        missing_device,
    ),
    fault(
        "MTU above the master's",
        &["the network's MTU 9000 is above that of up0, the master of macvlan: 1500"],
        large_mtu,
    ),
    warning(
        "MTU above that of a bridge's port",
        &["the network's MTU 9000 is above that of up0, the port of its bridge br-blue: 1500"],
        narrow_port,
    ),
    warning(
        "nameless networks of two namespaces",
        &["2 networks without a `name` are one network to plugins, blue"],
        one_name_of_two,
    ),
    fault(
        "one default route of bridge and its IPAM",
        &[
            "bridge cannot add the default route of isDefaultGateway beside the route 0.0.0.0/0 of its ipam",
        ],
        one_default_route_twice,
    ),
    fault(
        "bad JSON in a NAD",
        &["network default/blue: its configuration is not valid: not valid JSON"],
        bad_json,
    ),
    warning(
        "bad JSON in a NAD nobody uses",
        &["network default/red: its configuration is not valid: not valid JSON"],
        unused_bad_json,
    ),
    fault(
        "NAD missing",
        &["network default/blue: there is no such NetworkAttachmentDefinition"],
        missing_nad,
    ),
    fault(
        "plugin not allowed",
        &["network default/blue: plugin \"macvlan\" is not in allowedPlugins"],
        not_allowed,
    ),
    fault(
        "isolation",
        &[
            "pod default/web: network other/blue: namespaceIsolation keeps pods of default from networks of other",
        ],
        isolation,
    ),
    fault(
        "duplicate interface name",
        &[
            "pod default/web: network default/blue: interface net7 is also that of network default/blue",
        ],
        duplicate_interface,
    ),
    fault(
        "two default routes",
        &["pod default/web: default-route: net1, net2 all ask for the IPv4 default route"],
        two_default_routes,
    ),
    warning(
        "default routes of two networks",
        &["eth0 (br-default), net1 (default/blue) each have an IPv4 default route"],
        rival_default_route,
    ),
    fault(
        "annotation that cannot be read",
        &["pod default/web: annotation k8s.v1.cni.cncf.io/networks: element 1"],
        wrong_annotation,
    ),
];

/// A pod whose network is a `plugin` with these keys.
fn with(name: &str, conf: Value) -> Scene {
    Scene::with_blue(name, |_| conf)
}

fn missing_plugin() -> Scene {
    with(
        "plugin",
        json!({ "cniVersion": "1.0.0", "name": "blue", "type": "no-such-plugin" }),
    )
}

fn missing_ipam() -> Scene {
    let ipam = json!({ "type": "no-such-ipam" });
    with(
        "ipam",
        json!({ "cniVersion": "1.0.0", "name": "blue", "type": "bridge", "ipam": ipam }),
    )
}

fn not_executable() -> Scene {
    let scene = with(
        "plain",
        json!({ "cniVersion": "1.0.0", "name": "blue", "type": "plain" }),
    );
    fs::write(scene.node.bin_dir().join("plain"), "#!/bin/sh\n").expect("write a plugin");
    scene
}

fn too_old() -> Scene {
    let scene = Scene::of(Node::with_debian_plugins("old").conf(executed()));
    let mut blue = scene.node.side_bridge("br-blue", &SUBNETS);
    blue["cniVersion"] = json!("1.1.0");
    scene.node.nad("default", "blue", blue);
    scene.node.pod("default", "web").networks("blue").create();
    scene
}

fn wrong_master() -> Scene {
    Scene::with_blue("master", |node| node.macvlan("eth7", &SUBNETS))
}

/// A macvlan over `up0`, which is there.
fn over_up0(name: &str, more: Value) -> Scene {
    Scene::with_blue(name, |node| {
        node.master("up0");
        let mut blue = node.macvlan("up0", &SUBNETS);
        let keys = blue.as_object_mut().expect("an object");
        keys.extend(more.as_object().expect("an object").clone());
        blue
    })
}

fn master_down() -> Scene {
    let scene = over_up0("down", json!({}));
    scene.node.host().sh("ip link set up0 down");
    scene
}

fn no_carrier() -> Scene {
    let scene = over_up0("carrier", json!({}));
    scene.node.host().sh("ip link set up0-p down");
    scene
}

fn missing_device() -> Scene {
    with(
        "device",
        json!({ "cniVersion": "1.0.0", "name": "blue", "type": "host-device", "device": "eth7" }),
    )
}

fn large_mtu() -> Scene {
    over_up0("mtu", json!({ "mtu": 9000 }))
}

fn narrow_port() -> Scene {
    Scene::with_blue("port", |node| {
        let host = node.host();
        host.sh("ip link add br-blue type bridge");
        // A port that is no veth: those are taken for pods'.
        host.sh("ip tuntap add dev up0 mode tap");
        host.sh("ip link set up0 master br-blue");
        let mut blue = node.side_bridge("br-blue", &SUBNETS);
        blue["mtu"] = json!(9000);
        blue
    })
}

fn one_name_of_two() -> Scene {
    let scene = Scene::new("nameless");
    for (namespace, subnet) in [("default", "10.2.0.0/24"), ("other", "10.3.0.0/24")] {
        let mut blue = scene.node.side_bridge("br-blue", &[subnet]);
        blue.as_object_mut()
            .expect("an object")
            .shift_remove("name");
        scene.node.nad(namespace, "blue", blue);
    }
    scene
}

fn one_default_route_twice() -> Scene {
    let scene = Scene::of(Node::new("routes").conf(executed()));
    let mut blue = scene.node.bridge("br-blue", &SUBNETS);
    blue["isDefaultGateway"] = json!(true);
    scene.node.nad("default", "blue", blue);
    scene.node.pod("default", "web").networks("blue").create();
    scene
}

/// Faults of the reference plugins that the ones that are built in do not have.
fn executed() -> Value {
    json!({ "builtinPlugins": "off" })
}

fn bad_json() -> Scene {
    with("bad-json", json!("{\"type\": \"macvlan\""))
}

fn unused_bad_json() -> Scene {
    let scene = Scene::new("unused");
    scene
        .node
        .nad("default", "red", json!("{\"type\": \"macvlan\""));
    scene
}

fn missing_nad() -> Scene {
    let scene = Scene::new("missing");
    scene.node.pod("default", "web").networks("blue").create();
    scene
}

fn not_allowed() -> Scene {
    let node = Node::new("allowed").conf(json!({ "allowedPlugins": ["bridge", "host-local"] }));
    let scene = Scene::of(node);
    scene.node.master("up0");
    scene
        .node
        .nad("default", "blue", scene.node.macvlan("up0", &SUBNETS));
    scene.node.pod("default", "web").networks("blue").create();
    scene
}

fn isolation() -> Scene {
    let scene = Scene::of(Node::new("isolation").conf(json!({ "namespaceIsolation": true })));
    scene
        .node
        .nad("other", "blue", scene.node.side_bridge("br-blue", &SUBNETS));
    scene
        .node
        .pod("default", "web")
        .networks("other/blue")
        .create();
    scene
}

/// A pod that asks for a good network in this way.
fn asking(name: &str, networks: &str) -> Scene {
    let scene = Scene::new(name);
    scene.node.nad(
        "default",
        "blue",
        scene.node.side_bridge("br-blue", &SUBNETS),
    );
    scene.node.pod("default", "web").networks(networks).create();
    scene
}

fn duplicate_interface() -> Scene {
    asking("duplicate", "blue@net7, blue@net7")
}

fn two_default_routes() -> Scene {
    let route = |gateway: &str| json!({ "name": "blue", "default-route": [gateway] });
    asking(
        "routes",
        &json!([route("10.2.0.1"), route("10.2.0.2")]).to_string(),
    )
}

fn rival_default_route() -> Scene {
    Scene::with_blue("rival", |node| node.bridge("br-blue", &SUBNETS))
}

fn wrong_annotation() -> Scene {
    asking("annotation", "blue and red")
}
