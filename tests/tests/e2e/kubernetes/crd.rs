//! The CustomResourceDefinition as it is shipped, on a real API server.

use e2e::ApiServer;
use serde_json::{Value, json};

const PATH: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/crd/network-attachment-definitions";

fn create(name: &str, spec: Value) -> (u16, Value) {
    let api = ApiServer::shared();
    api.install_nad_crd();
    api.namespace("crd");
    let object = json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": { "namespace": "crd", "name": name },
        "spec": spec,
    });
    api.admin().post(PATH, &object)
}

#[test]
fn a_config_that_is_no_json_object_is_refused_when_it_is_written() {
    for (name, config) in [
        ("text", "bridge"),
        ("list", "[]"),
        ("number", "7"),
        ("cut", r#"{"type": "bridge""#),
        ("yaml", "type: bridge"),
    ] {
        let (status, answer) = create(name, json!({ "config": config }));
        assert_eq!(status, 422, "{name}: {answer}");
        let message = answer["message"].as_str().expect("a Status has a message");
        assert!(
            message.contains("must be empty or one JSON object"),
            "{message}"
        );
    }
    let (status, _) = create("object", json!({ "config": { "type": "bridge" } }));
    assert_eq!(status, 422, "an object in place of its text");
}

#[test]
fn a_config_that_is_empty_or_absent_or_an_object_is_accepted() {
    for (name, spec) in [
        ("empty", json!({ "config": "" })),
        ("blank", json!({ "config": " \n" })),
        ("absent", json!({})),
        ("null", json!({ "config": null })),
        ("nothing", Value::Null),
        ("one", json!({ "config": "{\"type\": \"bridge\"}" })),
        (
            "indented",
            json!({ "config": "\n  {\n  \"type\": \"bridge\"\n  }\n" }),
        ),
    ] {
        let (status, answer) = create(name, spec);
        assert_eq!(status, 200, "{name}: {answer}");
    }
}

#[test]
fn discovery_has_the_short_names() {
    let api = ApiServer::shared();
    api.install_nad_crd();
    let (status, list) = api.admin().get("/apis/k8s.cni.cncf.io/v1");
    assert_eq!(status, 200);
    let resource = &list["resources"][0];
    assert_eq!(resource["name"], "network-attachment-definitions");
    assert_eq!(resource["singularName"], "network-attachment-definition");
    assert_eq!(resource["kind"], "NetworkAttachmentDefinition");
    assert_eq!(resource["namespaced"], true);
    let mut short: Vec<_> = resource["shortNames"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    short.sort_by_key(Value::to_string);
    assert_eq!(json!(short), json!(["nad", "net-attach-def"]));
}
