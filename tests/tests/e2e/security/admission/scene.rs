//! An API server with everybody who changes something there, and namespaces with what they change.

use std::cell::Cell;
use std::collections::BTreeMap;

use e2e::ApiServer;
use e2e::kube::{AGENT, PLUGIN, User};
use serde_json::{Value, json};

use super::changes::{Change, Method, NADS, Who, pod};

/// A server without policies, whose users have every right to pods and networks.
pub(super) struct Scene {
    pub(super) api: ApiServer,
    users: [User; 4],
    number: Cell<u32>,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let api = ApiServer::start();
        api.agent_kubeconfig();
        api.plugin_kubeconfig();
        // Only the policies stand between the accounts and everything.
        api.apply_value(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "everything" },
            "rules": [
                { "apiGroups": [""], "resources": ["pods", "pods/status", "pods/binding"], "verbs": ["*"] },
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
        Scene {
            users: users.map(|path| User::of(&path)),
            api,
            number: Cell::new(1),
        }
    }

    /// Makes a namespace with two pods on two nodes, one on none, and a network.
    pub(super) fn prepare(&self, namespace: &str) {
        let kept = BTreeMap::from([("keep".to_owned(), "x".to_owned())]);
        self.api.create_pod(namespace, "own", &kept, "n1");
        self.api.create_pod(namespace, "other", &kept, "n2");
        self.api.nad(namespace, "kept", json!({ "type": "bridge" }));
        let unbound = pod("unbound", &[]);
        let (status, answer) = self.api.admin().post(&path_of(namespace, "pods"), &unbound);
        assert_eq!(status, 200, "{answer}");
    }

    /// Applies objects, and deletes those without a spec.
    pub(super) fn put(&self, objects: &[Value]) {
        for object in objects {
            if object.get("spec").is_some() {
                self.api.apply_value(object);
                continue;
            }
            let name = object["metadata"]["name"].as_str().expect("a name");
            let path = format!(
                "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/{name}"
            );
            let (status, answer) = self.api.admin().delete(&path);
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// Makes a change in a namespace; the answer's status and message.
    pub(super) fn change(&self, namespace: &str, change: &Change) -> (u16, String) {
        let number = self.number.get() + 1;
        self.number.set(number);
        let user = &self.users[match change.who {
            Who::Agent => 0,
            Who::Plugin => 1,
            Who::Unbound => 2,
            Who::Tenant => 3,
        }];
        let path = path_of(namespace, change.path);
        let (status, answer) = match change.method {
            Method::Post => user.post(&path, &(change.object)(number)),
            // Some write the number into an address.
            Method::Patch => user.patch(&path, &(change.object)(number % 250)),
            Method::Delete => user.delete(&path),
        };
        let message = answer["message"].as_str().unwrap_or_default();
        (status, message.to_owned())
    }

    /// Whether a policy, or a copy of it, refuses a change.
    pub(super) fn is_refused(&self, namespace: &str, change: &Change, policy: &str) -> bool {
        let (status, message) = self.change(namespace, change);
        let is_refused =
            status == 403 && message.contains(&format!("ValidatingAdmissionPolicy '{policy}'"));
        if !is_refused {
            // Shown if the test fails.
            eprintln!("{namespace}: {}: {status} {message}", change.what);
        }
        is_refused
    }
}

fn path_of(namespace: &str, path: &str) -> String {
    let api = match path.starts_with(NADS) {
        true => "/apis/k8s.cni.cncf.io/v1",
        false => "/api/v1",
    };
    format!("{api}/namespaces/{namespace}/{path}")
}
