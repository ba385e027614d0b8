//! ipam-server, ipamctl and meta-ipam with certificates: each file that is wrong is named, with what gave it and what
//! to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::{IpamServer, locate};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ipam::certificates::{Authority, Identity};
use crate::ipam::meta_ipam::{MetaIpam, code, good, json_of};

const HOST: &str = "127.0.0.1";

/// Certificates of all kinds, and a server that wants one of its authority.
struct Scene {
    folder: TempDir,
    authority: Authority,
    other: Authority,
    server: IpamServer,
}

/// A client's files.
#[derive(Clone)]
struct Client {
    ca: PathBuf,
    identity: Option<Identity>,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let authority = Authority::new(folder.path(), "authority");
        let other = Authority::new(folder.path(), "other");
        let identity = authority.issue(folder.path(), "server", HOST);
        let server = serve(&identity, &authority.file);
        Scene {
            folder,
            authority,
            other,
            server,
        }
    }

    fn address(&self) -> String {
        address(&self.server)
    }

    /// The error that each client gets, and the words that must be in it. `names` are those of the authorities,
    /// the certificate and its key, as the program calls them.
    fn wrong_clients(&self, names: [&str; 3]) -> Vec<(&'static str, Client, Vec<String>)> {
        let folder = self.folder.path();
        let [ca_name, cert_name, key_name] = names;
        let node = self.authority.issue(folder, "node", "node");
        let of_other = self.other.issue(folder, "of-other", "node");
        let expired = self.authority.issue_expired(folder, "expired", "node");
        let rubbish = folder.join("rubbish");
        std::fs::write(&rubbish, "no certificate").expect("write rubbish");
        let (ca, other) = (&self.authority.file, &self.other.file);
        let client = |ca: &Path, identity: Option<(&Path, &Path)>| Client {
            ca: ca.to_owned(),
            identity: identity.map(|(cert, key)| Identity {
                cert: cert.to_owned(),
                key: key.to_owned(),
            }),
        };
        let missing = folder.join("missing");
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let named = |file: &str, name: &str| format!("{file} ({name})");
        vec![
            (
                "another authority of the server",
                client(other, Some((&node.cert, &node.key))),
                words(&[&named("other.ca", ca_name), "UnknownIssuer", "renew"]),
            ),
            (
                "no certificate",
                client(ca, None),
                words(&["wants a certificate", cert_name, key_name]),
            ),
            (
                "a certificate of another authority",
                client(ca, Some((&of_other.cert, &of_other.key))),
                words(&[&named("of-other.crt", cert_name), "another authority"]),
            ),
            (
                "an expired certificate",
                client(ca, Some((&expired.cert, &expired.key))),
                words(&[&named("expired.crt", cert_name), "renew it"]),
            ),
            (
                "authorities that are not there",
                client(&missing, None),
                words(&[&named("missing", ca_name), "No such file"]),
            ),
            (
                "rubbish for authorities",
                client(&rubbish, None),
                words(&[&named("rubbish", ca_name), "holds no certificate"]),
            ),
            (
                "rubbish for a certificate",
                client(ca, Some((&rubbish, &node.key))),
                words(&[&named("rubbish", cert_name), "holds no certificate"]),
            ),
            (
                "rubbish for a key",
                client(ca, Some((&node.cert, &rubbish))),
                words(&[&named("rubbish", key_name), "holds no private key"]),
            ),
            (
                "a key of another certificate",
                client(ca, Some((&node.cert, &of_other.key))),
                words(&[&named("node.crt", cert_name), "does not go with"]),
            ),
        ]
    }
}

fn serve(identity: &Identity, clients: &Path) -> IpamServer {
    IpamServer::start_with(&[
        format!("--listen=tcp://{HOST}:0"),
        format!("--tls-cert={}", identity.cert.display()),
        format!("--tls-key={}", identity.key.display()),
        format!("--tls-client-ca={}", clients.display()),
    ])
}

fn address(server: &IpamServer) -> String {
    format!("https://{HOST}:{}", server.tcp_address().port())
}

fn ipamctl(address: &str, client: &Client) -> Output {
    let mut command = Command::new(locate::executable("ipamctl"));
    command
        .env_clear()
        .args(["pool", "list", "-o", "json", "--server", address])
        .arg("--tls-ca")
        .arg(&client.ca);
    if let Some(identity) = &client.identity {
        command.arg("--tls-cert").arg(&identity.cert);
        command.arg("--tls-key").arg(&identity.key);
    }
    command.output().expect("run ipamctl")
}

/// The `ipam` object of a plugin that asks over TLS.
fn ipam(address: &str, client: &Client, state: &Path) -> Value {
    let mut tls = json!({"ca": client.ca});
    if let Some(identity) = &client.identity {
        tls["cert"] = json!(identity.cert);
        tls["key"] = json!(identity.key);
    }
    json!({"ipam": {
        "type": "meta-ipam", "pool": "blue", "server": address, "tls": tls, "stateDir": state, "timeoutSeconds": 5
    }})
}

#[tokio::test]
async fn with_good_certificates_everything_works_over_tcp() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let server = &scene.server;
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let client = Client {
        ca: scene.authority.file.clone(),
        identity: Some(scene.authority.issue(folder, "node", "node")),
    };
    let listed = ipamctl(&scene.address(), &client);
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(json_of(&listed)["pools"][0]["name"], "blue", "{listed:?}");
    let plugin = MetaIpam::of(&server.socket(), folder);
    let over_tls = || ipam(&scene.address(), &client, &plugin.state);
    let added = good(plugin.run("ADD", "c1", over_tls()));
    assert_eq!(added["ips"][0]["address"], "10.0.0.1/24");
    good(plugin.run("DEL", "c1", over_tls()));
    assert!(server.leases().await.is_empty());
    assert_eq!(plugin.waiting(), 0);
}

