//! Paths as thick Multus writes them. Its daemon sees the node's files below `/host`, and the configuration
//! that it generates for the node keeps the prefix (multus-cni, pkg/server/config/generator.go).

use std::path::{Path, PathBuf};

use super::Config;

/// Where a container of a DaemonSet has the node's files.
const PREFIX: &str = "/host";

impl Config {
    /// Every path as it is on this node.
    pub(super) fn with_paths_of_this_node(self) -> Config {
        self.with_paths_without(PREFIX)
    }

    fn with_paths_without(mut self, prefix: &str) -> Config {
        let given = [
            &mut self.kubeconfig,
            &mut self.networks_dir,
            &mut self.readiness_indicator_file,
            &mut self.log_file,
        ];
        let always = [
            &mut self.conf_dir,
            &mut self.cni_dir,
            &mut self.bin_dir,
            &mut self.state_dir,
            &mut self.kubelet_dir,
            &mut self.device_info_dir,
        ];
        for path in given.into_iter().flatten().chain(always) {
            *path = on_this_node(path, prefix);
        }
        // A network is named by a path or by its name, and the socket may be a URL.
        let networks = self.cluster_network.iter_mut();
        for text in networks.chain(&mut self.default_networks) {
            text_on_this_node(text, "", prefix);
        }
        if let Some(socket) = &mut self.agent_socket {
            text_on_this_node(socket, "unix://", prefix);
        }
        self
    }
}

fn text_on_this_node(text: &mut String, scheme: &str, prefix: &str) {
    let path = Path::new(text.strip_prefix(scheme).unwrap_or(text));
    if path.starts_with(prefix) {
        *text = on_this_node(path, prefix).display().to_string();
    }
}

/// The path without `prefix`, if more of its parts exist without it: an existing path is used as it is
/// written, and a file that does not exist yet belongs where its folder exists.
fn on_this_node(path: &Path, prefix: &str) -> PathBuf {
    let Ok(rest) = path.strip_prefix(prefix) else {
        return path.to_owned();
    };
    let bare = Path::new("/").join(rest);
    if missing(&bare) < missing(path) {
        bare
    } else {
        path.to_owned()
    }
}

/// The number of parts of the path that do not exist.
fn missing(path: &Path) -> usize {
    path.ancestors().take_while(|part| !part.exists()).count()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn a_path_is_used_without_the_prefix_if_more_of_it_exists_without() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().display().to_string();
        fs::create_dir_all(folder.path().join("etc/net.d")).unwrap();
        let written = |path: &str| format!("{node}/host{node}/{path}");
        let meant = |path: &str| {
            let path = on_this_node(Path::new(path), &format!("{node}/host"));
            path.display().to_string()
        };
        let bare = |path: &str| format!("{node}/{path}");
        for path in [
            "etc/net.d",
            "etc/net.d/absent.conf",
            "etc/absent/x",
            "absent",
        ] {
            assert_eq!(meant(&written(path)), bare(path), "no such prefix here");
        }
        assert_eq!(meant(&bare("etc/net.d")), bare("etc/net.d"), "no prefix");
        let elsewhere = format!("{node}/hostess/etc");
        assert_eq!(meant(&elsewhere), elsewhere);
        fs::create_dir_all(written("etc/net.d")).unwrap();
        fs::create_dir_all(folder.path().join("run")).unwrap();
        for path in ["etc/net.d", "etc/net.d/absent.conf"] {
            assert_eq!(meant(&written(path)), written(path), "it exists as written");
        }
        assert_eq!(meant(&written("run/ready")), bare("run/ready"));
    }

    #[test]
    fn every_key_with_a_path_is_read_with_the_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("host").display().to_string();
        let paths = [
            "kubeconfig",
            "agentSocket",
            "networksDir",
            "readinessindicatorfile",
            "logFile",
            "confDir",
            "cniDir",
            "binDir",
            "stateDir",
            "kubeletDir",
            "deviceInfoDir",
            "clusterNetwork",
        ];
        let conf = |prefix: &str| -> Config {
            let path = |key: &str| (key.to_owned(), json!(format!("{prefix}/etc/{key}")));
            let mut conf: Map<String, Value> = paths.map(path).into_iter().collect();
            let second = json!(["by-name", format!("{prefix}/etc/10-second.conf")]);
            conf.insert("defaultNetworks".to_owned(), second);
            Config::parse(&conf).unwrap()
        };
        assert_eq!(conf(&prefix).with_paths_without(&prefix), conf(""));
        let url = json!({"agentSocket": format!("unix://{prefix}/run/agent.sock")});
        let config = Config::parse(url.as_object().unwrap()).unwrap();
        let agent = config.with_paths_without(&prefix).agent();
        assert_eq!(agent.unwrap(), Path::new("/run/agent.sock"));
        let name = json!({"clusterNetwork": "host"});
        let config = Config::parse(name.as_object().unwrap()).unwrap();
        assert_eq!(config.cluster_network.as_deref(), Some("host"));
    }
}
