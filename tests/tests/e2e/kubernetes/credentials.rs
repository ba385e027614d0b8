//! Tokens, authorities and kubeconfigs that are not good: what is wrong is said at once, and nothing is
//! left behind.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::kube::{PLUGIN, User};
use e2e::{ApiServer, Node};
use serde_json::{Value, json};

use crate::kubernetes::fixture::{assert_says, changed_kubeconfig, failure, node};

/// ADD and STATUS with this kubeconfig fail and say so; DEL succeeds.
#[track_caller]
fn refused(node: Node, kubeconfig: PathBuf, parts: &[&str]) {
    let node = node.conf(json!({ "kubeconfig": kubeconfig }));
    let pod = node.pod("credentials", "web").without_manifest().create();
    let (code, text) = failure(&node.add(&pod));
    assert_eq!(code, 11, "{text}");
    assert_says(&text, &["ADD of pod credentials/web"]);
    assert_says(&text, parts);
    let (code, text) = failure(&node.status());
    assert_eq!(code, 50, "{text}");
    assert_says(&text, parts);
    node.del(&pod).ok();
    node.assert_clean();
}

fn with_token(node: &Node, api: &ApiServer, token: &str) -> PathBuf {
    changed_kubeconfig(node, api, |kubeconfig| {
        kubeconfig["users"][0]["user"] = json!({ "token": token });
    })
}

#[test]
fn a_token_that_is_no_token_is_refused() {
    let (node, api) = (node("no-token"), ApiServer::shared());
    let kubeconfig = with_token(&node, api, "nobody");
    refused(
        node,
        kubeconfig,
        &["does not take our credentials", "token"],
    );
}

#[test]
fn a_token_that_has_expired_is_refused() {
    let (node, api) = (node("expired"), ApiServer::shared());
    api.plugin_kubeconfig();
    let token = |end| api.token_until(PLUGIN.0, PLUGIN.1, end);
    let minute = Duration::from_secs(60);
    let good = with_token(&node, api, &token(SystemTime::now() + minute));
    let status = User::of(&good)
        .get("/api/v1/namespaces/default/pods/absent")
        .0;
    assert_eq!(status, 404, "the same token is good as long as it lasts");
    let expired = with_token(&node, api, &token(SystemTime::now() - minute));
    refused(node, expired, &["does not take our credentials", "expired"]);
}

#[test]
fn an_authority_that_did_not_sign_the_certificate_is_named() {
    let (node, api) = (node("wrong-ca"), ApiServer::shared());
    let key = rcgen::KeyPair::generate().expect("make a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    let other = params.self_signed(&key).expect("make a certificate").pem();
    let kubeconfig = changed_kubeconfig(&node, api, |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"] =
            json!(BASE64_STANDARD.encode(other));
    });
    refused(
        node,
        kubeconfig,
        &["certificate does not fit", "certificate-authority"],
    );
}

#[test]
fn a_server_where_nothing_listens_is_named() {
    let (node, api) = (node("nothing"), ApiServer::shared());
    let kubeconfig = changed_kubeconfig(&node, api, |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    });
    refused(
        node,
        kubeconfig,
        &["https://127.0.0.1:1", "nothing listens"],
    );
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let node = node("no-file");
    let absent = node.folder().join("absent.kubeconfig");
    refused(node, absent, &["absent.kubeconfig", "was it written"]);
}

#[test]
fn a_kubeconfig_without_context_is_named() {
    let (node, api) = (node("no-context"), ApiServer::shared());
    let kubeconfig = changed_kubeconfig(&node, api, |kubeconfig| {
        kubeconfig["current-context"] = Value::Null;
    });
    refused(node, kubeconfig, &["changed.kubeconfig", "current-context"]);
}

#[test]
fn a_token_file_is_read_at_every_call() {
    let (node, api) = (node("token-file"), ApiServer::shared());
    let file = node.folder().join("token");
    let kubeconfig = changed_kubeconfig(&node, api, |kubeconfig| {
        kubeconfig["users"][0]["user"] = json!({ "tokenFile": file });
    });
    let node = node.conf(json!({ "kubeconfig": kubeconfig }));
    let pod = node.pod("token-file", "web").create_in(api);
    std::fs::write(&file, "old").expect("write a token");
    assert_eq!(failure(&node.add(&pod)).0, 11);
    std::fs::write(&file, api.token(PLUGIN.0, PLUGIN.1) + "\n").expect("write a token");
    node.add(&pod).ok();
    node.status().ok();
    node.del(&pod).ok();
    node.assert_clean();
}
