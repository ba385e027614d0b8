//! How the doctor answers: causes before what follows from them, one pod alone, nothing changed, exit status.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use e2e::{IpamServer, Node};
use serde_json::json;

use crate::doctor::scene::{Scene, address, attached, leasing, pool, snapshot};

#[track_caller]
fn assert_begins(causes: &[String], expected: &[&str]) {
    assert_eq!(causes.len(), expected.len(), "{causes:#?}");
    for (cause, begin) in causes.iter().zip(expected) {
        assert!(
            cause.starts_with(begin),
            "{begin:?} is not the begin of: {causes:#?}"
        );
    }
}

#[test]
fn a_server_that_is_away_comes_before_the_releases_that_wait_for_it() {
    let mut server = IpamServer::start();
    pool(&server, "blue", "10.2.0.0/24");
    let scene = Scene::with_blue("waits", |node| leasing(node, &address(&server), &["blue"]));
    let pod = attached(&scene.node, "gone", "blue");
    server.stop();
    scene.node.del(&pod).ok();
    assert_begins(
        &scene.causes(&[]),
        &["ipam-server at unix://", "1 release of leases wait"],
    );
}

#[test]
fn a_configuration_that_is_not_used_comes_before_all_that_is_wrong_in_it() {
    let scene =
        Scene::of(Node::new("all").conf(json!({ "readinessindicatorfile": "/absent/ready" })));
    let node = &scene.node;
    scene.write_conf(
        "00-aaa.conf",
        r#"{"cniVersion": "1.0.0", "name": "a", "type": "ptp"}"#,
    );
    node.nad(
        "default",
        "blue",
        json!({ "cniVersion": "1.0.0", "name": "b", "type": "macvlan", "master": "eth7" }),
    );
    node.nad(
        "default",
        "red",
        json!({ "cniVersion": "1.0.0", "name": "r", "type": "no-such-plugin" }),
    );
    node.nad("default", "bad", json!("{"));
    node.pod("default", "web")
        .networks("blue, red, bad, red@net1")
        .create();
    let old = attached_and_broken(node);
    assert_begins(
        &scene.causes(&[]),
        &[
            "the runtime uses",
            "readinessindicatorfile",
            "plugin \"no-such-plugin\" is not in",
            "interface eth7, the master of macvlan",
            "network default/bad: its configuration",
            "pod default/web: network default/red: interface net1",
            &old,
        ],
    );
}

/// A record that cannot be read; gives how its finding begins.
fn attached_and_broken(node: &Node) -> String {
    let folder = node.state_dir().join("attachments");
    fs::create_dir(&folder).expect("make a folder");
    let path = folder.join("abc.json");
    fs::write(&path, "rubbish").expect("write a record");
    format!("{} is not a record", path.display())
}

