//! Tokens that are bound to a node or to a pod of a node (TokenRequest, `boundObjectRef`): the API server says of their callers
//! which node they are on.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::servers::kube::ApiServer;
use crate::servers::kube::objects::uid_of;

/// The DaemonSet that the agent is shipped with.
const DAEMON_SET: &str = include_str!("../../../../deploy/agent.yaml");

impl ApiServer {
    /// A kubeconfig of a ServiceAccount, which is made if it is not there, with a token that is bound to a node, which is
    /// made likewise.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn kubeconfig_on(&self, node: &str, namespace: &str, service_account: &str) -> PathBuf {
        self.service_account(namespace, service_account);
        let bound_to = self.node_object(node);
        let token = self.token_for(namespace, service_account, None, 3600, Some(&bound_to));
        self.write_kubeconfig(&format!("{namespace}-{service_account}-on-{node}"), &token)
    }

    /// Makes a pod of the shipped DaemonSet on a node, and a kubeconfig with the token that a kubelet projects into the pod.
    /// The shipped rights hold.
    ///
    /// # Panics
    /// When the server refuses a part of it.
    pub fn kubeconfig_of_agent_pod(&self, node: &str) -> PathBuf {
        self.agent_kubeconfig();
        let daemon_set: Value = process::yaml::read(DAEMON_SET).expect("YAML");
        let pod = self.pod_of(&daemon_set, &format!("meta-cnid-{node}"), node);
        let token = self.projected_token(&pod, "token");
        self.write_kubeconfig(&format!("agent-pod-on-{node}"), &token)
    }

    /// Makes a pod of a workload (DaemonSet, StatefulSet) on a node, as its controller and the scheduler do.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn pod_of(&self, workload: &Value, name: &str, node: &str) -> Value {
        self.node_object(node);
        let mut pod = workload["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["namespace"] = workload["metadata"]["namespace"].clone();
        pod["metadata"]["name"] = json!(name);
        pod["spec"]["nodeName"] = json!(node);
        let claims = workload["spec"]["volumeClaimTemplates"].as_array();
        let volumes = pod["spec"]["volumes"].as_array_mut().expect("volumes");
        for claim in claims.into_iter().flatten() {
            let volume = claim["metadata"]["name"].as_str().expect("a name");
            let claim = json!({ "claimName": format!("{volume}-{name}") });
            volumes.push(json!({ "name": volume, "persistentVolumeClaim": claim }));
        }
        self.apply_value(&pod)
    }

    /// The token that a kubelet projects into a volume of a pod.
    ///
    /// # Panics
    /// When the volume is no such projection, or the server refuses it.
    pub fn projected_token(&self, pod: &Value, volume: &str) -> String {
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        let mut projections = volumes
            .iter()
            .filter(|found| found["name"] == volume)
            .flat_map(|found| {
                found["projected"]["sources"]
                    .as_array()
                    .into_iter()
                    .flatten()
            })
            .filter_map(|source| source.get("serviceAccountToken"));
        let projection = projections.next().expect("a projected token");
        let account = pod["spec"]["serviceAccountName"].as_str();
        self.token_for(
            pod["metadata"]["namespace"].as_str().expect("a namespace"),
            account.expect("an account"),
            projection["audience"].as_str(),
            projection["expirationSeconds"].as_i64().expect("seconds"),
            Some(pod),
        )
    }

    fn node_object(&self, name: &str) -> Value {
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        self.apply_value(&object)
    }

    /// A token for an audience (`None`: the API server), bound to an object if one is named.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn token_for(
        &self,
        namespace: &str,
        service_account: &str,
        audience: Option<&str>,
        seconds: i64,
        bound_to: Option<&Value>,
    ) -> String {
        let bound_to = bound_to.map(|object| {
            json!({
                "apiVersion": "v1", "kind": object["kind"], "name": object["metadata"]["name"],
                "uid": uid_of(object),
            })
        });
        let audiences: Vec<&str> = audience.into_iter().collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
            "spec": { "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound_to },
        });
        let path =
            format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token");
        let (_, answer) = self.admin().post(&path, &request);
        let token = answer["status"]["token"].as_str();
        token
            .unwrap_or_else(|| panic!("no token: {answer}"))
            .to_owned()
    }
}
