//! Who knows of pods and networks: the API server with our credentials and rights there, or a folder.

use std::time::Duration;

use jiff::Timestamp;

use super::certificate::{Validity, of_server};
use super::finding::{Area, Finding, Severity};
use super::networks::Knowledge;
use crate::cluster::api::{ApiCluster, Credentials, Right};
use crate::cluster::folder::FolderCluster;
use crate::cluster::{Cluster, ClusterError};
use crate::cni::error::with_causes;
use crate::config::Config;

/// What meta-cni does at the API server (deploy/rbac.yaml).
const RIGHTS: [(Right, Severity); 4] = [
    (right("get", "", "pods", ""), Severity::Fault),
    (
        right(
            "get",
            "k8s.cni.cncf.io",
            "network-attachment-definitions",
            "",
        ),
        Severity::Fault,
    ),
    (right("patch", "", "pods", "status"), Severity::Fault),
    (right("create", "", "events", ""), Severity::Warning),
];

const fn right(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
) -> Right {
    Right {
        verb,
        group,
        resource,
        subresource,
    }
}

/// Who knows.
pub(super) enum Source {
    /// Nobody: there is no Kubernetes.
    Nobody,
    Folder(FolderCluster),
    Api(ApiCluster),
}

/// What is seen of an API server.
#[derive(Default)]
pub(super) struct Api {
    credentials: Option<Credentials>,
    /// Of the certificate that it shows.
    certificate: Option<Validity>,
    /// Why it does not serve.
    silence: Option<ClusterError>,
    /// Whether each of the rights is there; nothing: it was not told.
    rights: Option<Vec<bool>>,
    knows_networks: Option<bool>,
}

/// What is seen of a cluster.
pub(super) enum Seen {
    Nothing,
    Folder(Result<Vec<String>, ClusterError>),
    Api(Box<Api>),
}

impl Source {
    /// As meta-cni itself finds it, without an agent.
    pub(super) fn of(config: &Config) -> Source {
        match (&config.networks_dir, &config.kubeconfig) {
            (Some(dir), _) => Source::Folder(FolderCluster::new(dir)),
            (None, Some(kubeconfig)) => {
                Source::Api(ApiCluster::from_kubeconfig(kubeconfig).impatient())
            }
            (None, None) => Source::Nobody,
        }
    }

    /// What it is to those who look up networks; `is_silent`: it was found not to answer.
    pub(super) fn knowledge(&self, is_silent: bool) -> Knowledge<'_> {
        match self {
            Source::Nobody => Knowledge::Nowhere,
            _ if is_silent => Knowledge::Silent,
            Source::Folder(folder) => Knowledge::Known(folder),
            Source::Api(api) => Knowledge::Known(api),
        }
    }

    /// Looks at it, within `limit`.
    pub(super) fn look(&self, limit: Duration) -> Seen {
        match self {
            Source::Nobody => Seen::Nothing,
            Source::Folder(folder) => Seen::Folder(folder.everything().map(|all| all.broken)),
            Source::Api(api) => Seen::Api(Box::new(look_at_api(api, limit))),
        }
    }
}

fn look_at_api(api: &ApiCluster, limit: Duration) -> Api {
    let mut seen = Api::default();
    match api.credentials() {
        Ok(credentials) => seen.credentials = Some(credentials),
        Err(error) => {
            seen.silence = Some(error);
            return seen;
        }
    }
    if let Err(error) = api.ready(limit / 2) {
        seen.silence = Some(error);
    }
    let server = seen
        .credentials
        .as_ref()
        .map(|credentials| credentials.server.as_str());
    seen.certificate = server.and_then(|server| of_server(server, limit / 4));
    if seen.silence.is_none() {
        seen.rights = api.may(&RIGHTS.map(|(right, _)| right), limit / 4).ok();
        seen.knows_networks = api.knows_networks().ok();
    }
    seen
}

impl Seen {
    /// Whether pods and networks cannot be looked up.
    pub(super) fn is_silent(&self) -> bool {
        match self {
            Seen::Nothing => false,
            Seen::Folder(read) => read.is_err(),
            Seen::Api(api) => api.silence.is_some(),
        }
    }

    /// What is wrong with it.
    pub(super) fn check(&self, now: Timestamp) -> Vec<Finding> {
        match self {
            Seen::Nothing => Vec::new(),
            Seen::Folder(Err(error)) => vec![silent(error)],
            Seen::Folder(Ok(broken)) => broken.iter().map(|line| broken_document(line)).collect(),
            Seen::Api(api) => api.check(now),
        }
    }
}

