//! Our own configuration: the keys of the network configuration that the container runtime hands to
//! `meta-cni`. A Multus configuration is one of them. Unknown keys are accepted.

mod agent;
mod allowed;
pub(crate) mod attachment_policies;
mod host_paths;

use std::path::PathBuf;
use std::time::Duration;

use cni::name::is_identifier;
use plugins::Selection;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::advertisements::Accept;
use crate::diagnosis::Explain;
use crate::ipam::node_file;
pub use agent::note_agent;
use agent::noted_agent;
pub use allowed::AllowedPlugins;
pub use attachment_policies::{AttachmentPolicies, Mode};

/// Where the agent of a node listens by default.
pub const AGENT_SOCKET: &str = "/run/meta-cni/agent.sock";

/// The longest time that may be configured: a day.
const LONGEST_SECONDS: u64 = 86_400;

/// What to do when network-status cannot be written at the end of an ADD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStatusFailure {
    /// Undo the ADD and fail.
    #[default]
    Fail,
    /// Log a warning and succeed.
    Warn,
}

/// The keys of our configuration. Paths are absolute; a path below `/host` that exists only without this
/// prefix is used without it. Times are whole seconds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// Name of the network.
    pub name: String,
    /// The name under which this plugin was called.
    #[serde(rename = "type")]
    pub kind: String,
    /// `runtimeConfig`: what the runtime has for our capabilities.
    pub runtime_config: Map<String, Value>,

    /// A kubeconfig file; empty: the in-cluster environment, if there is one.
    pub kubeconfig: Option<PathBuf>,
    /// The agent's socket. Named: the agent is asked, and waited for. Empty: it is not asked. Absent: the same as named if
    /// this node ever had an agent ([`note_agent`]) or [`AGENT_SOCKET`] is there.
    pub agent_socket: Option<String>,
    /// How long an agent that is away is waited for.
    pub agent_timeout_seconds: u64,
    /// A folder of NetworkAttachmentDefinition and Pod YAML, instead of an API server.
    pub networks_dir: Option<PathBuf>,
    /// Inline configurations or lists; the first is the default network.
    pub delegates: Vec<Value>,
    /// The default network by name; wins over `delegates`.
    pub cluster_network: Option<String>,
    /// More networks for every pod outside `systemNamespaces`; only together with `clusterNetwork`.
    pub default_networks: Vec<String>,
    /// Namespaces whose pods get no `defaultNetworks`.
    pub system_namespaces: Vec<String>,
    /// Where `clusterNetwork`, `defaultNetworks` and an unqualified default-network annotation are
    /// read.
    pub multus_namespace: String,
    /// Whether pods may only name networks of their own namespace and of `globalNamespaces`.
    pub namespace_isolation: bool,
    /// Comma list of namespaces that every pod may name.
    pub global_namespaces: String,
    /// A file that must exist before ADD goes on.
    #[serde(rename = "readinessindicatorfile", alias = "readinessIndicatorFile")]
    pub readiness_indicator_file: Option<PathBuf>,

    /// Folder of configurations that are found by name.
    pub conf_dir: PathBuf,
    /// Where Multus kept its scratch files.
    pub cni_dir: PathBuf,
    /// Folder of plugins, searched before CNI_PATH.
    pub bin_dir: PathBuf,
    /// Where records are kept.
    pub state_dir: PathBuf,
    /// The kubelet's folder, with its sockets and checkpoints for devices.
    pub kubelet_dir: PathBuf,
    /// Where device plugins and CNI exchange files about devices.
    pub device_info_dir: PathBuf,

    /// How many secondary networks are worked on at once; 1 is strictly in order.
    pub max_parallel_delegates: usize,
    /// Which plugins are served in this process: `auto`, `off`, or a list of types.
    #[serde(deserialize_with = "selection")]
    pub builtin_plugins: Selection,
    /// How long one execution of a delegate may take.
    pub delegate_timeout_seconds: u64,
    /// How long one verb may take, all of it.
    pub verb_timeout_seconds: u64,
    /// How long ADD waits for the duplicate detection of the pod's IPv6 addresses; 0: it does not wait.
    pub dad_timeout_seconds: u64,
    /// What secondary interfaces learn from router advertisements.
    pub accept_router_advertisements: Accept,
    /// How long ADD waits for `readinessindicatorfile`.
    pub readiness_timeout_seconds: u64,
    /// The plugins that may be run; none given: any.
    pub allowed_plugins: Option<AllowedPlugins>,
    /// Devices that pods and networks without a resource may name; `*` is any.
    pub allowed_devices: Vec<String>,
    /// What tenants may ask for where no AttachmentPolicy matches: `enforce`, `report` or `off`, with a floor.
    pub attachment_policy: AttachmentPolicies,
    /// What to do when network-status cannot be written.
    pub on_status_failure: OnStatusFailure,

    /// File to which logs are appended.
    pub log_file: Option<PathBuf>,
    /// `error`, `warn` (also `panic`), `info` (also `verbose`) or `debug`.
    pub log_level: Option<String>,
    /// Whether logs go to standard error.
    pub log_to_stderr: bool,
}

