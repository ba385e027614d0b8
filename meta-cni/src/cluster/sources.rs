//! Which sources know of pods and networks, by the configuration and by what is around this process: the one choice for verbs
//! and for doctor.

pub mod agent;
pub mod api;
pub mod folder;

use std::path::PathBuf;
use std::time::Duration;

use super::Cluster;
use crate::config::Config;
use agent::AgentCluster;
use api::ApiCluster;
use folder::FolderCluster;

/// The variable by which a pod finds its API server.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Where this process runs, as far as the choice depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// In a pod, with an API server around it.
    Pod,
    /// On a host.
    Host,
}

impl Surroundings {
    /// As the environment says.
    pub(crate) fn of_process() -> Surroundings {
        match std::env::var_os(IN_CLUSTER) {
            Some(_) => Surroundings::Pod,
            None => Surroundings::Host,
        }
    }
}

/// How long a caller waits for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// As long as it takes: nothing works without an answer.
    Patient,
    /// Each question is asked once: an answer is welcome and not needed.
    Impatient,
}

/// The sources of a configuration. Nothing is read or connected yet.
#[derive(Default)]
pub(crate) struct Sources {
    /// The folder of manifests; nothing else is asked then.
    pub(crate) folder: Option<FolderCluster>,
    /// The socket of the node's agent.
    pub(crate) agent: Option<PathBuf>,
    /// The API server of the kubeconfig, else the one around this process.
    pub(crate) api: Option<ApiCluster>,
}

impl Sources {
    /// The sources that `config` names, or that are found in `around`.
    pub(crate) fn of(config: &Config, around: Surroundings) -> Sources {
        if let Some(dir) = &config.networks_dir {
            return Sources {
                folder: Some(FolderCluster::new(dir)),
                ..Sources::default()
            };
        }
        let api = match (&config.kubeconfig, around) {
            (Some(kubeconfig), _) => Some(ApiCluster::from_kubeconfig(kubeconfig)),
            (None, Surroundings::Pod) => Some(ApiCluster::in_cluster()),
            (None, Surroundings::Host) => None,
        };
        Sources {
            folder: None,
            agent: config.agent(),
            api,
        }
    }

    /// The source to ask: the folder, else the agent, which falls back on the API server, else the API server. The agent
    /// is waited for during `agent_timeout`.
    pub(crate) fn preferred(
        self,
        agent_timeout: Duration,
        waiting: Waiting,
    ) -> Option<Box<dyn Cluster>> {
        let is_patient = waiting == Waiting::Patient;
        if let Some(folder) = self.folder {
            return Some(Box::new(folder));
        }
        if let Some(socket) = self.agent {
            let agent = AgentCluster::new(socket, agent_timeout, self.api);
            let agent = if is_patient { agent } else { agent.impatient() };
            return Some(Box::new(agent));
        }
        let api = self.api?;
        Some(Box::new(if is_patient { api } else { api.impatient() }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sources_are_those_of_the_configuration_else_the_api_server_around_this_process() {
        use Surroundings::{Host, Pod};
        for (name, conf, around, expected) in [
            (
                "a folder alone",
                json!({"networksDir": "/n", "kubeconfig": "/k", "agentSocket": "/a"}),
                Pod,
                [true, false, false],
            ),
            (
                "a kubeconfig and an agent",
                json!({"kubeconfig": "/k", "agentSocket": "/a"}),
                Host,
                [false, true, true],
            ),
            (
                "in a pod",
                json!({"agentSocket": ""}),
                Pod,
                [false, false, true],
            ),
            (
                "on a host",
                json!({"agentSocket": ""}),
                Host,
                [false, false, false],
            ),
        ] {
            let config = Config::parse(conf.as_object().unwrap()).unwrap();
            let found = Sources::of(&config, around);
            let found = [
                found.folder.is_some(),
                found.agent.is_some(),
                found.api.is_some(),
            ];
            assert_eq!(found, expected, "{name}");
        }
    }
}
