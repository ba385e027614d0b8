//! TCP: with TLS and certificates on both sides, or plain on loopback if somebody insists.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use e2e::ipam::certificates::{Authority, Identity};
use e2e::{IpamServer, locate};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plugin::{code, good, json_of, plugin};

/// A server with certificates on both sides, and those who may or may not ask it.
struct Scene {
    server: IpamServer,
    ours: Authority,
    client: Identity,
    theirs: Authority,
    stranger: Identity,
    folder: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let ours = Authority::new(folder.path(), "ours");
        let theirs = Authority::new(folder.path(), "theirs");
        let identity = ours.sign("127.0.0.1");
        let server = IpamServer::start_with(&[
            "--listen=tcp://127.0.0.1:0",
            &format!("--tls-cert={}", identity.cert.display()),
            &format!("--tls-key={}", identity.key.display()),
            &format!("--tls-client-ca={}", ours.ca().display()),
        ]);
        Scene {
            server,
            client: ours.sign("client"),
            stranger: theirs.sign("client"),
            ours,
            theirs,
            folder,
        }
    }

    fn port(&self) -> u16 {
        self.server.tcp_address().port()
    }

    /// ipamctl at the port, trusting `ca`, as `identity`.
    fn ipamctl(&self, ca: &Path, identity: Option<&Identity>, words: &[&str]) -> Told {
        let url = format!("https://127.0.0.1:{}", self.port());
        let mut command = ipamctl(&url);
        command.arg("--tls-ca").arg(ca);
        if let Some(identity) = identity {
            command.arg("--tls-cert").arg(&identity.cert);
            command.arg("--tls-key").arg(&identity.key);
        }
        told(command.args(words))
    }
}

/// Exit code, stdout and stderr.
type Told = (Option<i32>, String, String);

fn ipamctl(url: &str) -> Command {
    let mut command = Command::new(locate::executable("ipamctl"));
    command.args(["--server", url]);
    command
}