fn selection<'de, D: Deserializer<'de>>(from: D) -> Result<Selection, D::Error> {
    let value = Value::deserialize(from)?;
    Selection::from_value(&value).map_err(de::Error::custom)
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: String::new(),
            kind: "meta-cni".to_owned(),
            runtime_config: Map::new(),
            kubeconfig: None,
            agent_socket: None,
            agent_timeout_seconds: 10,
            networks_dir: None,
            delegates: Vec::new(),
            cluster_network: None,
            default_networks: Vec::new(),
            system_namespaces: vec!["kube-system".to_owned()],
            multus_namespace: "kube-system".to_owned(),
            namespace_isolation: false,
            global_namespaces: "default".to_owned(),
            readiness_indicator_file: None,
            conf_dir: "/etc/cni/multus/net.d".into(),
            cni_dir: "/var/lib/cni/multus".into(),
            bin_dir: "/opt/cni/bin".into(),
            state_dir: "/var/lib/meta-cni".into(),
            kubelet_dir: "/var/lib/kubelet".into(),
            device_info_dir: "/var/run/k8s.cni.cncf.io/devinfo".into(),
            max_parallel_delegates: 4,
            builtin_plugins: Selection::Auto,
            delegate_timeout_seconds: 60,
            verb_timeout_seconds: 110,
            dad_timeout_seconds: 5,
            accept_router_advertisements: Accept::default(),
            readiness_timeout_seconds: 45,
            allowed_plugins: None,
            allowed_devices: Vec::new(),
            attachment_policy: AttachmentPolicies::default(),
            on_status_failure: OnStatusFailure::Fail,
            log_file: None,
            log_level: None,
            log_to_stderr: true,
        }
    }
}

/// A configuration of ours that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A key has a value that it cannot have.
    #[error("configuration key {key}: {problem}")]
    Key {
        /// The key, with the place inside it.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Explain for ConfigError {
    fn remedy(&self) -> Option<String> {
        Some("correct it in the network configuration of this node".to_owned())
    }
}

impl Config {
    /// Reads our keys from the configuration that the runtime gave.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key.
    pub fn parse(conf: &Map<String, Value>) -> Result<Config, ConfigError> {
        let conf: Map<String, Value> = conf
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let config: Config =
            serde_path_to_error::deserialize(Value::Object(conf)).map_err(|error| {
                ConfigError::Key {
                    key: error.path().to_string(),
                    problem: error.inner().to_string(),
                }
            })?;
        config.check()?;
        Ok(config.without_empty_texts().with_paths_of_this_node())
    }

