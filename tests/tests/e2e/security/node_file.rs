//! Where a network leases, by which certificates, and where releases wait: the node says it in its own file, and a
//! NetworkAttachmentDefinition does not. What a tenant names is neither opened nor made nor connected.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use e2e::{IpamServer, Node, locate};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

/// A network of a recorder that would lease by meta-ipam, with these keys of `ipam`.
fn leasing(node: &Node, ipam: Value) -> Value {
    let mut conf = node.recording("red", json!({}));
    conf["ipam"] = json!({ "type": "meta-ipam", "pool": "p" });
    e2e::merge::merge(&mut conf["ipam"], &ipam);
    conf
}

/// What is done to the node's file.
type Change = fn(&Path);

#[track_caller]
fn refused(node: &Node, what: &str, conf: Value, words: &[&str]) {
    node.nad("default", "red", conf);
    let pod = node.pod("default", "web").networks("red").create();
    let failed = node.add(&pod);
    failed.fails(7, words);
    assert!(failed.error().1.contains("default/red"), "{what}: {failed}");
    assert!(node.calls().is_empty(), "{what}: {:?}", node.calls());
}

#[tokio::test]
async fn each_key_of_the_node_is_refused_and_what_it_names_is_left_alone() {
    let server = IpamServer::start();
    server.create_pool("p", "10.0.0.0/24", "").await;
    let node = Node::recorder("node-keys");
    node.leases_from(&server.address(), json!({}));
    let at = |name: &str| node.folder().join(name);
    let listener = UnixListener::bind(at("tenant.sock")).expect("listen");
    listener.set_nonblocking(true).expect("not wait");
    // Whoever opens it to read waits for ever.
    mkfifo(&at("fifo"), Mode::S_IRWXU).expect("make a FIFO");
    let socket = format!("unix://{}", at("tenant.sock").display());
    let tls = json!({ "ca": at("fifo"), "cert": at("fifo"), "key": at("fifo") });
    let remedy = "put it in the node's ipam.yaml";
    for (what, ipam, words) in [
        (
            "server",
            json!({ "server": socket }),
            vec!["ipam.server", remedy],
        ),
        ("tls", json!({ "tls": tls }), vec!["ipam.tls", remedy]),
        (
            "server with tls",
            json!({ "server": "https://127.0.0.1:1", "tls": tls }),
            vec!["ipam.server", remedy],
        ),
        (
            "stateDir",
            json!({ "stateDir": at("tenant") }),
            vec!["ipam.stateDir", remedy],
        ),
        (
            "node",
            json!({ "node": "other" }),
            vec!["ipam.node", remedy],
        ),
        (
            "timeoutSeconds",
            json!({ "timeoutSeconds": 60 }),
            vec!["ipam.timeoutSeconds", remedy],
        ),
        (
            "in another case",
            json!({ "SERVER": socket }),
            vec!["\"server\" in another case"],
        ),
        (
            "network",
            json!({ "network": "bank/blue" }),
            vec!["ipam.network", "set by meta-cni"],
        ),
        (
            "a name that is not there",
            json!({ "serverName": "x" }),
            vec!["ipam.serverName"],
        ),
        (
            "a name that is not open",
            json!({ "serverName": "here" }),
            vec!["ipam.serverName"],
        ),
    ] {
        refused(&node, what, leasing(&node, ipam.clone()), &words);
        let second = json!({
            "cniVersion": "1.0.0", "name": "red", "plugins": [node.recording("red", json!({})), leasing(&node, ipam)],
        });
        refused(&node, what, second, &words);
    }
    let connected = listener.accept().map_err(|error| error.kind());
    assert_eq!(
        connected.map(|_| ()),
        Err(ErrorKind::WouldBlock),
        "connected"
    );
    assert!(!at("tenant").exists(), "a state folder was made");
    assert!(server.leases().await.is_empty());
    refused(
        &node,
        "a delegate of flannel",
        json!({
            "cniVersion": "1.0.0", "name": "red", "type": "flannel",
            "delegate": { "ipam": { "type": "meta-ipam", "server": socket } },
        }),
        &["ipam.server", remedy],
    );
}

#[tokio::test]
async fn the_node_s_file_says_where_networks_lease_and_which_servers_they_may_name() {
    let (near, far) = (IpamServer::start(), IpamServer::start());
    for server in [&near, &far] {
        server.create_pool("p", "10.0.0.0/24", "").await;
    }
    let node = Node::recorder("node-file");
    let settings = json!({
        "default": "near", "node": "worker-1", "timeoutSeconds": 3,
        "servers": {
            "near": { "address": near.address() },
            "far": { "address": far.address(), "tenantsMayName": true },
        },
    });
    node.ipam_file(&settings);
    for (ipam, server) in [(json!({}), &near), (json!({ "serverName": "far" }), &far)] {
        node.nad("default", "red", leasing(&node, ipam));
        let pod = node.pod("default", "web").networks("red").create();
        node.add(&pod).ok();
        let owner = server.leases().await[0].owner.clone().expect("an owner");
        assert_eq!(
            (owner.node.as_str(), owner.pod.as_str()),
            ("worker-1", "web")
        );
        // The DEL asks the server that the pod leased from, whatever the file says by then.
        node.ipam_file(&json!({ "servers": { "none": { "address": "unix:///none" } } }));
        node.del(&pod).ok();
        assert!(server.leases().await.is_empty());
        node.ipam_file(&settings);
    }
    // A file of the administrator may keep the keys, and name any server.
    let own = json!({ "server": far.address(), "node": "worker-2", "stateDir": node.state_dir(), "timeoutSeconds": 3 });
    for (ipam, server) in [(own, &far), (json!({ "serverName": "near" }), &near)] {
        node.conf_file("red.conf", &leasing(&node, ipam));
        node.nad("default", "red", json!(""));
        let pod = node.pod("default", "web").networks("red").create();
        node.add(&pod).ok();
        assert_eq!(server.leases().await.len(), 1);
        node.del(&pod).ok();
    }
}