/// A kubeconfig that names this API server.
fn kubeconfig(node: &Node, server: &str) -> PathBuf {
    let path = node.folder().join("silent.kubeconfig");
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": { "server": server, "insecure-skip-tls-verify": true } }],
        "users": [{ "name": "u", "user": { "token": "t" } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    fs::write(&path, text.to_string()).expect("write a kubeconfig");
    path
}

/// Everything is there, and nothing answers: the agent, the API server, ipam-server, a plugin.
#[test]
fn what_does_not_answer_is_reported_within_its_limit() {
    let node = Node::new("silent").with_agent();
    let silent_socket = |path: &std::path::Path| {
        let folder = path.parent().expect("a file has a folder");
        fs::create_dir_all(folder).expect("make a folder");
        let listener = UnixListener::bind(path).expect("listen on a socket");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("close a socket");
        listener
    };
    let agent = silent_socket(&node.agent_socket());
    let ipam = node.folder().join("silent-ipam.sock");
    let server = silent_socket(&ipam);
    let api = node
        .host()
        .run(|| TcpListener::bind("127.0.0.1:0").expect("listen on a port"));
    let port = api.local_addr().expect("a listener has an address").port();
    let kubeconfig = kubeconfig(&node, &format!("https://127.0.0.1:{port}"));
    let hanging = node.bin_dir().join("hanging");
    fs::write(&hanging, "#!/bin/sh\nexec sleep 60\n").expect("write a plugin");
    fs::set_permissions(&hanging, fs::Permissions::from_mode(0o755)).expect("make it executable");
    let mut network = leasing(&node, &format!("unix://{}", ipam.display()), &["blue"]);
    network["type"] = json!("hanging");
    network["name"] = json!("main");
    network["cniVersion"] = json!("1.0.0");
    let conf = json!({ "kubeconfig": kubeconfig, "delegates": [network] });
    let scene = Scene::of(node.conf(conf)).keep((agent, server, api));
    assert_begins(
        &scene.causes(&[]),
        &[
            &format!(
                "the API server https://127.0.0.1:{port}/ does not serve us: no answer within"
            ),
            "plugin \"hanging\" does not answer VERSION: no answer within",
            &format!("ipam-server at unix://{} does not", ipam.display()),
            "what listens on ",
        ],
    );
}

/// In a mount namespace of its own, where the name server is another one; one that hangs fails within a minute.
const WITH_NAME_SERVER: &str =
    r#"mount --bind "$1" /etc/resolv.conf && shift && exec timeout 60 "$@""#;

#[test]
fn a_name_server_that_is_silent_is_not_waited_for() {
    let node = Node::new("names");
    let bind = || UdpSocket::bind("127.0.0.1:53").expect("listen on a port");
    let name_server = node.host().run(bind);
    let resolv_conf = node.folder().join("resolv.conf");
    let patient = "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n";
    fs::write(&resolv_conf, patient).expect("write a resolv.conf");
    let kubeconfig = kubeconfig(&node, "https://api.example:6443");
    let conf = json!({ "networksDir": null, "agentSocket": "", "kubeconfig": kubeconfig });
    let scene = Scene::of(node.conf(conf)).keep(name_server);
    let words = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        WITH_NAME_SERVER,
        "sh",
        resolv_conf.to_str().expect("text"),
    ];
    let output = scene.doctor_under(&words);
    let text = String::from_utf8_lossy(&output.stdout);
    let first =
        "fault: the API server https://api.example:6443/ does not serve us: no answer within";
    assert!(text.starts_with(first), "{output:?}");
}

#[test]
fn a_pod_is_planned_as_add_would_and_nothing_else_is_reported() {
    let scene = Scene::new("pod");
    let node = &scene.node;
    node.nad(
        "default",
        "blue",
        json!({ "cniVersion": "1.0.0", "name": "b", "type": "no-such-plugin" }),
    );
    node.nad(
        "default",
        "red",
        node.side_bridge("br-red", &["10.2.0.0/24"]),
    );
    node.nad("default", "device", json!("{"));
    node.pod("default", "other")
        .networks("blue, device")
        .create();
    node.pod("default", "web")
        .networks("red@net9, red@net9, missing")
        .create();
    node.pod("default", "good").networks("red").create();
    assert_begins(
        &scene.causes(&["--pod", "default/web"]),
        &[
            "network default/missing: there is no such NetworkAttachmentDefinition",
            "pod default/web: network default/red: interface net9",
        ],
    );
    assert_begins(&scene.causes(&["--pod", "good"]), &[]);
    assert_begins(&scene.causes(&["--pod", "absent"]), &["pod default/absent"]);
}

#[test]
fn a_device_that_a_pod_did_not_get_is_reported_with_the_pod() {
    let node = Node::new("device");
    let kubelet = node.folder().join("kubelet");
    let scene = Scene::of(node.conf(json!({ "kubeletDir": kubelet })));
    let node = &scene.node;
    let annotations = [("k8s.v1.cni.cncf.io/resourceName", "example.com/nic")];
    node.nad_with(
        "default",
        "nic",
        &annotations,
        node.side_bridge("br-nic", &["10.2.0.0/24"]),
    );
    node.pod("default", "web").networks("nic").create();
    assert_begins(
        &scene.causes(&["--pod", "web"]),
        &["pod default/web: cannot learn the devices of pod default/web"],
    );
}

#[test]
fn nothing_is_changed() {
    let mut server = IpamServer::start();
    pool(&server, "blue", "10.2.0.0/24");
    let scene = Scene::with_blue("unchanged", |node| {
        leasing(node, &address(&server), &["blue"])
    });
    let pod = attached(&scene.node, "one", "blue");
    let gone = attached(&scene.node, "two", "blue");
    server.stop();
    scene.node.del(&gone).ok();
    fs::write(scene.node.state_dir().join("attachments/x.json"), "{").expect("write a record");
    let namespaces = [scene.node.host(), pod.netns()];
    let before = snapshot(&scene, &namespaces);
    assert!(!scene.causes(&[]).is_empty());
    assert!(!scene.causes(&["--pod", "web"]).is_empty());
    assert_eq!(snapshot(&scene, &namespaces), before);
}

#[test]
fn wrong_arguments_have_another_exit_status_than_faults() {
    let scene = Scene::new("usage");
    for arguments in [["--pod", "a/b/c"], ["--output", "xml"], ["--none", "x"]] {
        let output = scene.doctor(&arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{output:?}"
        );
    }
}
