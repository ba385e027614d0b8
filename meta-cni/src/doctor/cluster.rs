//! Who knows of pods and networks: the agent, the API server with our credentials and rights there, or a folder.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use cni::error::with_causes;
use jiff::Timestamp;

use super::agent;
use super::certificate::{Validity, of_server};
use super::ended;
use super::finding::{Area, Finding, Severity};
use super::networks::Knowledge;
use crate::cluster::agent::AgentCluster;
use crate::cluster::api::{ApiCluster, Credentials, Right};
use crate::cluster::folder::FolderCluster;
use crate::cluster::{Cluster, ClusterError, sources};
use crate::diagnosis::Explain as _;

/// What meta-cni does at the API server (deploy/rbac.yaml).
const RIGHTS: [(Right, Severity); 6] = [
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
    (
        right("list", "meta-cni.io", "attachmentpolicies", ""),
        Severity::Warning,
    ),
    (right("get", "", "namespaces", ""), Severity::Warning),
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

/// Who may know.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) folder: Option<FolderCluster>,
    agent: Option<(PathBuf, AgentCluster)>,
    pub(super) api: Option<ApiCluster>,
}

/// What is seen of an API server.
#[derive(Default)]
pub(super) struct Api {
    credentials: Option<Credentials>,
    /// Of the certificate that it shows.
    certificate: Option<Validity>,
    /// Why it does not serve.
    silence: Option<ClusterError>,
    /// Whether each of the rights exists; nothing: it is not known.
    rights: Option<Vec<bool>>,
    knows_networks: Option<bool>,
}

/// What is seen of those who may know; nothing of those who are not asked.
#[derive(Default)]
pub(super) struct Seen {
    /// Documents that cannot be read.
    folder: Option<Result<Vec<String>, ClusterError>>,
    agent: Option<agent::Seen>,
    api: Option<Api>,
}

impl Sources {
    /// The same as meta-cni itself asks, each on its own and once.
    pub(super) fn of(named: sources::Sources) -> Sources {
        let agent = |socket: PathBuf| {
            let cluster = AgentCluster::new(socket.clone(), Duration::ZERO, None).impatient();
            (socket, cluster)
        };
        Sources {
            folder: named.folder,
            agent: named.agent.map(agent),
            api: named.api.map(ApiCluster::impatient),
        }
    }

    /// Inspects all of them side by side, within `limit`.
    pub(super) fn inspect(&self, limit: Duration) -> Seen {
        let read = |folder: &FolderCluster| folder.everything().map(|all| all.broken);
        thread::scope(|scope| {
            let socket = self.agent.as_ref().map(|(socket, _)| socket);
            let asked = socket.map(|socket| scope.spawn(move || agent::inspect(socket, limit)));
            Seen {
                folder: self.folder.as_ref().map(read),
                api: self.api.as_ref().map(|api| inspect_api(api, limit)),
                agent: asked.map(ended),
            }
        })
    }

    /// Who answers for pods and networks.
    pub(super) fn knowledge(&self, seen: &Seen) -> Knowledge<'_> {
        let silent = if seen.folder.is_none() && seen.agent.is_none() && seen.api.is_none() {
            Knowledge::Nowhere
        } else {
            Knowledge::Silent
        };
        let folder = self
            .folder
            .as_ref()
            .filter(|_| matches!(seen.folder, Some(Ok(_))));
        let agent = self
            .agent
            .as_ref()
            .filter(|_| seen.agent_version().is_some());
        let api = self
            .api
            .as_ref()
            .filter(|_| seen.api.as_ref().is_some_and(|api| api.silence.is_none()));
        let folder = folder.map(|folder| folder as &dyn Cluster);
        let agent = agent.map(|(_, agent)| agent as &dyn Cluster);
        let api = api.map(|api| api as &dyn Cluster);
        folder.or(agent).or(api).map_or(silent, Knowledge::Known)
    }
}

