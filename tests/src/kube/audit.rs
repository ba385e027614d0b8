//! Which requests the API server got, from its audit log.

use std::fs;

use serde_json::Value;

use crate::kube::ApiServer;

pub(super) const POLICY_FILE: &str = "audit-policy.yaml";
pub(super) const LOG_FILE: &str = "audit.jsonl";

/// One line a request when it is answered, a watch when it begins; none for the server's own.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: [\"system:apiserver\", admin]
  - level: Metadata
";

impl ApiServer {
    /// The requests of a ServiceAccount so far, as `<verb> <path and query>`, for example
    /// `patch /api/v1/namespaces/default/pods/web/status`. A watch counts once when it begins and
    /// once when it ends. The administrator's requests are not written down.
    pub fn requests(&self, namespace: &str, service_account: &str) -> Vec<String> {
        let user = format!("system:serviceaccount:{namespace}:{service_account}");
        let text = fs::read_to_string(self.folder().join(LOG_FILE)).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|event| event["user"]["username"] == user)
            .map(|event| {
                let field = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                format!("{} {}", field("verb"), field("requestURI"))
            })
            .collect()
    }
}
