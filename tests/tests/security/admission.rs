//! `deploy/admission.yaml` before a real API server: the accounts of meta-cni change one annotation of the pods of their own
//! node, even with every right to pods. Each expression is needed: without it, what it refuses passes.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::kube::{AGENT, PLUGIN, User};
use e2e::{Agent, ApiServer, Node, wait_until};
use serde::Deserialize as _;
use serde_json::{Value, json};

const SHIPPED: &str = include_str!("../../../deploy/admission.yaml");
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who makes a change.
#[derive(Clone, Copy)]
enum Who {
    /// The agent of node `n1`.
    Agent,
    /// The plugin of node `n1`.
    Plugin,
    /// The agent's account with a token that is bound to no node.
    Unbound,
    /// Somebody who may do everything to pods and networks of a namespace.
    Tenant,
}

/// A change, and which expression of which policy refuses it.
struct Change {
    what: &'static str,
    who: Who,
    /// POST, else PATCH.
    is_new: bool,
    path: &'static str,
    object: fn(u32) -> Value,
    refused_by: Option<(&'static str, usize)>,
}

const OWN: &str = "/api/v1/namespaces/admission/pods/own";
const OWN_STATUS: &str = "/api/v1/namespaces/admission/pods/own/status";
const OTHER_STATUS: &str = "/api/v1/namespaces/admission/pods/other/status";
const PODS: &str = "/api/v1/namespaces/admission/pods";
const NADS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/admission/network-attachment-definitions";
const OWN_PODS: &str = "meta-cni-own-pods";
const NOBODY_ELSE: &str = "meta-cni-network-status";
const DEFINITIONS: &str = "meta-cni-networks";

fn annotated(key: &str, value: Value) -> Value {
    json!({ "metadata": { "annotations": { key: value } } })
}

fn status(number: u32) -> Value {
    annotated(STATUS, json!(format!("[{number}]")))
}

fn image(number: u32) -> Value {
    json!({ "spec": { "containers": [{ "name": "main", "image": format!("evil{number}") }] } })
}

fn nad(number: u32, config: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": format!("n{number}") }, "spec": { "config": config },
    })
}

const fn patch(
    what: &'static str,
    who: Who,
    path: &'static str,
    object: fn(u32) -> Value,
    refused_by: Option<(&'static str, usize)>,
) -> Change {
    Change {
        what,
        who,
        is_new: false,
        path,
        object,
        refused_by,
    }
}

const fn post(
    what: &'static str,
    path: &'static str,
    object: fn(u32) -> Value,
    refused_by: Option<(&'static str, usize)>,
) -> Change {
    Change {
        what,
        who: Who::Tenant,
        is_new: true,
        path,
        object,
        refused_by,
    }
}

const CHANGES: [Change; 27] = [
    patch("network-status", Who::Agent, OWN_STATUS, status, None),
    patch(
        "network-status by the plugin",
        Who::Plugin,
        OWN_STATUS,
        status,
        None,
    ),
    patch(
        "no network-status",
        Who::Agent,
        OWN_STATUS,
        |_| annotated(STATUS, Value::Null),
        None,
    ),
    patch(
        "of another node",
        Who::Agent,
        OTHER_STATUS,
        status,
        Some((OWN_PODS, 0)),
    ),
    patch(
        "of another node by the plugin",
        Who::Plugin,
        OTHER_STATUS,
        status,
        Some((OWN_PODS, 0)),
    ),
    patch(
        "by a token of no node",
        Who::Unbound,
        OWN_STATUS,
        status,
        Some((OWN_PODS, 0)),
    ),
    patch(
        "not through the status",
        Who::Agent,
        OWN,
        status,
        Some((OWN_PODS, 1)),
    ),
    patch("an image", Who::Agent, OWN, image, Some((OWN_PODS, 1))),
    patch(
        "an image of another node's pod",
        Who::Agent,
        "/api/v1/namespaces/admission/pods/other",
        image,
        Some((OWN_PODS, 9)),
    ),
    patch(
        "podIP",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "status": { "podIP": format!("10.0.0.{number}"), "podIPs": [{ "ip": format!("10.0.0.{number}") }] } }),
        Some((OWN_PODS, 2)),
    ),
    patch(
        "Ready",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": format!("R{number}") }] } }),
        Some((OWN_PODS, 2)),
    ),
    patch(
        "phase",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "status": { "phase": "Running", "message": format!("{number}") } }),
        Some((OWN_PODS, 2)),
    ),
    patch(
        "a label",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "metadata": { "labels": { "app": format!("v{number}") } } }),
        Some((OWN_PODS, 3)),
    ),
    patch(
        "a finalizer",
        Who::Agent,
        OWN_STATUS,
        |number| json!({ "metadata": { "finalizers": [format!("example.com/f{number}")] } }),
        Some((OWN_PODS, 4)),
    ),
    patch(
        "the networks annotation",
        Who::Agent,
        OWN_STATUS,
        |number| annotated(NETWORKS, json!(format!("n{number}"))),
        Some((OWN_PODS, 5)),
    ),
    patch(
        "another annotation",
        Who::Agent,
        OWN_STATUS,
        |number| annotated(&format!("new{number}"), json!("x")),
        Some((OWN_PODS, 5)),
    ),
    patch(
        "an annotation away",
        Who::Agent,
        OWN_STATUS,
        |_| annotated("keep", Value::Null),
        Some((OWN_PODS, 6)),
    ),
    patch(
        "network-status by a tenant",
        Who::Tenant,
        OWN,
        status,
        Some((NOBODY_ELSE, 0)),
    ),
    patch(
        "network-status by a tenant through the status",
        Who::Tenant,
        OWN_STATUS,
        status,
        Some((NOBODY_ELSE, 0)),
    ),
    patch(
        "a label by a tenant",
        Who::Tenant,
        OWN,
        |number| json!({ "metadata": { "labels": { "mine": format!("v{number}") } } }),
        None,
    ),
    post(
        "a pod with network-status",
        PODS,
        |number| pod(number, &[(STATUS, "[]")]),
        Some((NOBODY_ELSE, 0)),
    ),
    post(
        "a pod",
        PODS,
        |number| pod(number, &[(NETWORKS, "red")]),
        None,
    ),
    post(
        "a network of 64 KiB",
        NADS,
        |number| nad(number, &sized(65_536)),
        None,
    ),
    post(
        "a network of more",
        NADS,
        |number| nad(number, &sized(65_537)),
        Some((DEFINITIONS, 0)),
    ),
    post(
        "a network of more, in letters of two bytes",
        NADS,
        |number| nad(number, &format!("{{\"a\":\"{}\"}}", "ä".repeat(32_766))),
        Some((DEFINITIONS, 0)),
    ),
    post(
        "a network with an escape",
        NADS,
        |number| nad(number, r#"{"\u0074ype":"bridge"}"#),
        Some((DEFINITIONS, 1)),
    ),
    post(
        "a network without text",
        NADS,
        |number| nad(number, ""),
        None,
    ),
];

