//! A running agent with the token that a kubelet projects into a pod of the shipped DaemonSet, under the shipped rights, without the
//! admission policies and with them: it serves the pods of its node, and no other.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::kube::User;
use e2e::{Agent, ApiServer, Node, Pod, wait_until};
use serde_json::{Value, json};

const POLICIES: &str = include_str!("../../../../deploy/admission.yaml");
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with an agent in a pod of its own, and the same account beside it: somebody who stole its token.
struct Scene<'a> {
    api: &'a ApiServer,
    node: Node,
    _agent: Agent,
    thief: User,
}

impl<'a> Scene<'a> {
    fn new(api: &'a ApiServer, name: &str) -> Scene<'a> {
        let node = Node::recorder(name).with_agent();
        let kubeconfig = api.kubeconfig_of_agent_pod(node.name());
        let argument = format!("--kubeconfig={}", kubeconfig.display());
        Scene {
            _agent: Agent::start_with(&node, api, &[&argument]),
            thief: User::of(&kubeconfig),
            node,
            api,
        }
    }

    /// A pod of the node with one network, attached: network-status and an Event are written.
    fn serves_its_pod(&self, namespace: &str) -> Pod {
        let red = self.node.recording("red", json!({ "link": true }));
        self.api.nad(namespace, "red", red);
        let pod = self.node.pod(namespace, "own").networks("red");
        let pod = pod.create_in(self.api);
        self.node.add(&pod).ok();
        let status = self.api.network_status(namespace, "own");
        let names: Vec<&Value> = status.as_array().into_iter().flatten().collect();
        assert!(
            names
                .iter()
                .any(|entry| entry["name"] == format!("{namespace}/red")),
            "{status}"
        );
        wait_until("an Event of the attachment", PATIENCE, || {
            let events = self.api.events(namespace);
            events
                .iter()
                .any(|event| event["involvedObject"]["name"] == "own")
                .then_some(())
        });
        pod
    }

    /// The agent refuses a pod of another node: nothing runs, nothing is written.
    fn refuses_a_pod_of_another_node(&self, namespace: &str) {
        let uid = self
            .api
            .create_pod(namespace, "other", &BTreeMap::new(), "elsewhere");
        let other = self
            .node
            .pod(namespace, "other")
            .uid(&uid)
            .without_manifest()
            .create();
        let before = self.node.calls().len();
        let failed = self.node.add(&other);
        let (_, msg, _) = failed.error();
        let expected = format!("there is no pod {namespace}/other on node");
        assert!(msg.contains(&expected), "{failed}");
        assert_eq!(self.node.calls().len(), before, "{:?}", self.node.calls());
        assert_eq!(self.api.network_status(namespace, "other"), Value::Null);
    }

    /// What the API server answers to who has the token and writes network-status of a pod.
    fn steals(&self, namespace: &str, pod: &str) -> (u16, Value) {
        let patch = json!({ "metadata": { "annotations": { STATUS: "[]" } } });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/status");
        self.thief.patch(&path, &patch)
    }

    /// The attachment ends without a word to the API server.
    fn ends(&self, pod: &Pod) {
        self.node.del(pod).ok();
        self.node.assert_clean();
    }
}

#[test]
fn without_the_policies_the_agent_itself_refuses_pods_of_other_nodes() {
    let api = ApiServer::shared();
    let scene = Scene::new(api, "bound");
    let pod = scene.serves_its_pod("bound");
    scene.refuses_a_pod_of_another_node("bound");
    // The rights alone do not refuse it.
    assert_eq!(scene.steals("bound", "other").0, 200);
    scene.ends(&pod);
}

#[test]
fn with_the_policies_neither_the_agent_nor_its_token_reaches_pods_of_other_nodes() {
    let api = ApiServer::start();
    api.agent_kubeconfig();
    api.apply(POLICIES);
    let scene = Scene::new(&api, "policies");
    api.create_pod("warm", "other", &BTreeMap::new(), "elsewhere");
    wait_until("the policies hold", PATIENCE, || {
        (scene.steals("warm", "other").0 == 403).then_some(())
    });
    let pod = scene.serves_its_pod("policies");
    scene.refuses_a_pod_of_another_node("policies");
    let (status, answer) = scene.steals("policies", "other");
    let message = answer["message"].as_str().unwrap_or_default();
    assert_eq!(status, 403, "{answer}");
    assert!(
        message.contains("the pod is not on the node that the token is bound to"),
        "{answer}"
    );
    scene.ends(&pod);
}

#[test]
fn with_the_policies_a_token_of_no_node_is_named_by_the_error() {
    let api = ApiServer::start();
    let node = Node::recorder("unbound").with_agent();
    let _agent = Agent::start(&node, &api);
    api.apply(POLICIES);
    let unbound = User::of(api.agent_kubeconfig());
    let pod = node.pod("unbound", "own").create_in(&api);
    let patch = json!({ "metadata": { "annotations": { STATUS: "[]" } } });
    wait_until("the policies hold", PATIENCE, || {
        let path = "/api/v1/namespaces/unbound/pods/own/status";
        (unbound.patch(path, &patch).0 == 403).then_some(())
    });
    let failed = node.add(&pod);
    let (code, msg, details) = failed.error();
    let text = format!(
        "{}{}",
        msg.trim_end_matches('…'),
        details.trim_start_matches('…')
    );
    assert_eq!(code, 11, "{failed}");
    for part in [
        "patch network-status of pod unbound/own",
        "use a token that is bound to this node",
        "the pod is not on the node that the token is bound to",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("rbac"), "{text}");
    node.assert_clean();
}
