//! The configuration of ours in the place of Multus': thin, or thick as Multus' daemon generates it, with what its
//! daemon-config.json adds.

use std::fs;
use std::path::{Path, PathBuf};

use cni::key;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::obstacle::Obstacle;
use crate::config::Config;

/// `type` of thin and thick Multus.
const TYPES: [&str; 2] = ["multus", "multus-shim"];
/// Where a container of a DaemonSet has the node's files.
const PREFIX: &str = "/host";

/// Keys that mean the same for meta-cni.
const SAME: [&str; 17] = [
    "binDir",
    "capabilities",
    "clusterNetwork",
    "cniDir",
    "confDir",
    "defaultNetworks",
    "delegates",
    "globalNamespaces",
    "kubeconfig",
    "logFile",
    "logLevel",
    "logToStderr",
    "multusNamespace",
    "namespaceIsolation",
    "readinessindicatorfile",
    "runtimeConfig",
    "systemNamespaces",
];
/// Keys whose values are paths, or may be.
const PATHS: [&str; 7] = [
    "binDir",
    "clusterNetwork",
    "cniDir",
    "confDir",
    "kubeconfig",
    "logFile",
    "readinessindicatorfile",
];
/// Keys that only Multus, its shim or its daemon needs.
const IDLE: [&str; 18] = [
    "auxiliaryCNIChainName",
    "chrootDir",
    "cniConfigDir",
    "cniVersion",
    "cniVersions",
    "daemonSocketDir",
    "forceCNIVersion",
    "logOptions",
    "metricsPort",
    "multusAutoconfigDir",
    "multusConfigFile",
    "multusMasterCNI",
    "name",
    "overrideNetworkName",
    "perNodeCertificate",
    "retryDeleteOnError",
    "socketDir",
    "type",
];
/// What `meta-cni install` finds out, so that its settings lack it.
const FOUND_OUT: [&str; 3] = ["capabilities", "kubeconfig", "readinessindicatorfile"];

/// Multus' configuration of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Multus {
    /// The file.
    pub(super) path: PathBuf,
    /// The keys of its plugin; those of the list are among them.
    pub(super) keys: Map<String, Value>,
    /// Whether a daemon wrote it.
    pub(super) is_thick: bool,
}

/// What takes its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Configuration {
    /// The file of Multus.
    pub(super) replaces: PathBuf,
    /// The content of 00-meta-cni.conflist.
    pub(super) conflist: Value,
    /// For `meta-cni install --settings`, which finds the rest out.
    pub(super) settings: Map<String, Value>,
}

/// Multus' configuration in a folder of the runtime: the first file that has it.
pub(super) fn find(folder: &Path) -> Option<Multus> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.into_iter().find_map(|path| {
        let text = fs::read(&path).ok()?;
        let conf: Map<String, Value> = serde_json::from_slice(&text).ok()?;
        Multus::of(path, conf)
    })
}

impl Multus {
    /// Multus' keys in a configuration or list, if it is Multus'.
    pub(super) fn of(path: PathBuf, conf: Map<String, Value>) -> Option<Multus> {
        let kind = |plugin: &Map<String, Value>| {
            let kind = key::value_of(plugin, "type").and_then(Value::as_str);
            TYPES.into_iter().find(|known| kind == Some(*known))
        };
        if let Some(kind) = kind(&conf) {
            return Some(Multus {
                path,
                keys: conf,
                is_thick: kind == TYPES[1],
            });
        }
        let plugins = conf.get("plugins").and_then(Value::as_array)?;
        let mut plugins = plugins.iter().filter_map(Value::as_object);
        let (plugin, kind) = plugins.find_map(|plugin| Some((plugin.clone(), kind(plugin)?)))?;
        let mut keys = conf;
        keys.remove("plugins");
        keys.extend(plugin);
        Some(Multus {
            path,
            keys,
            is_thick: kind == TYPES[1],
        })
    }

    /// The folder in which libcni keeps what Multus' delegates returned.
    pub(super) fn cache(&self) -> PathBuf {
        let named = self.keys.get("cniDir").and_then(Value::as_str);
        let dir = named.filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let dir = dir.map(|dir| if self.is_thick { bare(&dir) } else { dir });
        dir.unwrap_or_else(|| Config::default().cni_dir)
            .join("results")
    }