/// An object of so many bytes.
fn sized(bytes: usize) -> String {
    format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8))
}

fn pod(number: u32, annotations: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("p{number}"), "annotations": annotations },
        "spec": { "containers": [{ "name": "main", "image": "pause" }] },
    })
}

/// The server with the policies, two pods on two nodes, and everybody.
struct Scene {
    api: ApiServer,
    users: [User; 4],
    number: std::cell::Cell<u32>,
}

impl Scene {
    fn new() -> Scene {
        let api = ApiServer::start();
        api.agent_kubeconfig();
        api.plugin_kubeconfig();
        // Only the policies stand between the accounts and everything.
        api.apply_value(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "everything" },
            "rules": [
                { "apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["*"] },
                { "apiGroups": ["k8s.cni.cncf.io"], "resources": ["*"], "verbs": ["*"] },
            ],
        }));
        for (namespace, name) in [AGENT, PLUGIN, ("admission", "tenant")] {
            api.service_account(namespace, name);
            api.bind(namespace, name, "everything");
        }
        let users = [
            api.kubeconfig_on("n1", AGENT.0, AGENT.1),
            api.kubeconfig_on("n1", PLUGIN.0, PLUGIN.1),
            api.kubeconfig_for(AGENT.0, AGENT.1),
            api.kubeconfig_for("admission", "tenant"),
        ];
        let kept = BTreeMap::from([("keep".to_owned(), "x".to_owned())]);
        api.create_pod("admission", "own", &kept, "n1");
        api.create_pod("admission", "other", &kept, "n2");
        api.apply(SHIPPED);
        Scene {
            users: users.map(|path| User::of(&path)),
            api,
            number: std::cell::Cell::new(1),
        }
    }

    /// Makes a change; the answer's status and message.
    fn change(&self, change: &Change) -> (u16, String) {
        let number = self.number.get() + 1;
        self.number.set(number);
        let user = &self.users[match change.who {
            Who::Agent => 0,
            Who::Plugin => 1,
            Who::Unbound => 2,
            Who::Tenant => 3,
        }];
        let object = (change.object)(number % 250);
        let object = if change.is_new {
            (change.object)(number)
        } else {
            object
        };
        let (status, answer) = match change.is_new {
            true => user.post(change.path, &object),
            false => user.patch(change.path, &object),
        };
        let message = answer["message"].as_str().unwrap_or_default();
        (status, message.to_owned())
    }

    fn is_refused(&self, change: &Change, policy: &str) -> bool {
        let (status, message) = self.change(change);
        // Shown if the test fails.
        eprintln!("{}: {status} {message}", change.what);
        status == 403 && message.contains(&format!("ValidatingAdmissionPolicy '{policy}'"))
    }
}

