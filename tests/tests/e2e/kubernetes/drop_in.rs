//! A Multus configuration with another `type`: the same interfaces with the same names and addresses as
//! Multus gives them.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::{ApiServer, Node, Pod};
use serde_json::{Value, json};

use crate::kubernetes::fixture::{names, node, sorted_links};

/// All keys that a Multus configuration usually has, as its daemon set writes them; and `stateDir`,
/// which keeps the records of this test out of /var/lib.
fn multus_conf(node: &Node, networks: Value) -> Value {
    let ready = node.folder().join("ready");
    fs::write(&ready, "").expect("write a file");
    let mut conf = json!({
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "type": "meta-cni",
        "capabilities": { "portMappings": true },
        "runtimeConfig": {
            "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
        },
        "kubeconfig": ApiServer::shared().plugin_kubeconfig(),
        "confDir": node.conf_dir(),
        "cniDir": node.cni_dir(),
        "binDir": node.bin_dir(),
        "logFile": node.folder().join("multus.log"),
        "logLevel": "verbose",
        "logToStderr": true,
        "readinessindicatorfile": ready,
        "namespaceIsolation": true,
        "globalNamespaces": "default, drop-in-global",
        "systemNamespaces": ["kube-system", "drop-in-system"],
        "multusNamespace": "drop-in-networks",
        "stateDir": node.state_dir(),
    });
    e2e::merge::merge(&mut conf, &networks);
    conf
}

/// The networks of the tests below: a default network with port mappings, one for every pod, and two
/// that pods name.
fn networks(node: &Node) -> Value {
    let api = ApiServer::shared();
    let portmap = json!({
        "type": "portmap",
        "capabilities": { "portMappings": true },
        "snat": false,
    });
    let default = node.bridge("br-first", &["10.21.0.0/24", "fd00:21::/64"]);
    let default = node.list(&[default, portmap]);
    let own = node.bridge("br-own", &["10.23.0.0/24", "fd00:23::/64"]);
    let global = node.bridge("br-global", &["10.24.0.0/24", "fd00:24::/64"]);
    let every = node.bridge("br-every", &["10.22.0.0/24", "fd00:22::/64"]);
    api.nad("drop-in-networks", "first", default.clone());
    api.nad("drop-in-networks", "every", every);
    for namespace in ["drop-in", "drop-in-system"] {
        api.nad(namespace, "own", own.clone());
    }
    api.nad("drop-in-global", "global", global);
    default
}

/// The networks of these tests have the same names in one API server, and lease from the folder of the node that made them last: one
/// test after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runs(node: &Node, conf: &Value, pod: &Pod, verb: &str) -> Value {
    node.call(verb).pod(pod).whole_conf(conf.clone()).run().ok()
}

/// `<interface> <addresses>` for each interface but `lo`, in the order of their names.
fn attached(pod: &Pod) -> Vec<String> {
    sorted_links(pod)
        .iter()
        .filter(|link| *link != "lo")
        .map(|link| format!("{link} {}", pod.netns().addresses(link).join(" ")))
        .collect()
}

#[test]
fn a_multus_configuration_with_cluster_network_attaches_the_same_interfaces() {
    let _alone = alone();
    let node = node("thin");
    networks(&node);
    let named = json!({ "clusterNetwork": "first", "defaultNetworks": ["every"] });
    let conf = multus_conf(&node, named);
    let pod = node
        .pod("drop-in", "thin")
        .networks(" own, drop-in-global/global@storage")
        .create_in(ApiServer::shared());
    let result = runs(&node, &conf, &pod, "ADD");
    assert_eq!(
        attached(&pod),
        [
            "eth0 10.21.0.2/24 fd00:21::2/64",
            "net1 10.22.0.2/24 fd00:22::2/64",
            "net2 10.23.0.2/24 fd00:23::2/64",
            "storage 10.24.0.2/24 fd00:24::2/64",
        ]
    );
    assert_eq!(result["cniVersion"], "0.3.1");
    assert_eq!(
        names(&result["ips"], "address"),
        ["10.21.0.2/24", "fd00:21::2/64"]
    );
    let left = node.leftovers();
    assert!(left.iter().any(|line| line.contains("8080")), "{left:#?}");
    let log = fs::metadata(node.folder().join("multus.log"));
    assert!(log.is_ok_and(|log| log.is_file()));
    runs(&node, &conf, &pod, "DEL");
    node.assert_clean();
}

