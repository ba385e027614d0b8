//! What is kept of objects, and which of their names and UIDs are taken.

use super::*;
use serde_json::json;

fn pod(value: serde_json::Value) -> Pod {
    serde_json::from_value::<PodObject>(value).unwrap().into()
}

#[test]
fn resources_come_in_container_order_init_first_without_repeats() {
    let pod = pod(json!({
        "metadata": {"name": "web", "namespace": "a", "uid": "1", "annotations": {"k": "v"}},
        "spec": {
            "containers": [
                {"resources": {"requests": {"x/b": "1", "x/a": 1}, "limits": {"x/a": 1, "x/c": "2"}}},
                {"name": "none"},
            ],
            "initContainers": [{"resources": {"limits": {"x/z": "1"}, "requests": null}}, {"resources": {}}],
        },
    }));
    assert_eq!(pod.resources, ["x/z", "x/a", "x/b", "x/c"]);
    assert_eq!(pod.annotations["k"], "v");
}

#[test]
fn only_a_pod_that_its_node_owns_is_a_static_one() {
    let owned = |kind: &str| json!([{"apiVersion": "v1", "kind": kind, "name": "n1", "uid": "u"}]);
    for (what, owners, mirror, expected) in [
        ("nobody's", json!(null), json!("h"), false),
        ("of a Deployment", owned("ReplicaSet"), json!("h"), false),
        ("a mirror", owned("Node"), json!("h"), true),
        ("no mirror", owned("Node"), json!(null), false),
        ("a mirror of another", owned("Node"), json!("i"), false),
        (
            "of a kind that is called the same",
            json!([{"apiVersion": "evil.io/v1", "kind": "Node"}]),
            json!("h"),
            false,
        ),
    ] {
        let mut annotations = json!({"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "h", "k": "v"});
        if !mirror.is_null() {
            annotations[MIRROR] = mirror;
        }
        let pod = pod(json!({"metadata": {
            "name": "web", "uid": "1", "ownerReferences": owners, "annotations": annotations,
        }}));
        assert_eq!(pod.is_static(), expected, "{what}");
        assert_eq!(
            pod.runtime_uid(),
            if expected { "h" } else { "1" },
            "{what}"
        );
        assert_eq!(pod.annotations["k"], "v");
    }
}

#[test]
fn what_is_absent_or_null_is_empty() {
    for (name, value) in [
        ("absent", json!({"metadata": {"name": "web"}})),
        (
            "null",
            json!({"metadata": {"name": "web", "namespace": null, "uid": null, "annotations": null}, "spec": null}),
        ),
        (
            "null lists",
            json!({"metadata": {"name": "web"}, "spec": {"containers": null, "initContainers": null}}),
        ),
    ] {
        let pod = pod(value);
        assert_eq!((&*pod.namespace, &*pod.uid), ("default", ""), "{name}");
        assert!(
            pod.annotations.is_empty() && pod.resources.is_empty(),
            "{name}"
        );
    }
}

#[test]
fn a_nad_is_read_with_and_without_what_is_optional() {
    for (name, value, config, resource) in [
        (
            "full",
            json!({"metadata": {"name": "n", "annotations": {RESOURCE_NAME: "x/a"}}, "spec": {"config": "{}"}}),
            "{}",
            Some("x/a"),
        ),
        ("no spec", json!({"metadata": {"name": "n"}}), "", None),
        (
            "empty",
            json!({"metadata": {"name": "n", "annotations": {RESOURCE_NAME: ""}}, "spec": {"config": null}}),
            "",
            None,
        ),
    ] {
        let nad: Nad = serde_json::from_value::<NadObject>(value).unwrap().into();
        assert_eq!(nad.config, config, "{name}");
        assert_eq!(nad.resource_name.as_deref(), resource, "{name}");
    }
}

#[test]
fn only_names_that_kubernetes_allows_pass() {
    for good in ["a", "a-b.c1", "1", &"a".repeat(253)] {
        assert!(is_subdomain(good), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "../secrets",
        "a/b",
        "A",
        "-a",
        "a-",
        "a..b",
        "a%2f",
        "a b",
        "ä",
        &"a".repeat(254),
    ] {
        assert!(!is_subdomain(bad), "{bad}");
    }
}

#[test]
fn a_uid_must_match_unless_the_pod_is_static_and_says_none_or_none_was_given() {
    let static_pod = [("kubernetes.io/config.source", "file")];
    let hashed = [static_pod[0], ("kubernetes.io/config.hash", "h")];
    let api_pod = [("kubernetes.io/config.source", "api")];
    for (name, asked, annotations, same) in [
        ("none given", None, &[][..], true),
        ("empty", Some(""), &[][..], true),
        ("equal", Some("1"), &[][..], true),
        ("other", Some("2"), &[][..], false),
        ("other, static", Some("2"), &static_pod[..], true),
        ("its hash, static", Some("h"), &hashed[..], true),
        ("another manifest, static", Some("2"), &hashed[..], false),
        ("other, from the API", Some("2"), &api_pod[..], false),
    ] {
        let found = Pod {
            uid: "1".into(),
            annotations: annotations
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            ..Pod::default()
        };
        let asked = PodRef {
            namespace: "a".into(),
            name: "web".into(),
            uid: asked.map(str::to_owned),
        };
        let result = check_uid(&asked, &found);
        assert_eq!(result.is_ok(), same, "{name}");
    }
}