    /// Whether the network has a name that container runtimes and plugins take. A verb that cleans up does
    /// not ask for it.
    ///
    /// # Errors
    /// [`ConfigError`] if it has none, or one of other characters.
    pub fn check_name(&self) -> Result<(), ConfigError> {
        let problem = match self.name.as_str() {
            "" => "is missing; give the network a name".to_owned(),
            name if !is_identifier(name) => {
                format!("{name:?} is not a name; use letters, digits, '.', '_' and '-'")
            }
            _ => return Ok(()),
        };
        Err(ConfigError::Key {
            key: "name".to_owned(),
            problem,
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, problem: &str| {
            Err(ConfigError::Key {
                key: key.to_owned(),
                problem: problem.to_owned(),
            })
        };
        if self.max_parallel_delegates == 0 {
            return wrong("maxParallelDelegates", "must be 1 or more");
        }
        if !(1..=LONGEST_SECONDS).contains(&self.delegate_timeout_seconds) {
            return wrong("delegateTimeoutSeconds", "must be from 1 to 86400");
        }
        if !(10..=LONGEST_SECONDS).contains(&self.verb_timeout_seconds) {
            return wrong("verbTimeoutSeconds", "must be from 10 to 86400");
        }
        if self.readiness_timeout_seconds > LONGEST_SECONDS {
            return wrong("readinessTimeoutSeconds", "must be from 0 to 86400");
        }
        if self.dad_timeout_seconds > LONGEST_SECONDS {
            return wrong("dadTimeoutSeconds", "must be from 0 to 86400");
        }
        if self.agent_timeout_seconds > LONGEST_SECONDS {
            return wrong("agentTimeoutSeconds", "must be from 0 to 86400");
        }
        if self.agent().is_some_and(|socket| !socket.is_absolute()) {
            return wrong(
                "agentSocket",
                "must be an absolute path, or empty for no agent",
            );
        }
        let paths = [
            ("confDir", &self.conf_dir),
            ("cniDir", &self.cni_dir),
            ("binDir", &self.bin_dir),
            ("stateDir", &self.state_dir),
            ("kubeletDir", &self.kubelet_dir),
            ("deviceInfoDir", &self.device_info_dir),
        ];
        let optional = [
            ("kubeconfig", &self.kubeconfig),
            ("networksDir", &self.networks_dir),
            ("readinessindicatorfile", &self.readiness_indicator_file),
            ("logFile", &self.log_file),
        ];
        let given = optional
            .iter()
            .filter_map(|(key, path)| Some((*key, path.as_ref()?)));
        for (key, path) in paths.into_iter().chain(given) {
            if !path.as_os_str().is_empty() && !path.is_absolute() {
                return wrong(key, "must be an absolute path");
            }
        }
        Ok(())
    }

    /// An empty text is the same as an absent key.
    fn without_empty_texts(mut self) -> Config {
        let defaults = Config::default();
        let keep = |path: &mut PathBuf, default: PathBuf| {
            if path.as_os_str().is_empty() {
                *path = default;
            }
        };
        keep(&mut self.conf_dir, defaults.conf_dir);
        keep(&mut self.cni_dir, defaults.cni_dir);
        keep(&mut self.bin_dir, defaults.bin_dir);
        keep(&mut self.state_dir, defaults.state_dir);
        keep(&mut self.kubelet_dir, defaults.kubelet_dir);
        keep(&mut self.device_info_dir, defaults.device_info_dir);
        let set = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        self.kubeconfig = set(self.kubeconfig);
        self.networks_dir = set(self.networks_dir);
        self.log_file = set(self.log_file);
        self.readiness_indicator_file = set(self.readiness_indicator_file);
        self.cluster_network = self.cluster_network.filter(|name| !name.is_empty());
        if self.multus_namespace.is_empty() {
            self.multus_namespace = defaults.multus_namespace;
        }
        self
    }

    /// The namespaces of `globalNamespaces`.
    pub fn global_namespaces(&self) -> impl Iterator<Item = &str> {
        self.global_namespaces
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }

    /// Whether this is a node of Kubernetes, as far as a call without a pod can find out: the configuration
    /// has Multus' key `clusterNetwork`, or a kubelet keeps pods here.
    pub fn is_of_kubernetes(&self) -> bool {
        self.cluster_network.is_some() || self.kubelet_dir.join("pods").is_dir()
    }

    /// The agent's socket, if the agent is to be asked.
    pub fn agent(&self) -> Option<PathBuf> {
        match self.agent_socket.as_deref() {
            Some("") => None,
            Some(named) => Some(named.trim_start_matches("unix://").into()),
            None => {
                let noted = noted_agent(&self.state_dir);
                let usual = PathBuf::from(AGENT_SOCKET);
                let there = noted.iter().chain([&usual]).find(|path| path.exists());
                there.cloned().or(noted)
            }
        }
    }

    /// The node's file for meta-ipam: below `confDir` if that was moved and has one, else the usual one.
    pub fn ipam_file(&self) -> PathBuf {
        let beside = self.conf_dir.join(node_file::BELOW);
        let is_moved = self.conf_dir != Config::default().conf_dir;
        match is_moved && beside.exists() {
            true => beside,
            false => node_file::USUAL.into(),
        }
    }

    /// How long an agent that is away is waited for.
    pub fn agent_timeout(&self) -> Duration {
        Duration::from_secs(self.agent_timeout_seconds)
    }

    /// How long one execution of a delegate may take.
    pub fn delegate_timeout(&self) -> Duration {
        Duration::from_secs(self.delegate_timeout_seconds)
    }

    /// How long one verb may take.
    pub fn verb_timeout(&self) -> Duration {
        Duration::from_secs(self.verb_timeout_seconds)
    }

    /// How long ADD waits for the duplicate detection of the pod's IPv6 addresses; none: nobody asks whether another
    /// host has them.
    pub fn dad_timeout(&self) -> Option<Duration> {
        (self.dad_timeout_seconds > 0).then(|| Duration::from_secs(self.dad_timeout_seconds))
    }

    /// The folders in which plugins are searched: `binDir`, then those of `path`, which is CNI_PATH.
    pub fn plugin_dirs(&self, path: &str) -> Vec<PathBuf> {
        let mut dirs = vec![self.bin_dir.clone()];
        for dir in path
            .split(':')
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
        {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs
    }
}

#[cfg(test)]
mod book;
#[cfg(test)]
mod tests;
