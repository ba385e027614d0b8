//! Without `kubeconfig`, the environment and the files that Kubernetes gives to every pod are used. The
//! files have a fixed path: each call sees its own, in a mount namespace of its own.

use std::fs;

use e2e::kube::PLUGIN;
use e2e::{ApiServer, Call, Node};
use serde_json::json;

use crate::kubernetes::fixture::{assert_says, failure, node, write_service_account};

/// Puts a folder at /run/secrets/kubernetes.io/serviceaccount, with nothing else but the named
/// namespaces in /run, and then runs the rest of the command line.
const MOUNT: &str = r#"
set -e
mkdir -p "$0/netns"
mount --rbind /run/netns "$0/netns"
mount -t tmpfs none /run
mkdir -p /run/netns /run/secrets/kubernetes.io/serviceaccount
mount --rbind "$0/netns" /run/netns
mount --bind "$0/serviceaccount" /run/secrets/kubernetes.io/serviceaccount
exec "$@"
"#;

fn in_cluster<'n>(call: Call<'n>, node: &Node, api: &ApiServer) -> Call<'n> {
    let folder = node.folder().display().to_string();
    let address = api.address();
    call.conf(json!({ "kubeconfig": null }))
        .env("KUBERNETES_SERVICE_HOST", &address.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", &address.port().to_string())
        .under(["unshare", "-m", "sh", "-c", MOUNT, &folder])
}

#[test]
fn the_environment_of_a_pod_is_used_without_kubeconfig() {
    let (node, api) = (node("in-cluster"), ApiServer::shared());
    write_service_account(&node, PLUGIN);
    api.nad(
        "in-cluster",
        "blue",
        node.bridge("br-blue", &["10.71.0.0/24"]),
    );
    let pod = node
        .pod("in-cluster", "web")
        .networks("blue")
        .create_in(api);
    let call = |verb: &str| in_cluster(node.call(verb).pod(&pod), &node, api).run();
    call("ADD").ok();
    assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
    assert!(api.network_status("in-cluster", "web").is_array());
    call("STATUS").ok();
    call("DEL").ok();
    node.assert_clean();
}

#[test]
fn the_environment_of_a_pod_without_its_files_is_named() {
    let (node, api) = (node("no-files"), ApiServer::shared());
    fs::create_dir(node.folder().join("serviceaccount")).expect("make a folder");
    let pod = node.pod("no-files", "web").create_in(api);
    let (code, text) = failure(&in_cluster(node.call("ADD").pod(&pod), &node, api).run());
    assert_eq!(code, 11);
    assert_says(
        &text,
        &[
            "in-cluster",
            "/var/run/secrets/kubernetes.io/serviceaccount",
        ],
    );
    node.assert_clean();
}