fn broken_document(line: &str) -> Finding {
    let cause = format!("a manifest of networksDir cannot be read: {line}");
    Finding::fault(
        Area::Cluster,
        cause,
        "correct it: what it defines is not known to meta-cni",
    )
}

impl Api {
    fn check(&self, now: Timestamp) -> Vec<Finding> {
        let mut findings = self.check_credentials(now);
        let is_explained = findings
            .iter()
            .any(|found| found.severity == Severity::Fault);
        findings.extend(self.silence.as_ref().filter(|_| !is_explained).map(silent));
        for ((right, severity), has) in RIGHTS.iter().zip(self.rights.iter().flatten()) {
            if !has {
                let mut found = lacks(right);
                found.severity = *severity;
                findings.push(found);
            }
        }
        if self.knows_networks == Some(false) {
            let cause = "the API server does not know the kind NetworkAttachmentDefinition";
            findings.push(Finding::fault(
                Area::Cluster,
                cause,
                "kubectl apply -f crds/yaml",
            ));
        }
        findings
    }

    fn check_credentials(&self, now: Timestamp) -> Vec<Finding> {
        let Some(credentials) = &self.credentials else {
            return Vec::new();
        };
        let token = credentials.token.as_deref().and_then(Validity::of_token);
        let own = credentials
            .certificate
            .as_deref()
            .and_then(Validity::of_pem);
        let server = format!("the certificate of the API server {}", credentials.server);
        let renew =
            "write a new one into the kubeconfig (README, Install); it is read anew for every pod";
        [
            (token, "the token of the kubeconfig", renew),
            (own, "the client certificate of the kubeconfig", renew),
            (
                self.certificate,
                server.as_str(),
                "renew it at the API server, or correct this node's clock",
            ),
        ]
        .into_iter()
        .filter_map(|(validity, what, remedy)| validity?.finding(Area::Cluster, what, now, remedy))
        .collect()
    }
}

fn lacks(right: &Right) -> Finding {
    let slash = if right.subresource.is_empty() {
        ""
    } else {
        "/"
    };
    let cause = format!(
        "our credentials may not {} {}{slash}{}",
        right.verb, right.resource, right.subresource
    );
    Finding::fault(
        Area::Cluster,
        cause,
        "kubectl apply -f deploy/rbac.yaml, and use a token of its ServiceAccount",
    )
}

/// Why nothing is answered: what was asked and the innermost reason, with the remedy that the error knows.
pub(super) fn silent(error: &ClusterError) -> Finding {
    match error {
        ClusterError::Unavailable {
            what,
            remedy,
            source,
        } => Finding::fault(
            Area::Cluster,
            format!("{what}: {}", with_causes(source.as_ref())),
            remedy.as_str(),
        ),
        error => Finding::fault(
            Area::Cluster,
            with_causes(error),
            "correct the kubeconfig, or networksDir",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(api: Api) -> Vec<String> {
        api.check(Timestamp::UNIX_EPOCH)
            .into_iter()
            .map(|found| found.cause)
            .collect()
    }

    #[test]
    fn rights_that_are_not_there_are_named() {
        let found = causes(Api {
            rights: Some(vec![true, false, false, true]),
            knows_networks: Some(false),
            ..Api::default()
        });
        assert_eq!(
            found,
            [
                "our credentials may not get network-attachment-definitions",
                "our credentials may not patch pods/status",
                "the API server does not know the kind NetworkAttachmentDefinition",
            ]
        );
    }

    #[test]
    fn a_token_that_ended_explains_the_silence() {
        use base64::Engine as _;
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"iat":-100,"exp":-10}"#);
        let credentials = |token: String| {
            Some(Credentials {
                server: "https://s".to_owned(),
                token: Some(token),
                certificate: None,
            })
        };
        let silence = || {
            Some(ClusterError::Unavailable {
                what: "get readiness at https://s".to_owned(),
                remedy: "look".to_owned(),
                source: "HTTP 401".into(),
            })
        };
        let ended = causes(Api {
            credentials: credentials(format!("e30.{claims}.")),
            silence: silence(),
            ..Api::default()
        });
        assert_eq!(
            ended,
            ["the token of the kubeconfig has expired: it was good until 1969-12-31T23:59:50Z"]
        );
        let other = causes(Api {
            credentials: credentials("opaque".to_owned()),
            silence: silence(),
            ..Api::default()
        });
        assert_eq!(other, ["get readiness at https://s: HTTP 401"]);
    }
}
