//! The command without a server: what it shows, and what it refuses to begin with.

use std::fs;

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// A node with thin Multus, and the objects of a cluster.
fn node(objects: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("net.d")).unwrap();
    let multus =
        json!({"cniVersion": "0.3.1", "name": "m", "type": "multus", "clusterNetwork": "k8s"});
    fs::write(
        folder.path().join("net.d/00-multus.conf"),
        multus.to_string(),
    )
    .unwrap();
    fs::write(folder.path().join("objects.json"), objects.to_string()).unwrap();
    folder
}

fn options(folder: &TempDir, more: &[&str]) -> Options {
    let flag = |name: &str, path: &str| format!("--{name}={}", folder.path().join(path).display());
    let flags = [
        flag("objects", "objects.json"),
        flag("conf-dir", "net.d"),
        flag("state-dir", "state"),
        flag("ipam-file", "ipam.yaml"),
        flag("cache-dir", "results"),
        format!("--server=unix://{}/absent.sock", folder.path().display()),
    ];
    let mut line = vec!["x"];
    line.extend(flags.iter().map(String::as_str));
    line.extend(more);
    Line::try_parse_from(line).unwrap().options
}

fn objects(pods: &[Value]) -> Value {
    let config =
        json!({"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.1.0.0/24"}});
    let mut items = vec![
        json!({"kind": "NetworkAttachmentDefinition", "metadata": {"name": "blue", "namespace": "ns"},
            "spec": {"config": config.to_string()}}),
        json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool", "metadata": {"name": "10.1.0.0-24"},
            "spec": {"range": "10.1.0.0/24", "allocations": {"1": {"id": "c1", "podref": "ns/web", "ifname": "net1"}}}}),
    ];
    items.extend_from_slice(pods);
    json!({"kind": "List", "items": items})
}

fn web() -> Value {
    json!({"kind": "Pod", "metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": {"nodeName": "n1"}})
}

#[test]
fn a_plan_is_shown_without_a_server_and_changes_nothing() {
    let folder = node(&objects(&[web()]));
    let mut to = Vec::new();
    let outcome = run(&options(&folder, &[]), &mut to).unwrap();
    assert_eq!(outcome, Outcome::Whole);
    let text = String::from_utf8(to).unwrap();
    for part in [
        "\"type\": \"meta-cni\"",
        "make wb-10.1.0.0-24: 10.1.0.0/24; for ns/blue",
        "10.1.0.1/24 of wb-10.1.0.0-24, pod ns/web, interface net1, network ns/blue, node n1, container c1",
        "ns/blue will lease from pool wb-10.1.0.0-24",
        "the pools of ipam-server are not known",
        "Nothing was changed; --apply does it.",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!folder.path().join("state").exists());
    let mut to = Vec::new();
    run(&options(&folder, &["-ojson"]), &mut to).unwrap();
    let report: Value = serde_json::from_slice(&to).unwrap();
    assert_eq!(report["plan"]["leases"][0]["owner"]["containerId"], "c1");
    assert_eq!(
        report["plan"]["pools"][0]["pool"]["ipv4"]["cidr"],
        "10.1.0.0/24"
    );
    assert_eq!(report["done"], Value::Null);
}

#[test]
fn what_stays_behind_is_in_the_outcome() {
    let other =
        json!({"kind": "Pod", "metadata": {"name": "other", "namespace": "ns"}, "spec": {}});
    let folder = node(&objects(&[other]));
    let mut to = Vec::new();
    let outcome = run(&options(&folder, &[]), &mut to).unwrap();
    assert_eq!(outcome, Outcome::Partial);
    let text = String::from_utf8(to).unwrap();
    assert!(
        text.contains("pod ns/web does not exist any more"),
        "{text}"
    );
}

#[test]
fn nothing_begins_without_pods_without_a_server_or_with_flags_that_contradict() {
    let folder = node(&objects(&[]));
    let error = run(&options(&folder, &[]), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, MigrateError::NoPods { .. }), "{error}");
    let folder = node(&objects(&[web()]));
    let error = run(&options(&folder, &["--apply"]), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, MigrateError::Server { .. }), "{error}");
    assert!(!folder.path().join("state").exists());
    for flags in [
        &["--objects=a", "--rewrite-networks", "--apply"][..],
        &["--kubeconfig=a", "--rewrite-networks"],
        &["--kubeconfig=a", "--force"],
        &["--kubeconfig=a", "--back", "--rewrite-networks", "--apply"],
        &["--kubeconfig=a", "--cert=b"],
        &["--kubeconfig=a", "--objects=b"],
        &[],
    ] {
        let line = ["x"].iter().chain(flags);
        assert!(Line::try_parse_from(line).is_err(), "{flags:?}");
    }
}

#[test]
fn a_way_back_without_a_receipt_changes_nothing() {
    let folder = node(&objects(&[web()]));
    let mut to = Vec::new();
    let outcome = run(&options(&folder, &["--back", "--apply"]), &mut to).unwrap();
    assert_eq!(outcome, Outcome::Whole);
    assert_eq!(String::from_utf8(to).unwrap(), "Nothing to undo.\n");
}
