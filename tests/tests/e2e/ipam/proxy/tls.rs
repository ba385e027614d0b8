//! The connection between agent and ipam-server with certificates on both sides: what is wrong with one is reported with
//! its file, and a renewed one is used without a restart.

use std::path::Path;

use e2e::IpamServer;
use e2e::ipam::request;
use proto::ipam::v1::WatchRequest;
use serde_json::json;
use tempfile::TempDir;
use tonic::{Code, Status};

use super::fixture::{Proxy, until};
use crate::ipam::certificates::{Authority, Identity};
use crate::ipam::meta_ipam::{code, good, json_of};

const HOST: &str = "127.0.0.1";

/// An ipam-server with certificates from its authority.
struct Scene {
    folder: TempDir,
    authority: Authority,
    server: IpamServer,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let authority = Authority::new(folder.path(), "authority");
        let identity = authority.issue(folder.path(), "server", HOST);
        let server = serve(&identity, &authority);
        Scene {
            folder,
            authority,
            server,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn address(&self) -> String {
        format!("https://{HOST}:{}", self.server.tcp_address().port())
    }

    fn proxy(&self, node: &Identity) -> Proxy {
        Proxy::start_with(&flags(&self.address(), &self.authority.file, Some(node)))
    }
}

fn serve(identity: &Identity, clients: &Authority) -> IpamServer {
    IpamServer::start_with(&[
        format!("--listen=tcp://{HOST}:0"),
        format!("--tls-cert={}", identity.cert.display()),
        format!("--tls-key={}", identity.key.display()),
        format!("--tls-client-ca={}", clients.file.display()),
    ])
}

fn flags(address: &str, ca: &Path, node: Option<&Identity>) -> Vec<String> {
    let mut flags = vec![
        format!("--ipam-server={address}"),
        format!("--ipam-ca={}", ca.display()),
    ];
    if let Some(node) = node {
        flags.push(format!("--ipam-cert={}", node.cert.display()));
        flags.push(format!("--ipam-key={}", node.key.display()));
    }
    flags
}

/// The error of a call once the agent no longer waits for the first connection.
async fn refusal(proxy: &Proxy) -> Status {
    until("an answer has the reason", || {
        let mut client = proxy.lease_client();
        async move {
            let answer = client.allocate(request("blue", "pod")).await;
            let refusal = answer.expect_err("nothing is leased");
            (!refusal.message().contains("does not answer yet")).then_some(refusal)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_certificate_is_reported_with_its_file_and_the_remedy() {
    let scene = Scene::new();
    let folder = scene.path();
    let good_node = scene.authority.issue(folder, "node", "node");
    let expired = scene.authority.issue_expired(folder, "expired", "node");
    let other = Authority::new(folder, "other");
    let of_other = other.issue(folder, "of-other", "node");
    let mixed = Identity {
        cert: good_node.cert.clone(),
        key: of_other.key.clone(),
    };
    let missing = Identity {
        cert: folder.join("missing.crt"),
        key: good_node.key.clone(),
    };
    let old = scene.authority.issue_expired(folder, "old-server", HOST);
    let old_server = serve(&old, &scene.authority);
    let old_address = format!("https://{HOST}:{}", old_server.tcp_address().port());
    let by_name = format!("https://localhost:{}", scene.server.tcp_address().port());
    let (address, ca) = (scene.address(), &scene.authority.file);

    for (what, flags, code, words) in [
        (
            "an expired certificate",
            flags(&address, ca, Some(&expired)),
            Code::Unauthenticated,
            ["expired.crt (--ipam-cert", "renew it", "CertificateExpired"],
        ),
        (
            "another authority's certificate",
            flags(&address, ca, Some(&of_other)),
            Code::Unauthenticated,
            [
                "of-other.crt (--ipam-cert",
                "of another authority",
                "UnknownCA",
            ],
        ),
        (
            "no certificate",
            flags(&address, ca, None),
            Code::Unauthenticated,
            ["wants a certificate", "--ipam-cert", "--ipam-key"],
        ),
        (
            "a certificate that is not there",
            flags(&address, ca, Some(&missing)),
            Code::Unavailable,
            ["missing.crt (--ipam-cert", "mounted", "No such file"],
        ),
        (
            "a key of another certificate",
            flags(&address, ca, Some(&mixed)),
            Code::Unavailable,
            [
                "node.crt (--ipam-cert",
                "of-other.key (--ipam-key",
                "write both",
            ],
        ),
        (
            "a server of another authority",
            flags(&address, &other.file, Some(&good_node)),
            Code::Unavailable,
            [
                "other.ca (--ipam-ca",
                "renew its certificate",
                "UnknownIssuer",
            ],
        ),
        (
            "a server whose certificate has expired",
            flags(&old_address, ca, Some(&good_node)),
            Code::Unavailable,
            [
                "authority.ca (--ipam-ca",
                "renew its certificate",
                "expired",
            ],
        ),
        (
            "a server with another name",
            flags(&by_name, ca, Some(&good_node)),
            Code::Unavailable,
            ["authority.ca (--ipam-ca", "or the address", "localhost"],
        ),
    ] {
        let proxy = Proxy::start_with(&flags);
        let refusal = refusal(&proxy).await;
        assert_eq!(refusal.code(), code, "{what}: {refusal} {}", proxy.log());
        for word in words {
            assert!(
                refusal.message().contains(word),
                "{what}: {word}: {refusal}"
            );
        }
        let lines = refusal.message().lines().count();
        assert!(
            lines == 1 && refusal.message().len() < 400,
            "{what}: {refusal}"
        );
        proxy.wait_for_log(words[0], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named_by_the_plugin_and_its_renewal_is_used_at_once() {
    let scene = Scene::new();
    let (server, folder) = (&scene.server, scene.path());
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let node = scene.authority.issue_expired(folder, "node", "node");
    let proxy = scene.proxy(&node);
    proxy.wait_for_log("node.crt", 1);
    let plugin = proxy.meta_ipam();
    let failed = plugin.run("ADD", "c1", json!({}));
    assert_eq!(code(&failed), 50);
    let text = json_of(&failed)["msg"].to_string();
    let cert = node.cert.display().to_string();
    assert!(text.contains(&cert) && text.contains("renew it"), "{text}");
    scene.authority.issue(folder, "node", "node");
    until("the renewed certificate is used", || async {
        let added = plugin.run("ADD", "c1", json!({}));
        added.status.success().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_while_calls_go_on() {
    let scene = Scene::new();
    let (server, folder) = (&scene.server, scene.path());
    server.create_pool("blue", "10.0.0.0/24", "fd00::/64").await;
    let node = scene.authority.issue(folder, "node", "node");
    let proxy = scene.proxy(&node);
    let plugin = proxy.meta_ipam();
    good(plugin.run("ADD", "c1", json!({})));
    let watching = proxy.lease_client().watch(WatchRequest::default()).await;
    let mut watch = watching.expect("watch").into_inner();
    watch.message().await.expect("a bookmark").expect("one");

    // A half-written pair and an authority's rubbish are not used; what is there goes on.
    let other = Authority::new(folder, "other");
    other.issue(folder, "node", "node");
    proxy.wait_for_log("renewed files are not used yet", 1);
    good(plugin.run("ADD", "c2", json!({})));
    watch.message().await.expect("a change").expect("one");

    scene.authority.issue(folder, "node", "node");
    proxy.wait_for_log("connected to ipam-server", 2);
    good(plugin.run("ADD", "c3", json!({})));
    // The watch is still on the first connection.
    watch.message().await.expect("a change").expect("one");
    assert_eq!(server.leases().await.len(), 3);
    assert!(!proxy.log().contains("the connection to ipam-server ended"));
}