fn inspect_api(api: &ApiCluster, limit: Duration) -> Api {
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
    /// The version of the agent, if it answers.
    pub(super) fn agent_version(&self) -> Option<&str> {
        self.agent.as_ref()?.version()
    }

    /// How the agent calls this node, if it answers.
    pub(super) fn agent_node(&self) -> Option<&str> {
        self.agent.as_ref()?.node()
    }

    /// What is wrong with them. Whoever is only asked if another is away is not at fault while that one answers.
    pub(super) fn check(&self, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        match &self.folder {
            Some(Err(error)) => findings.push(silent(error)),
            Some(Ok(broken)) => findings.extend(broken.iter().map(|line| broken_document(line))),
            None => {}
        }
        let agent = self.agent.iter().flat_map(agent::check);
        findings.extend(agent.map(|found| at_most(found, self.api.is_some())));
        let api = self.api.iter().flat_map(|api| api.check(now));
        findings.extend(api.map(|found| at_most(found, self.agent_version().is_some())));
        findings
    }
}

/// The finding as a warning, if there is somebody else.
fn at_most(mut found: Finding, has_other: bool) -> Finding {
    if has_other {
        found.severity = Severity::Warning;
    }
    found
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
        let silence = self.silence.as_ref().filter(|_| !is_explained);
        findings.extend(silence.map(|error| self.silent(error)));
        findings.extend(self.check_rights());
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

    /// Why it does not serve. Which question it was does not matter.
    fn silent(&self, error: &ClusterError) -> Finding {
        let mut found = silent(error);
        if let (Some(credentials), ClusterError::Unavailable { source, .. }) =
            (&self.credentials, error)
        {
            let (server, why) = (&credentials.server, with_causes(source.as_ref()));
            found.cause = format!("the API server {server} does not serve us: {why}");
        }
        found
    }

    /// What our credentials may not do, if they may not do everything.
    fn check_rights(&self) -> Option<Finding> {
        let rights = RIGHTS.iter().zip(self.rights.iter().flatten());
        let lacking: Vec<_> = rights
            .filter(|(_, has)| !**has)
            .map(|(right, _)| right)
            .collect();
        let severity = lacking.iter().map(|(_, severity)| *severity).min()?;
        let named: Vec<_> = lacking.iter().map(|(right, _)| named(right)).collect();
        let cause = format!("our credentials may not {}", named.join(", "));
        let remedy = "kubectl apply -f deploy/rbac.yaml, and use a token of its ServiceAccount";
        let mut found = Finding::fault(Area::Cluster, cause, remedy);
        found.severity = severity;
        Some(found)
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
        let renew = "write a new one into the kubeconfig (docs/src/install.md); it is read anew for every pod";
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

/// `patch pods/status`.
fn named(right: &Right) -> String {
    match right.subresource {
        "" => format!("{} {}", right.verb, right.resource),
        sub => format!("{} {}/{sub}", right.verb, right.resource),
    }
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
        error => {
            let remedy = error.remedy();
            let remedy = remedy.as_deref();
            Finding::fault(
                Area::Cluster,
                with_causes(error),
                remedy.unwrap_or("correct the kubeconfig, or networksDir"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::sources::Surroundings;
    use crate::config::Config;

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
                "our credentials may not get network-attachment-definitions, patch pods/status",
                "the API server does not know the kind NetworkAttachmentDefinition",
            ]
        );
    }

    #[test]
    fn doctor_asks_the_api_server_around_it_as_meta_cni_does() {
        let config = Config::parse(json!({"agentSocket": ""}).as_object().unwrap()).unwrap();
        for (around, asked) in [(Surroundings::Pod, true), (Surroundings::Host, false)] {
            let sources = Sources::of(sources::Sources::of(&config, around));
            assert_eq!(sources.api.is_some(), asked, "{around:?}");
        }
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
        assert_eq!(
            other,
            ["the API server https://s does not serve us: HTTP 401"]
        );
    }
}
