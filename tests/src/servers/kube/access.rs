//! Who may do what: ServiceAccounts, their tokens and kubeconfigs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::host::wait::wait_until;
use crate::servers::kube::{ApiServer, block_on};

/// The rights that meta-cni is shipped with.
const RBAC: &str = include_str!("../../../../deploy/rbac.yaml");

/// The rights that meta-cnid is shipped with.
const AGENT_RBAC: &str = include_str!("../../../../deploy/agent-rbac.yaml");

/// The ServiceAccount of `deploy/agent-rbac.yaml`, as namespace and name.
pub const AGENT: (&str, &str) = ("kube-system", "meta-cnid");

/// The ServiceAccount of `deploy/rbac.yaml`, as namespace and name.
pub const PLUGIN: (&str, &str) = ("kube-system", "meta-cni");

/// How long the authorizer may take to hear of new rights.
const RIGHTS_PATIENCE: Duration = Duration::from_secs(30);

impl ApiServer {
    /// A kubeconfig with the ServiceAccount and the rights of `deploy/rbac.yaml`, as they are shipped:
    /// what meta-cni has on a node.
    ///
    /// # Panics
    /// When the server refuses a part of it.
    pub fn plugin_kubeconfig(&self) -> &Path {
        self.plugin
            .get_or_init(|| self.account_of(RBAC, PLUGIN, "get"))
    }

    /// The same of `deploy/agent-rbac.yaml`: what meta-cnid has.
    ///
    /// # Panics
    /// When the server refuses a part of it.
    pub fn agent_kubeconfig(&self) -> &Path {
        self.agent
            .get_or_init(|| self.account_of(AGENT_RBAC, AGENT, "watch"))
    }

    /// Applies rights, waits until they hold, and writes a kubeconfig of their ServiceAccount, which may then do `verb`
    /// to pods.
    fn account_of(&self, rights: &str, (namespace, name): (&str, &str), verb: &str) -> PathBuf {
        self.install_nad_crd();
        self.apply(rights);
        let user = format!("system:serviceaccount:{namespace}:{name}");
        wait_until("the rights that are shipped", RIGHTS_PATIENCE, || {
            self.may(&user, verb, "", "pods").then_some(())
        });
        self.kubeconfig_for(namespace, name)
    }

    /// Whether a user may do `verb` to a resource (`pods`, `pods/status`) of an API group in every
    /// namespace, as `kubectl auth can-i` asks it.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn may(&self, user: &str, verb: &str, group: &str, resource: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review: SubjectAccessReview = serde_json::from_value(json!({
            "metadata": {},
            "spec": {
                "user": user,
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "verb": verb,
                    "group": group,
                    "resource": resource,
                    "subresource": subresource,
                },
            },
        }))
        .expect("a review");
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = block_on(api.create(&PostParams::default(), &review));
        let status = answer.expect("the server reviews").status;
        status.is_some_and(|status| status.allowed)
    }

    /// Makes a ServiceAccount, without any rights, unless it is there.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn service_account(&self, namespace: &str, name: &str) {
        self.namespace(namespace);
        self.apply_value(&json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "namespace": namespace, "name": name },
        }));
    }

    /// A new token of a ServiceAccount, which is made if it is not there; good for an hour.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn token(&self, namespace: &str, service_account: &str) -> String {
        self.service_account(namespace, service_account);
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest::default();
        let params = PostParams::default();
        let answer = block_on(api.create_token_request(service_account, &params, &request));
        answer
            .expect("a token")
            .status
            .expect("a token has a status")
            .token
            .expect("the status holds a token")
    }

    /// Writes a kubeconfig with a new token of a ServiceAccount, which is made if it is not there.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn kubeconfig_for(&self, namespace: &str, service_account: &str) -> PathBuf {
        let token = self.token(namespace, service_account);
        self.write_kubeconfig(&format!("{namespace}-{service_account}"), &token)
    }

    /// Writes a kubeconfig with a token.
    pub(super) fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let path = self.folder().join(format!("{name}.kubeconfig"));
        let text = kubeconfig(self.folder(), self.address(), token);
        fs::write(&path, text).expect("write a kubeconfig");
        path
    }

    /// Binds a ServiceAccount to a ClusterRole, in the whole cluster. The aggregated roles (`view`,
    /// `edit`, `admin`) are empty here: a controller that does not run would fill them.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn bind(&self, namespace: &str, service_account: &str, cluster_role: &str) {
        self.apply_value(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{namespace}-{service_account}-{cluster_role}") },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": cluster_role,
            },
            "subjects": [{
                "kind": "ServiceAccount",
                "namespace": namespace,
                "name": service_account,
            }],
        }));
    }

    /// The certificate that a client checks the server by, as PEM.
    pub fn ca(&self) -> PathBuf {
        certificate(self.folder())
    }
}

/// The server signs its certificate itself and appends the authority.
fn certificate(folder: &Path) -> PathBuf {
    folder.join("certificates").join("apiserver.crt")
}

pub(super) fn kubeconfig(folder: &Path, address: SocketAddr, token: &str) -> String {
    let ca = fs::read(certificate(folder)).expect("the server has a certificate");
    let object = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "e2e",
            "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority-data": BASE64_STANDARD.encode(ca),
            },
        }],
        "users": [{ "name": "e2e", "user": { "token": token } }],
        "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": "e2e" } }],
        "current-context": "e2e",
    });
    process::yaml::write(&object).expect("JSON is YAML")
}
