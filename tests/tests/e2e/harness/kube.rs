//! The API server of the harness: what tests of meta-cni with Kubernetes stand on.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::{ApiServer, Node, wait_until};
use serde_json::{Value, json};

/// A request from a node with a kubeconfig's server, authority and token, by `curl`; status and body.
fn request(node: &Node, api: &ApiServer, token: &str, path: &str) -> (String, String) {
    let url = format!("https://{}{path}", api.address());
    let ca = api.ca().display().to_string();
    let header = format!("Authorization: Bearer {token}");
    let output = node.host().exec([
        "curl",
        "-sS",
        "--max-time",
        "5",
        "--cacert",
        &ca,
        "-H",
        &header,
        "-w",
        "\n%{http_code}",
        &url,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("curl prints a status");
    (status.to_owned(), body.to_owned())
}

#[test]
fn pods_and_nads_are_written_and_read() {
    let api = ApiServer::shared();
    let node = Node::new("api").with_api(api);
    api.nad("team", "blue", node.bridge("br-blue", &["10.2.0.0/24"]));
    let pod = node.pod("team", "web").networks("blue").create_in(api);
    let read = api.get_pod("team", "web").expect("the pod is there");
    assert_eq!(read["metadata"]["uid"], pod.uid.as_str());
    assert_eq!(
        read["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"],
        "blue"
    );
    assert_eq!(read["spec"]["nodeName"], node.name());
    assert_eq!(api.network_status("team", "web"), Value::Null);
    let status = json!([{ "name": "team/blue" }]);
    let annotation = json!({ "k8s.v1.cni.cncf.io/network-status": status.to_string() });
    api.patch_pod(
        "team",
        "web",
        &json!({ "metadata": { "annotations": annotation } }),
    );
    assert_eq!(api.network_status("team", "web"), status);
    api.delete_pod("team", "web");
    assert_eq!(api.get_pod("team", "web"), None);
    api.delete_nad("team", "blue");
}

#[test]
fn several_documents_are_applied_in_order() {
    let api = ApiServer::shared();
    api.apply(
        "
apiVersion: v1
kind: Namespace
metadata: {name: several}
---
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: several}
involvedObject: {kind: Pod, namespace: several, name: web}
reason: AddedInterface
type: Normal
",
    );
    let events = api.events("several");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["reason"], "AddedInterface");
}

#[test]
fn a_service_account_has_the_rights_that_were_bound_and_its_requests_are_counted() {
    let api = ApiServer::shared();
    let node = Node::new("rights").with_api(api);
    let token = api.token("rights", "reader");
    let path = "/api/v1/namespaces/rights/pods";
    assert_eq!(request(&node, api, &token, path).0, "403");
    api.apply(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]
",
    );
    api.bind("rights", "reader", "reader");
    wait_until("the rights", Duration::from_secs(10), || {
        (request(&node, api, &token, path).0 == "200").then_some(())
    });
    let count = || api.requests("rights", "reader");
    wait_until("the audit log", Duration::from_secs(10), || {
        (count().len() >= 2).then_some(())
    });
    assert!(count().iter().all(|line| line == &format!("list {path}")));
    let file = std::fs::read_to_string(api.kubeconfig_for("rights", "reader"));
    assert!(file.is_ok_and(|text| text.contains("certificate-authority-data")));
}

#[test]
fn a_server_of_its_own_is_paused_stopped_and_started_again() {
    let api = ApiServer::start();
    let node = Node::new("faults").with_api(&api);
    let token = api.token("default", "reader");
    let version = || request(&node, &api, &token, "/version").0;
    assert_eq!(version(), "200");
    api.pause();
    assert_eq!(version(), "000");
    api.resume();
    assert_eq!(version(), "200");
    let uid = api.create_pod("default", "kept", &BTreeMap::new(), node.name());
    api.stop();
    assert_eq!(version(), "000");
    api.restart();
    let kept = api.get_pod("default", "kept").expect("the pod is kept");
    assert_eq!(kept["metadata"]["uid"], uid.as_str());
}

#[test]
fn a_daemon_does_not_outlive_a_test_process_that_is_killed() {
    // Found again by its time, which no other process sleeps for.
    const SECONDS: &str = "3217";
    let mut test = Command::new(env!("CARGO_BIN_EXE_daemon-owner"))
        .arg(SECONDS)
        .stdout(Stdio::null())
        .spawn()
        .expect("start a process that has a daemon");
    let sleeper = || {
        let output = Command::new("pgrep")
            .args(["-f", &format!("^sleep {SECONDS}")])
            .output();
        !output.expect("pgrep runs").stdout.is_empty()
    };
    wait_until("the daemon", Duration::from_secs(10), || {
        sleeper().then_some(())
    });
    test.kill().expect("kill the test process");
    test.wait().expect("wait for the test process");
    wait_until("the end of the daemon", Duration::from_secs(10), || {
        (!sleeper()).then_some(())
    });
}