/// The policies as they are shipped, by name.
fn policies() -> BTreeMap<String, Value> {
    let documents = serde_norway::Deserializer::from_str(SHIPPED);
    let objects = documents.map(|document| Value::deserialize(document).expect("YAML"));
    objects
        .filter(|object| object["kind"] == "ValidatingAdmissionPolicy")
        .map(|object| {
            (
                object["metadata"]["name"]
                    .as_str()
                    .expect("a name")
                    .to_owned(),
                object,
            )
        })
        .collect()
}

#[test]
fn each_change_is_allowed_or_refused_and_each_expression_is_needed() {
    let scene = Scene::new();
    for change in &CHANGES {
        match change.refused_by {
            // A policy holds some time after it was made.
            Some((policy, _)) => wait_until(change.what, PATIENCE, || {
                scene.is_refused(change, policy).then_some(())
            }),
            None => {
                let (status, message) = scene.change(change);
                assert_eq!(status, 200, "{}: {message}", change.what);
            }
        }
    }
    for (name, policy) in policies() {
        let validations = policy["spec"]["validations"]
            .as_array()
            .expect("a list")
            .len();
        for index in 0..validations {
            let mut without = policy.clone();
            without["spec"]["validations"][index]["expression"] = json!("true");
            scene.api.apply_value(&without);
            let mut found = CHANGES
                .iter()
                .filter(|change| change.refused_by == Some((&name, index)));
            let change = found
                .next()
                .unwrap_or_else(|| panic!("nothing tries expression {index} of {name}"));
            wait_until("what an absent expression refused passes", PATIENCE, || {
                (scene.change(change).0 == 200).then_some(())
            });
            scene.api.apply_value(&policy);
            wait_until("it is refused again", PATIENCE, || {
                // What the change took away is there again.
                let kept = annotated("keep", json!("x"));
                scene.api.patch_pod("admission", "own", &kept);
                scene.is_refused(change, &name).then_some(())
            });
        }
    }
}

#[test]
fn without_more_rights_an_account_is_refused_by_rbac_already() {
    let api = ApiServer::shared();
    let agent = User::of(&api.kubeconfig_on("n1", AGENT.0, AGENT.1));
    api.agent_kubeconfig();
    api.create_pod("admission-rbac", "own", &BTreeMap::new(), "n1");
    let path = "/api/v1/namespaces/admission-rbac/pods/own";
    assert_eq!(agent.patch(path, &image(1)).0, 403);
    assert_eq!(
        agent
            .patch(&format!("{path}/ephemeralcontainers"), &json!({}))
            .0,
        403
    );
    assert_eq!(agent.post(&format!("{path}/binding"), &json!({})).0, 403);
    assert_eq!(
        agent.get("/api/v1/namespaces/admission-rbac/secrets").0,
        403
    );
}

#[test]
fn an_agent_answers_and_writes_for_pods_of_its_own_node_only() {
    let api = ApiServer::shared();
    let node = Node::recorder("own-pods").with_agent();
    let _agent = Agent::start(&node, api);
    let own = node.pod("own-pods", "own").create_in(api);
    node.add(&own).ok();
    let uid = api.create_pod("own-pods", "other", &BTreeMap::new(), "elsewhere");
    let other = node
        .pod("own-pods", "other")
        .uid(&uid)
        .without_manifest()
        .create();
    let before = node.calls().len();
    let failed = node.add(&other);
    let (_, msg, _) = failed.error();
    assert!(
        msg.contains("there is no pod own-pods/other on node"),
        "{failed}"
    );
    assert_eq!(node.calls().len(), before, "{:?}", node.calls());
    assert_eq!(api.network_status("own-pods", "other"), Value::Null);
}

#[test]
fn the_daemonset_is_taken_by_the_api_server_and_has_a_token_of_an_hour_and_no_capability() {
    let api = ApiServer::shared();
    let object: Value =
        serde_norway::from_str(include_str!("../../../deploy/agent.yaml")).expect("YAML");
    let made = api.apply_value(&object);
    let spec = &made["spec"]["template"]["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["serviceAccountName"], AGENT.1);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let token = &spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["expirationSeconds"], 3600);
    let context = &spec["containers"][0]["securityContext"];
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert!(spec["containers"][0]["resources"]["limits"]["memory"].is_string());
    assert!(spec.get("hostPID").is_none(), "{spec}");
}