#[tokio::test]
async fn ipamctl_names_the_file_that_is_wrong_and_its_flag() {
    let scene = Scene::new();
    for (what, client, words) in scene.wrong_clients(["--tls-ca", "--tls-cert", "--tls-key"]) {
        let done = ipamctl(&scene.address(), &client);
        let refusal = String::from_utf8(done.stderr).expect("UTF-8");
        assert!(
            !done.status.success() && done.stdout.is_empty(),
            "{what}: {refusal}"
        );
        assert_eq!(refusal.lines().count(), 1, "{what}: {refusal}");
        for word in words {
            assert!(
                refusal.contains(&word),
                "{what}: {word:?} is not in {refusal}"
            );
        }
    }
}

#[tokio::test]
async fn meta_ipam_names_the_file_that_is_wrong_and_its_key() {
    let scene = Scene::new();
    let plugin = MetaIpam::of(&scene.server.socket(), scene.folder.path());
    for (what, client, words) in
        scene.wrong_clients(["ipam.tls.ca", "ipam.tls.cert", "ipam.tls.key"])
    {
        let more = ipam(&scene.address(), &client, &plugin.state);
        let failed = plugin.run("ADD", "c1", more);
        let object = json_of(&failed);
        let refusal = format!("{} {}", object["msg"], object["details"]);
        for word in &words {
            assert!(
                refusal.contains(word),
                "{what}: {word:?} is not in {refusal}"
            );
        }
        let expected = match what {
            "another authority of the server" => 11,
            "no certificate" | "a certificate of another authority" | "an expired certificate" => {
                50
            }
            _ => 7,
        };
        assert_eq!(code(&failed), expected, "{what}: {refusal}");
    }
}

#[tokio::test]
async fn an_expired_certificate_of_the_server_is_reported_by_both() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let old = scene.authority.issue_expired(folder, "old", HOST);
    let server = serve(&old, &scene.authority.file);
    let client = Client {
        ca: scene.authority.file.clone(),
        identity: Some(scene.authority.issue(folder, "node", "node")),
    };
    let refusal = String::from_utf8(ipamctl(&address(&server), &client).stderr).expect("UTF-8");
    assert!(
        refusal.contains("renew its certificate") && refusal.contains("expired"),
        "{refusal}"
    );
    let plugin = MetaIpam::of(&server.socket(), folder);
    let failed = plugin.run("ADD", "c1", ipam(&address(&server), &client, &plugin.state));
    assert_eq!(code(&failed), 11, "{failed:?}");
    let refusal = json_of(&failed)["msg"].to_string();
    assert!(refusal.contains("renew its certificate"), "{refusal}");
}

#[test]
fn a_server_that_cannot_use_its_certificate_says_which_file_and_ends() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let authority = Authority::new(folder.path(), "authority");
    let good = authority.issue(folder.path(), "good", HOST);
    let second = authority.issue(folder.path(), "second", HOST);
    let rubbish = folder.path().join("rubbish");
    std::fs::write(&rubbish, "no certificate").expect("write rubbish");
    let missing = folder.path().join("missing");
    let (cert, key, ca) = (&good.cert, &good.key, &authority.file);
    for (what, [cert, key, ca], words) in [
        (
            "rubbish for a certificate",
            [&rubbish, key, ca],
            "rubbish (--tls-cert) holds no certificate",
        ),
        (
            "rubbish for a key",
            [cert, &rubbish, ca],
            "rubbish (--tls-key) holds no private key",
        ),
        (
            "rubbish for authorities",
            [cert, key, &rubbish],
            "rubbish (--tls-client-ca) holds no certificate",
        ),
        (
            "a key of another certificate",
            [cert, &second.key, ca],
            "does not go with",
        ),
        (
            "a certificate that is not there",
            [&missing, key, ca],
            "missing (--tls-cert)",
        ),
        (
            "authorities that are not there",
            [cert, key, &missing],
            "missing (--tls-client-ca)",
        ),
    ] {
        let mut command = Command::new(locate::executable("ipam-server"));
        let done = command
            .env_clear()
            .arg(format!(
                "--store-dir={}",
                folder.path().join("store").display()
            ))
            .arg(format!("--listen=tcp://{HOST}:0"))
            .arg("--metrics-listen=127.0.0.1:0")
            .arg(format!("--tls-cert={}", cert.display()))
            .arg(format!("--tls-key={}", key.display()))
            .arg(format!("--tls-client-ca={}", ca.display()))
            .output()
            .expect("run ipam-server");
        let refusal = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{what}: {refusal}");
        assert!(
            refusal.contains(words),
            "{what}: {words:?} is not in {refusal}"
        );
    }
}

#[test]
fn plain_tcp_needs_to_be_asked_for() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let done = Command::new(locate::executable("ipam-server"))
        .env_clear()
        .arg(format!(
            "--store-dir={}",
            folder.path().join("store").display()
        ))
        .arg(format!("--listen=tcp://{HOST}:0"))
        .arg("--metrics-listen=127.0.0.1:0")
        .output()
        .expect("run ipam-server");
    let refusal = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{refusal}");
    assert!(
        refusal.contains("--tls-cert") && refusal.contains("--insecure"),
        "{refusal}"
    );
}