#[test]
fn a_multus_configuration_with_delegates_attaches_the_same_interfaces() {
    let _alone = alone();
    let node = node("thick");
    let default = networks(&node);
    // Multus looks at defaultNetworks only beside clusterNetwork.
    let named = json!({ "delegates": [default], "defaultNetworks": ["every"] });
    let conf = multus_conf(&node, named);
    let pod = node
        .pod("drop-in", "thick")
        .networks(r#"[{"name": "own", "interface": "eth7"}, {"name": "global", "namespace": "drop-in-global"}]"#)
        .create_in(ApiServer::shared());
    runs(&node, &conf, &pod, "ADD");
    assert_eq!(
        attached(&pod),
        [
            "eth0 10.21.0.2/24 fd00:21::2/64",
            "eth7 10.23.0.2/24 fd00:23::2/64",
            "net2 10.24.0.2/24 fd00:24::2/64",
        ]
    );
    runs(&node, &conf, &pod, "DEL");
    node.assert_clean();
}

#[test]
fn a_pod_of_a_system_namespace_gets_no_default_networks() {
    let _alone = alone();
    let node = node("system");
    networks(&node);
    let named = json!({ "clusterNetwork": "first", "defaultNetworks": ["every"] });
    let conf = multus_conf(&node, named);
    let pod = node
        .pod("drop-in-system", "dns")
        .networks("own")
        .create_in(ApiServer::shared());
    runs(&node, &conf, &pod, "ADD");
    assert_eq!(
        attached(&pod),
        [
            "eth0 10.21.0.2/24 fd00:21::2/64",
            "net1 10.23.0.2/24 fd00:23::2/64",
        ]
    );
    runs(&node, &conf, &pod, "DEL");
    node.assert_clean();
}

#[test]
fn the_default_network_annotation_replaces_the_default_network() {
    let _alone = alone();
    let node = node("default");
    networks(&node);
    let conf = multus_conf(
        &node,
        json!({ "clusterNetwork": "first", "globalNamespaces": "drop-in-networks" }),
    );
    let pod = node
        .pod("drop-in", "replaced")
        .default_network("every")
        .networks("own")
        .create_in(ApiServer::shared());
    runs(&node, &conf, &pod, "ADD");
    assert_eq!(
        attached(&pod),
        [
            "eth0 10.22.0.2/24 fd00:22::2/64",
            "net1 10.23.0.2/24 fd00:23::2/64",
        ]
    );
    let status = ApiServer::shared().network_status("drop-in", "replaced");
    assert_eq!(
        names(&status, "name"),
        ["drop-in-networks/every", "drop-in/own"]
    );
    runs(&node, &conf, &pod, "DEL");
    node.assert_clean();
}

#[test]
fn an_empty_nad_and_a_cluster_network_without_nad_name_files_of_conf_dir() {
    let _alone = alone();
    let node = node("files");
    let write = |file: &str, name: &str, network: Value| {
        let mut network = network;
        network["name"] = json!(name);
        let path = node.conf_dir().join(file);
        fs::write(path, network.to_string()).expect("write a configuration");
    };
    write(
        "10-first.conf",
        "of-file",
        node.bridge("br-first", &["10.21.0.0/24"]),
    );
    write(
        "20-own.conf",
        "empty",
        node.bridge("br-own", &["10.23.0.0/24"]),
    );
    ApiServer::shared().nad("drop-in-files", "empty", json!(""));
    let conf = multus_conf(
        &node,
        json!({ "clusterNetwork": "of-file", "globalNamespaces": "drop-in-files" }),
    );
    let pod = node
        .pod("drop-in-files", "files")
        .networks("empty")
        .create_in(ApiServer::shared());
    runs(&node, &conf, &pod, "ADD");
    assert_eq!(attached(&pod), ["eth0 10.21.0.2/24", "net1 10.23.0.2/24"]);
    runs(&node, &conf, &pod, "DEL");
    node.assert_clean();
}