    /// The configuration of ours; `daemon` is the daemon's own configuration.
    pub(super) fn replaced(
        &self,
        daemon: Option<&Map<String, Value>>,
    ) -> (Configuration, Vec<Obstacle>) {
        let mut all = daemon.cloned().unwrap_or_default();
        all.extend(self.keys.clone());
        let mut obstacles = Vec::new();
        let mut ours = Map::new();
        for (key, value) in all {
            if key.eq_ignore_ascii_case("readinessIndicatorFile") {
                ours.insert("readinessindicatorfile".to_owned(), value);
            } else if SAME.contains(&key.as_str()) {
                ours.insert(key, value);
            } else if !IDLE.contains(&key.as_str()) {
                obstacles.push(Obstacle::new(
                    format!("{} of {}", key, self.path.display()),
                    "it is no key of meta-cni",
                    "see the page Configuration for what does the same, or leave it out",
                ));
            }
        }
        ours.remove("runtimeConfig");
        if self.is_thick {
            without_prefix(&mut ours);
        }
        // Multus' daemon waits for the file itself, and takes it out of what it generates.
        let network = ours.get("clusterNetwork").and_then(Value::as_str);
        if let Some(path) = network.filter(|network| network.starts_with('/'))
            && self.is_thick
            && !ours.contains_key("readinessindicatorfile")
        {
            let path = json!(path);
            ours.insert("readinessindicatorfile".to_owned(), path);
        }
        if leases(ours.get("delegates")) {
            obstacles.push(Obstacle::new(
                format!("delegates of {}", self.path.display()),
                "an inline network leases by whereabouts",
                "name the pool in its ipam section by hand: {\"type\": \"meta-ipam\", \"pool\": NAME}",
            ));
        }
        let mut settings = ours.clone();
        let is_file = settings
            .get("clusterNetwork")
            .and_then(Value::as_str)
            .is_some_and(|network| network.starts_with('/'));
        let is_found_out =
            |key: &str| FOUND_OUT.contains(&key) || (is_file && key == "clusterNetwork");
        settings.retain(|key, _| !is_found_out(key));
        let text = |name: &str, default: &str| {
            let value = self.keys.get(name).and_then(Value::as_str);
            value.unwrap_or(default).to_owned()
        };
        let mut plugin = Map::new();
        plugin.insert("type".to_owned(), json!("meta-cni"));
        plugin.extend(ours);
        let conflist = json!({
            "cniVersion": text("cniVersion", "0.3.1"),
            "name": text("name", "multus-cni-network"),
            "plugins": [plugin],
        });
        let configuration = Configuration {
            replaces: self.path.clone(),
            conflist,
            settings,
        };
        (configuration, obstacles)
    }
}

/// Paths as they are on the node, not as Multus' daemon sees them.
fn without_prefix(keys: &mut Map<String, Value>) {
    let bare_text = |value: &mut Value| {
        if let Some(text) = value.as_str().filter(|text| text.starts_with('/')) {
            *value = json!(bare(Path::new(text)));
        }
    };
    for (_, value) in keys
        .iter_mut()
        .filter(|(key, _)| PATHS.contains(&key.as_str()))
    {
        bare_text(value);
    }
    if let Some(Value::Array(networks)) = keys.get_mut("defaultNetworks") {
        networks.iter_mut().for_each(bare_text);
    }
}

