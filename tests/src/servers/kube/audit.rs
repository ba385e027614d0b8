//! Which requests the API server got, from its audit log.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::host::wait::wait_until;
use crate::servers::kube::{ApiServer, User};

/// How long the audit log may lag behind.
const PATIENCE: Duration = Duration::from_secs(20);

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

    /// The requests of a ServiceAccount about a namespace, as `<verb> <resource>/<name>`, sorted. All that were answered
    /// before this was called are among them. `kubeconfig` is one of the account, which may GET pods.
    ///
    /// # Panics
    /// When the audit log does not come.
    pub fn requests_about(
        &self,
        account: (&str, &str),
        kubeconfig: &Path,
        namespace: &str,
    ) -> Vec<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("/namespaces/{namespace}/");
        // The audit log is written in the order of the answers: when this one is there, all others are.
        let last = format!("audit-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let path = format!("/api/v1{prefix}pods/{last}");
        assert_eq!(User::of(kubeconfig).get(&path).0, 404);
        let mut lines = wait_until("the audit log", PATIENCE, || {
            let lines: Vec<String> = self
                .requests(account.0, account.1)
                .into_iter()
                .filter_map(|line| {
                    let (verb, path) = line.split_once(' ')?;
                    let (_, rest) = path.split_once(&prefix)?;
                    Some(format!("{verb} {rest}"))
                })
                .collect();
            let is_last = |line: &String| line.ends_with(&last);
            lines.iter().any(is_last).then_some(lines)
        });
        lines.retain(|line| !line.contains("pods/audit-"));
        lines.sort();
        lines
    }
}