#[test]
fn a_file_that_others_can_change_or_that_makes_no_sense_is_not_used_and_not_shown() {
    let node = Node::recorder("open-file");
    let path = node.conf_dir().join("meta-cni.d/ipam.yaml");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set the mode");
    };
    let secret = json!({ "servers": { "secret": { "address": "unix:///secret.sock" } } });
    let cases: [(&str, Change, &str); 5] = [
        (
            "writable by all",
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("chmod"),
            "can be changed by others",
        ),
        (
            "of another user",
            |path| std::os::unix::fs::chown(path, Some(65_534), None).expect("chown"),
            "can be changed by others",
        ),
        (
            "no YAML",
            |path| fs::write(path, "servers:\n  secret: [").expect("write"),
            "cannot be understood at line",
        ),
        (
            "unknown key",
            |path| fs::write(path, "secret: 1").expect("write"),
            "cannot be understood",
        ),
        (
            "a FIFO",
            |path| {
                fs::remove_file(path).expect("remove");
                mkfifo(path, Mode::S_IRWXU).expect("make a FIFO");
            },
            "cannot be read",
        ),
    ];
    for (what, change, words) in cases {
        let _absent = fs::remove_file(&path);
        node.ipam_file(&secret);
        change(&path);
        refused(
            &node,
            what,
            leasing(&node, json!({})),
            &["the node's ipam.yaml", words],
        );
        let pod = node.pod("default", "web").networks("red").create();
        let reported = node.add(&pod).stdout;
        for hidden in ["secret", "meta-cni.d"] {
            assert!(!reported.contains(hidden), "{what}: {reported}");
        }
    }
    let _fifo = fs::remove_file(&path);
    node.ipam_file(&secret);
    set_mode(path.parent().expect("a folder"), 0o777);
    refused(
        &node,
        "folder",
        leasing(&node, json!({})),
        &["can be changed by others"],
    );
}

/// A runtime without meta-cni executes a plugin, and the plugin meta-ipam: the usual file serves it.
#[tokio::test]
async fn meta_ipam_alone_leases_by_the_usual_file() {
    let server = IpamServer::start();
    server.create_pool("p", "10.0.0.0/24", "").await;
    let node = Node::recorder("alone");
    node.leases_from(
        &server.address(),
        json!({ "node": "worker-1", "stateDir": node.state_dir() }),
    );
    let folder = node.conf_dir().join("meta-cni.d");
    let in_place = format!(
        "mount -t tmpfs tmpfs /etc && mkdir -p /etc/cni/net.d && cp -rp {} /etc/cni/net.d && exec \"$@\"",
        folder.display()
    );
    let pod = node.pod("default", "web").create();
    let conf = json!({
        "cniVersion": "1.0.0", "name": "red", "type": "bridge", "ipam": { "type": "meta-ipam", "pool": "p" },
    });
    let call = |verb: &str| {
        node.call(verb)
            .pod(&pod)
            .program(&locate::executable("meta-ipam"))
            .whole_conf(conf.clone())
            .under(["unshare", "--mount", "sh", "-c", &in_place, "sh"])
            .run()
    };
    call("ADD").ok();
    let owner = server.leases().await[0].owner.clone().expect("an owner");
    assert_eq!(
        (owner.node.as_str(), owner.network.as_str()),
        ("worker-1", "red")
    );
    call("DEL").ok();
    assert!(server.leases().await.is_empty());
}

/// A definition without text hands a file of the node out: with isolation, that is for shared namespaces only.
#[test]
fn a_definition_that_names_a_file_of_the_node_obeys_isolation() {
    let node = Node::recorder("files").conf(json!({
        "namespaceIsolation": true, "globalNamespaces": "shared",
    }));
    node.conf_file("node.conf", &node.recording("node", json!({})));
    for namespace in ["shop", "shared"] {
        node.nad(namespace, "node", json!(""));
    }
    let add = |networks: &str| {
        let pod = node.pod("shop", "web").networks(networks).create();
        node.add(&pod)
    };
    add("node").fails(7, &["shop/node", "namespaceIsolation"]);
    assert!(node.calls().is_empty());
    add("shared/node").ok();
    let open = node.conf(json!({ "namespaceIsolation": false }));
    let pod = open.pod("shop", "web").networks("node").create();
    open.add(&pod).ok();
}