/// The path without `/host`.
fn bare(path: &Path) -> PathBuf {
    match path.strip_prefix(PREFIX) {
        Ok(rest) => Path::new("/").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// Whether an `ipam` object of whereabouts is in an inline network.
fn leases(delegates: Option<&Value>) -> bool {
    let is_theirs = |conf: &Value| {
        let ipam = conf
            .as_object()
            .and_then(|conf| key::value_of(conf, "ipam"));
        let kind = ipam.and_then(|ipam| key::value_of(ipam.as_object()?, "type"));
        kind.and_then(Value::as_str) == Some(super::ipam::TYPE)
    };
    let delegates = delegates.and_then(Value::as_array).into_iter().flatten();
    let mut all = delegates.flat_map(|conf| {
        let plugins = conf.get("plugins").and_then(Value::as_array);
        std::iter::once(conf).chain(plugins.into_iter().flatten())
    });
    all.any(is_theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(conf: Value, daemon: Option<Value>) -> (Configuration, Vec<Obstacle>) {
        let conf = conf.as_object().unwrap().clone();
        let multus = Multus::of("/etc/cni/net.d/00-multus.conf".into(), conf).expect("Multus'");
        let daemon = daemon.map(|daemon| daemon.as_object().unwrap().clone());
        multus.replaced(daemon.as_ref())
    }

    #[test]
    fn a_thin_configuration_keeps_its_keys() {
        // As thin_entrypoint of Multus 4.2 writes it.
        let (found, obstacles) = replaced(
            json!({
                "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus", "logLevel": "verbose",
                "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig", "namespaceIsolation": true,
                "globalNamespaces": "default,shared", "readinessindicatorfile": "/run/ready",
                "capabilities": {"portMappings": true},
                "delegates": [{"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}]}],
            }),
            None,
        );
        assert_eq!(obstacles, []);
        assert_eq!(
            found.conflist,
            json!({"cniVersion": "0.3.1", "name": "multus-cni-network", "plugins": [{
                "type": "meta-cni", "logLevel": "verbose", "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
                "namespaceIsolation": true, "globalNamespaces": "default,shared", "readinessindicatorfile": "/run/ready",
                "capabilities": {"portMappings": true},
                "delegates": [{"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}]}],
            }]})
        );
        let keys: Vec<_> = found.settings.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "logLevel",
                "namespaceIsolation",
                "globalNamespaces",
                "delegates"
            ]
        );
    }

    #[test]
    fn a_thick_configuration_loses_the_prefix_of_its_daemon() {
        let (found, obstacles) = replaced(
            json!({
                "capabilities": {"bandwidth": true, "portMappings": true}, "cniVersion": "0.3.1", "logLevel": "verbose",
                "logToStderr": true, "name": "multus-cni-network", "clusterNetwork": "/host/etc/cni/net.d/10-calico.conflist",
                "type": "multus-shim", "daemonSocketDir": "/run/multus/socket",
            }),
            Some(json!({
                "chrootDir": "/hostroot", "cniConfigDir": "/host/etc/cni/net.d", "logLevel": "debug",
                "namespaceIsolation": true, "socketDir": "/host/run/multus/", "defaultNetworks": ["/host/etc/a.conf", "b"],
            })),
        );
        assert_eq!(obstacles, []);
        assert_eq!(
            found.conflist["plugins"][0],
            json!({
                "type": "meta-cni", "logLevel": "verbose", "namespaceIsolation": true,
                "defaultNetworks": ["/etc/a.conf", "b"], "capabilities": {"bandwidth": true, "portMappings": true},
                "logToStderr": true, "clusterNetwork": "/etc/cni/net.d/10-calico.conflist",
                "readinessindicatorfile": "/etc/cni/net.d/10-calico.conflist",
            })
        );
        assert!(
            !found.settings.contains_key("clusterNetwork"),
            "{:?}",
            found.settings
        );
    }

    #[test]
    fn what_is_no_key_of_ours_is_an_obstacle() {
        let (_, obstacles) = replaced(
            json!({"type": "multus", "colour": "blue", "delegates": [
                {"type": "bridge", "ipam": {"type": "whereabouts", "range": "10.1.0.0/24"}},
            ]}),
            None,
        );
        let what: Vec<_> = obstacles.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "colour of /etc/cni/net.d/00-multus.conf",
                "delegates of /etc/cni/net.d/00-multus.conf"
            ]
        );
    }

    #[test]
    fn the_file_is_found_also_as_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, conf: Value| {
            fs::write(folder.path().join(name), conf.to_string()).unwrap();
        };
        write(
            "10-calico.conflist",
            json!({"name": "k8s", "plugins": [{"type": "calico"}]}),
        );
        assert_eq!(find(folder.path()), None);
        write(
            "00-multus.conflist",
            json!({"cniVersion": "1.1.0", "name": "m", "plugins": [{"type": "multus", "cniDir": "/c"}]}),
        );
        let found = find(folder.path()).expect("there");
        assert_eq!(found.cache(), Path::new("/c/results"));
        assert_eq!(found.replaced(None).0.conflist["cniVersion"], "1.1.0");
        assert_eq!(find(&folder.path().join("none")), None);
    }
}
