//! Faults of what gives addresses: ipam-server, its certificate and pools, and the folders of host-local.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::{Daemon, IpamServer, Node, locate, wait_until};
use serde_json::json;

use super::{Fault, fault, warning};
use crate::doctor::scene::{Scene, address, attached, ipamctl, leasing, pool};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "ipam-server away",
        &["ipam-server at unix://", "ipam.sock does not answer"],
        server_away,
    ),
    fault(
        "ipam-server's certificate expired",
        &[
            "the certificate of ipam-server at https://127.0.0.1:7443 has expired: it was good until 2021-",
        ],
        expired_certificate,
    ),
    fault(
        "unknown pool",
        &["pool green is not known to ipam-server"],
        unknown_pool,
    ),
    fault(
        "pool exhausted",
        &["pool blue has no free IPv4 address"],
        exhausted,
    ),
    fault("pool cordoned", &["pool blue is cordoned"], cordoned),
    warning(
        "pool nearly full",
        &["pool blue has 1 of 2 IPv4 addresses left"],
        nearly_full,
    ),
    warning(
        "first of two pools exhausted",
        &["pool blue has no free IPv4 address"],
        first_exhausted,
    ),
    fault(
        "ipam names no pool",
        &["network default/blue of pod default/web: ipam.pool"],
        no_pool,
    ),
    fault(
        "dhcp daemon away",
        &[
            "the daemon of the IPAM plugin dhcp does not listen on ",
            "/dhcp.sock",
        ],
        dhcp_away,
    ),
    fault(
        "a server in a NAD",
        &["network default/blue: its ipam.server is not for a NetworkAttachmentDefinition to say"],
        server_in_nad,
    ),
    fault(
        "ipam.yaml that others can write",
        &["network default/blue: the node's ipam.yaml can be changed by others than root"],
        open_ipam_file,
    ),
    fault(
        "host-local full",
        &["host-local has no address of 10.2.0.0/30 left: all 1 are taken"],
        host_local_full,
    ),
];

/// A server with pool `blue` of these addresses, and a pod whose network leases from `pools`.
fn with_server(name: &str, ipv4: &str, pools: &[&str]) -> (Scene, IpamServer) {
    let server = IpamServer::start();
    pool(&server, "blue", ipv4);
    let scene = Scene::with_blue(name, |node| leasing(node, &address(&server), pools));
    (scene, server)
}

fn lease(server: &IpamServer, claim: &str) {
    ipamctl(
        server,
        &["lease", "allocate", "--pool", "blue", "--claim", claim],
    );
}

fn server_away() -> Scene {
    let (scene, mut server) = with_server("ipam-away", "10.2.0.0/24", &["blue"]);
    server.stop();
    scene
}

fn unknown_pool() -> Scene {
    let (scene, server) = with_server("unknown", "10.2.0.0/24", &["green"]);
    scene.keep(server)
}

fn exhausted() -> Scene {
    let (scene, server) = with_server("exhausted", "10.2.0.1/32", &["blue"]);
    lease(&server, "one");
    scene.keep(server)
}

fn cordoned() -> Scene {
    let (scene, server) = with_server("cordoned", "10.2.0.0/24", &["blue"]);
    ipamctl(&server, &["pool", "cordon", "blue"]);
    scene.keep(server)
}

fn nearly_full() -> Scene {
    let (scene, server) = with_server("nearly", "10.2.0.0/31", &["blue"]);
    lease(&server, "one");
    scene.keep(server)
}

fn first_exhausted() -> Scene {
    let (scene, server) = with_server("first", "10.2.0.1/32", &["blue", "more"]);
    pool(&server, "more", "10.3.0.0/24");
    lease(&server, "one");
    scene.keep(server)
}

fn no_pool() -> Scene {
    let (scene, server) = with_server("no-pool", "10.2.0.0/24", &[]);
    scene.keep(server)
}

fn server_in_nad() -> Scene {
    Scene::with_blue("nad-server", |node| {
        let mut blue = leasing(node, "unix:///run/none.sock", &["blue"]);
        blue["ipam"]["server"] = json!("unix:///run/none.sock");
        blue
    })
}

fn open_ipam_file() -> Scene {
    let scene = Scene::with_blue("open-file", |node| {
        leasing(node, "unix:///run/none.sock", &["blue"])
    });
    let file = scene.node.conf_dir().join("meta-cni.d/ipam.yaml");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(file, open).expect("open the file");
    scene
}

fn dhcp_away() -> Scene {
    Scene::with_blue("dhcp", |node| {
        let mut blue = node.side_bridge("br-blue", &[]);
        let socket = node.folder().join("dhcp.sock");
        blue["ipam"] = json!({ "type": "dhcp", "daemonSocketPath": socket });
        blue
    })
}

fn host_local_full() -> Scene {
    let scene = Scene::new("host-local");
    scene.node.nad(
        "default",
        "blue",
        scene.node.side_bridge("br-blue", &["10.2.0.0/30"]),
    );
    attached(&scene.node, "first", "blue");
    scene
}

/// A server with TLS in the node's own namespace, whose certificate is good no more.
fn expired_certificate() -> Scene {
    let node = Node::new("certificate");
    let (certificate, key) = expired(&node);
    let ready = node.folder().join("ready.json");
    let mut command = Command::new(locate::executable("ipam-server"));
    command
        .arg("--listen=tcp://127.0.0.1:7443")
        .arg(format!(
            "--store-dir={}",
            node.folder().join("store").display()
        ))
        .arg(format!("--tls-cert={}", certificate.display()))
        .arg(format!("--tls-key={}", key.display()))
        .arg("--insecure-any-client")
        .arg("--metrics-listen=127.0.0.1:0")
        .arg(format!("--ready-file={}", ready.display()));
    let log = node.folder().join("ipam-server.log");
    let server = node.host().run(|| Daemon::start(command, &log));
    wait_until("ipam-server serves", PATIENCE, || {
        ready.exists().then_some(())
    });
    let address = "https://127.0.0.1:7443";
    let blue = leasing(&node, address, &["blue"]);
    let server_by_tls = json!({ "address": address, "tls": { "ca": certificate } });
    node.leases_from(
        address,
        json!({ "servers": { "here": server_by_tls }, "timeoutSeconds": 1 }),
    );
    node.nad("default", "blue", blue);
    node.pod("default", "web").networks("blue").create();
    Scene::of(node).keep(server)
}

/// Writes a certificate for 127.0.0.1 that ended with the year 2020, and its key.
fn expired(node: &Node) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().expect("make a key");
    let mut params =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&key).expect("make a certificate");
    let (cert_file, key_file) = (node.folder().join("tls.crt"), node.folder().join("tls.key"));
    fs::write(&cert_file, certificate.pem()).expect("write a certificate");
    fs::write(&key_file, key.serialize_pem()).expect("write a key");
    (cert_file, key_file)
}
