//! meta-cni leases for a whole pod, and gives all back when the pod does not come to be.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use e2e::{IpamServer, locate};
use proto::ipam::v1::{EventType, ListEventsRequest};
use serde_json::{Value, json};

/// Runs meta-cni for a pod that wants a default network and network `second`, both of a plugin whose ADD fails and whose DEL succeeds.
fn meta_cni(server: &IpamServer, command: &str, pools: [&str; 2]) -> Output {
    let folder = server.folder();
    let state = folder.join("state");
    let network = |name: &str, pool: &str| {
        json!({
            "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": "none-such", "hairpinMode": true,
            "promiscMode": true,
            "ipam": {
                "type": "meta-ipam", "pool": pool
            }
        })
    };
    let networks = folder.join("networks");
    fs::create_dir_all(&networks).expect("make a folder");
    let nad = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "second", "namespace": "ns"},
        "spec": {"config": network("second", pools[1]).to_string()}
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "ns", "annotations": {"k8s.v1.cni.cncf.io/networks": "second"}}
    });
    fs::write(networks.join("all.yaml"), format!("{nad}\n---\n{pod}\n"))
        .expect("write the networks");
    let conf_dir = folder.join("conf");
    let node_file = conf_dir.join("meta-cni.d/ipam.yaml");
    fs::create_dir_all(conf_dir.join("meta-cni.d")).expect("make a folder");
    let settings = json!({"servers": {"here": {"address": server.address()}}});
    fs::write(&node_file, settings.to_string()).expect("write ipam.yaml");
    fs::set_permissions(&node_file, fs::Permissions::from_mode(0o600)).expect("close ipam.yaml");
    let conf = json!({
        "cniVersion": "1.0.0", "name": "meta", "type": "meta-cni", "networksDir": networks, "stateDir": state,
        "confDir": conf_dir,
        "cniDir": folder.join("multus"), "binDir": "/usr/lib/cni", "delegates": [network("first", pools[0])],
        // What is built in would refuse this before anything is leased.
        "builtinPlugins": "off"
    });
    let program = locate::executable("meta-cni");
    let bin = program.parent().expect("a folder").display().to_string();
    let mut child = Command::new(&program)
        .env_clear()
        .envs([
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_IFNAME", "eth7"),
            ("CNI_PATH", &bin),
            ("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start meta-cni");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(conf.to_string().as_bytes())
        .expect("write the configuration");
    drop(stdin);
    child.wait_with_output().expect("wait for meta-cni")
}

fn message(output: &Output) -> String {
    let object: Value = serde_json::from_slice(&output.stdout).expect("an error object");
    object["msg"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_pod_whose_delegate_fails_gives_all_leases_back_also_those_of_delegates_that_never_ran() {
    let server = IpamServer::start();
    server.create_pool("one", "10.0.0.0/24", "").await;
    server.create_pool("two", "10.0.1.0/24", "").await;
    let failed = meta_cni(&server, "ADD", ["one", "two"]);
    assert!(
        !failed.status.success() && message(&failed).contains("hairpin"),
        "{failed:?}"
    );
    assert_eq!(server.leases().await, []);
    let events = server
        .admin_client()
        .list_events(ListEventsRequest::default())
        .await
        .expect("list events");
    let types: Vec<_> = events
        .into_inner()
        .events
        .iter()
        .skip(2)
        .map(|event| event.r#type())
        .collect();
    let (created, released) = (EventType::Created, EventType::Released);
    assert_eq!(
        types,
        [created, created, released, released],
        "all before the first delegate, all given back"
    );
}

#[tokio::test]
async fn a_pod_that_cannot_have_all_its_leases_has_none_and_no_delegate_runs() {
    let server = IpamServer::start();
    server.create_pool("one", "10.0.0.0/24", "").await;
    server.create_pool("two", "10.0.1.1/32", "").await;
    let taken = server.ipamctl(&["lease", "allocate", "--pool", "two", "--claim", "vm"]);
    assert!(taken.status.success(), "{taken:?}");
    let before = server.pool("one").await;
    let refused = meta_cni(&server, "ADD", ["one", "two"]);
    let text = message(&refused);
    assert!(
        text.contains("pool two has no free IPv4") && text.contains("ns/web"),
        "{text}"
    );
    assert_eq!(server.pool("one").await, before);
    assert_eq!(server.leases().await.len(), 1);
}

#[tokio::test]
async fn a_pod_of_a_network_that_never_can_lease_leaves_nothing_and_is_deleted() {
    let server = IpamServer::start();
    server.create_pool("one", "10.0.0.0/24", "").await;
    let refused = meta_cni(&server, "ADD", ["one", ""]);
    let text = message(&refused);
    assert!(text.contains("ipam.pool"), "{text}");
    let records = server.folder().join("state/attachments");
    let left = || fs::read_dir(&records).expect("a folder").count();
    assert_eq!(left(), 0, "no plugin has run");
    let deleted = meta_cni(&server, "DEL", ["one", ""]);
    assert!(deleted.status.success(), "{deleted:?}");
    assert_eq!(left(), 0);
    assert_eq!(server.leases().await, []);
}