fn told(command: &mut Command) -> Told {
    let output = command.output().expect("run it");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn who_has_a_certificate_of_the_authority_is_let_in_and_the_history_says_how_it_came() {
    let scene = Scene::new();
    let known = Some(&scene.client);
    let words = ["pool", "create", "blue", "--ipv4-cidr", "10.0.0.0/24"];
    let (code, _, error) = scene.ipamctl(scene.ours.ca(), known, &words);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let (code, shown, _) = scene.ipamctl(scene.ours.ca(), known, &["history", "-o", "json"]);
    let history: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(history["events"][0]["actor"], "tls:127.0.0.1");
    // The socket is there beside it.
    let pools = scene.server.ipamctl_json(&["pool", "list"]);
    assert_eq!(pools["pools"][0]["name"], "blue");
}

#[test]
fn who_does_not_is_refused_and_told_why_in_one_line() {
    let scene = Scene::new();
    let (ours, theirs) = (scene.ours.ca(), scene.theirs.ca());
    for (ca, identity, words) in [
        (
            ours,
            None,
            [
                "CertificateRequired",
                "--tls-cert and --tls-key show who you are",
            ],
        ),
        (ours, Some(&scene.stranger), ["UnknownCA", "--tls-cert"]),
        (theirs, Some(&scene.client), ["UnknownIssuer", "--tls-ca"]),
    ] {
        let (code, out, error) = scene.ipamctl(ca, identity, &["pool", "list"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        assert!(
            words.iter().all(|word| error.contains(word)),
            "{words:?}: {error}"
        );
        assert!(
            error.starts_with("error: ") && error.lines().count() == 1,
            "{error}"
        );
    }
    let elsewhere = ipamctl(&format!("https://localhost:{}", scene.port()))
        .arg("--tls-ca")
        .arg(ours)
        .args(["pool", "list"])
        .output()
        .expect("run ipamctl");
    let error = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert!(
        error.contains("not valid for name \"localhost\""),
        "{error}"
    );
    let plain = told(ipamctl(&format!("http://127.0.0.1:{}", scene.port())).args(["pool", "list"]));
    assert_eq!(
        (plain.0, plain.2.lines().count()),
        (Some(1), 1),
        "{plain:?}"
    );
    assert!(
        plain.2.contains("no ipam-server at http://127.0.0.1:"),
        "{plain:?}"
    );
    assert_eq!(
        scene.server.ipamctl_json(&["history"]),
        json!({"events": []}),
        "nobody came in"
    );
}

#[test]
fn a_file_of_a_certificate_that_cannot_be_used_is_named() {
    let scene = Scene::new();
    let missing = scene.folder.path().join("missing.crt");
    let (code, _, error) = scene.ipamctl(&missing, Some(&scene.client), &["pool", "list"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("missing.crt cannot be read"), "{error}");
    let rubbish = scene.folder.path().join("rubbish.crt");
    std::fs::write(&rubbish, "no certificate").expect("write a file");
    let (code, _, error) = scene.ipamctl(&rubbish, Some(&scene.client), &["pool", "list"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("rubbish.crt"), "{error}");
    let mixed = Identity {
        cert: scene.client.cert.clone(),
        key: rubbish,
    };
    let (code, _, error) = scene.ipamctl(scene.ours.ca(), Some(&mixed), &["pool", "list"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("rubbish.crt"), "{error}");
}

#[test]
fn rubbish_on_the_port_leaves_everybody_else_served() {
    let scene = Scene::new();
    for rubbish in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 70_000],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(scene.server.tcp_address()).expect("connect");
        // The server may hang up before it has read all of it.
        let _refused = stream.write_all(rubbish);
        let _hung_up = stream.shutdown(std::net::Shutdown::Write);
        let _reset = stream.read_to_end(&mut Vec::new());
        let (code, _, error) =
            scene.ipamctl(scene.ours.ca(), Some(&scene.client), &["pool", "list"]);
        assert_eq!(code, Some(0), "{error}");
    }
}

/// An ipam-server that must refuse its settings, and what it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let mut command = Command::new(locate::executable("ipam-server"));
    command
        .args(["--store=memory", "--metrics-listen=127.0.0.1:0"])
        .args(arguments)
        .current_dir(folder.path());
    let (code, _, error) = told(&mut command);
    let last = error.lines().last().expect("a line").to_owned();
    (code, last)
}

#[test]
fn plain_tcp_is_refused_with_the_remedy_unless_somebody_insists_and_stays_on_loopback() {
    for arguments in [
        &["--listen=tcp://127.0.0.1:0"][..],
        &["--listen=tcp://0.0.0.0:0", "--insecure"],
        &["--listen=tcp://[::]:0", "--insecure"],
    ] {
        let (code, error) = refused(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(
            error.starts_with("ipam-server: --listen tcp://")
                && error.ends_with(
                    "TCP needs --tls-cert and --tls-key (or --insecure, on loopback only)"
                ),
            "{arguments:?}: {error}"
        );
    }
    let server = IpamServer::start_with(&["--listen=tcp://127.0.0.1:0", "--insecure"]);
    let url = format!("http://{}", server.tcp_address());
    let words = ["pool", "create", "blue", "--ipv4-cidr", "10.0.0.0/24"];
    assert_eq!(told(ipamctl(&url).args(words)).0, Some(0));
    let history = server.ipamctl_json(&["history"]);
    assert_eq!(history["events"][0]["actor"], "127.0.0.1");
}

#[test]
fn a_server_whose_certificate_cannot_be_used_says_which_file_and_does_not_start() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let ours = Authority::new(folder.path(), "ours");
    let (one, two) = (ours.sign("one"), ours.sign("two"));
    let missing = folder.path().join("missing.pem");
    let rubbish = folder.path().join("rubbish.pem");
    std::fs::write(&rubbish, "no certificate").expect("write a file");
    for (cert, key, ca, word) in [
        (&missing, &one.key, ours.ca(), "missing.pem"),
        (&one.cert, &missing, ours.ca(), "missing.pem"),
        (&one.cert, &one.key, missing.as_path(), "missing.pem"),
        (&rubbish, &one.key, ours.ca(), "rubbish.pem"),
        (&one.cert, &rubbish, ours.ca(), "rubbish.pem"),
        (&one.cert, &one.key, rubbish.as_path(), "rubbish.pem"),
        (&one.cert, &two.key, ours.ca(), "two.key"),
    ] {
        let (code, error) = refused(&[
            "--listen=tcp://127.0.0.1:0",
            &format!("--tls-cert={}", cert.display()),
            &format!("--tls-key={}", key.display()),
            &format!("--tls-client-ca={}", ca.display()),
        ]);
        assert_eq!(code, Some(1), "{word}: {error}");
        assert!(error.contains(word), "{word}: {error}");
    }
}

/// The `ipam` object of meta-ipam at the scene's port.
fn over_https(scene: &Scene, tls: Value) -> Value {
    json!({"ipam": {
        "type": "meta-ipam", "pool": "blue", "node": "n1", "timeoutSeconds": 2,
        "server": format!("https://127.0.0.1:{}", scene.port()), "tls": tls,
        "stateDir": scene.server.folder().join("state")
    }})
}

#[tokio::test]
async fn meta_ipam_leases_over_tls_with_a_certificate_and_is_refused_without() {
    let scene = Scene::new();
    scene
        .server
        .create_pool("blue", "10.0.0.0/29", "fd00::/64")
        .await;
    let (ours, client) = (scene.ours.ca(), &scene.client);
    let known = over_https(
        &scene,
        json!({"ca": ours, "cert": client.cert, "key": client.key}),
    );
    let result = good(plugin(&scene.server, "ADD", "c1", known.clone()));
    assert_eq!(result["ips"][0]["address"], "10.0.0.1/29");
    let mut check = known.clone();
    check["prevResult"] = result;
    good(plugin(&scene.server, "CHECK", "c1", check));
    good(plugin(&scene.server, "STATUS", "", known.clone()));
    good(plugin(&scene.server, "DEL", "c1", known));
    assert_eq!(scene.server.leases().await, []);

    let stranger = &scene.stranger;
    for (tls, word) in [
        (json!({"ca": ours}), "CertificateRequired"),
        (
            json!({"ca": ours, "cert": stranger.cert, "key": stranger.key}),
            "UnknownCA",
        ),
        (
            json!({"ca": scene.theirs.ca(), "cert": client.cert, "key": client.key}),
            "UnknownIssuer",
        ),
    ] {
        let conf = over_https(&scene, tls);
        let add = plugin(&scene.server, "ADD", "c1", conf.clone());
        assert_eq!(code(&add), 11, "{add:?}");
        let told = json_of(&add)["msg"].as_str().expect("a text").to_owned();
        assert!(
            told.contains(word) && told.contains("ipam.tls") && told.len() < 300,
            "{told}"
        );
        assert_eq!(code(&plugin(&scene.server, "STATUS", "", conf)), 50);
    }
    let missing = over_https(&scene, json!({"ca": "/missing.crt"}));
    let add = plugin(&scene.server, "ADD", "c1", missing);
    assert_eq!(code(&add), 7, "{add:?}");
    assert_eq!(scene.server.leases().await, []);
}
