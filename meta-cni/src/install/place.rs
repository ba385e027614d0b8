//! The node's folders: as paths of the node, which the configuration names, and as this process sees them, which may be
//! below another root.

use std::path::{Path, PathBuf};

use clap::Args;

use super::layout::Layout;
use crate::config::{AGENT_SOCKET, Config};

/// The name of our configuration; it comes before those of all common networks.
pub(super) const CONF: &str = "00-meta-cni.conflist";
/// A folder beside the configuration: what belongs to meta-cni and is no configuration of the runtime.
const OWN: &str = "meta-cni.d";

/// Where things are on the node
#[derive(Clone, Debug, Args)]
pub(super) struct Folders {
    /// The distribution of Kubernetes, by its folders
    #[arg(long, value_enum, default_value = "standard", value_name = "NAME")]
    layout: Layout,
    /// Folder below which this process sees the node's folders, at their paths
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Folder that the container runtime reads its network configuration from [default: of the layout]
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    conf_dir: Option<PathBuf>,
    /// Folder in which the container runtime searches plugins [default: of the layout]
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    bin_dir: Option<PathBuf>,
    /// Folder in which the primary network's installer writes its configuration [default: of the layout; mostly --conf-dir]
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    primary_dir: Option<PathBuf>,
    /// The kubelet's folder [default: of the layout]
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    kubelet_dir: Option<PathBuf>,
    /// The folder of meta-cni's records
    #[arg(long, default_value = "/var/lib/meta-cni", value_name = "DIR", value_parser = absolute)]
    state_dir: PathBuf,
    /// The agent's socket; empty: this node has no agent
    #[arg(long, default_value = AGENT_SOCKET, value_name = "FILE")]
    agent_socket: String,
}

/// A path that does not depend on the folder of a process.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => Err("must be an absolute path of the node".to_owned()),
    }
}

/// The same, with every folder known. All paths are those of the node.
#[derive(Clone, Debug)]
pub(super) struct Places {
    root: PathBuf,
    pub(super) conf_dir: PathBuf,
    pub(super) bin_dir: PathBuf,
    pub(super) primary_dir: PathBuf,
    pub(super) kubelet_dir: PathBuf,
    pub(super) state_dir: PathBuf,
    pub(super) agent_socket: Option<PathBuf>,
}

impl Folders {
    /// Every folder, of the options or else of the layout.
    pub(super) fn places(&self) -> Places {
        let paths = self.layout.paths();
        let conf_dir = self.conf_dir.clone().unwrap_or_else(|| paths.conf.into());
        // A configuration folder that was moved takes the primary network's with it, unless the two differ.
        let of_layout = match (paths.primary == paths.conf, &self.conf_dir) {
            (true, Some(moved)) => moved.clone(),
            _ => paths.primary.into(),
        };
        Places {
            root: self.root.clone(),
            primary_dir: self.primary_dir.clone().unwrap_or(of_layout),
            conf_dir,
            bin_dir: self.bin_dir.clone().unwrap_or_else(|| paths.bin.into()),
            kubelet_dir: self
                .kubelet_dir
                .clone()
                .unwrap_or_else(|| paths.kubelet.into()),
            state_dir: self.state_dir.clone(),
            agent_socket: Some(&self.agent_socket)
                .filter(|socket| !socket.is_empty())
                .map(PathBuf::from),
        }
    }
}

impl Places {
    /// A path of the node as this process sees it.
    pub(super) fn here(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path of the node that this process sees as `path`.
    pub(super) fn on_node(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        Path::new("/").join(below)
    }

    /// Our configuration.
    pub(super) fn conf(&self) -> PathBuf {
        self.conf_dir.join(CONF)
    }

    /// Our own folder beside the configuration.
    pub(super) fn own(&self) -> PathBuf {
        self.conf_dir.join(OWN)
    }

    /// Where configurations lie that would come before ours.
    pub(super) fn aside(&self) -> PathBuf {
        self.own().join("aside")
    }

    /// Where files lie that were in the place of ours.
    pub(super) fn before(&self) -> PathBuf {
        self.own().join("before")
    }

    /// What is needed of these folders in the configuration, because it is not meta-cni's default.
    pub(super) fn keys(&self) -> Vec<(&'static str, &Path)> {
        let defaults = Config::default();
        let keys = [
            ("binDir", &self.bin_dir, &defaults.bin_dir),
            ("kubeletDir", &self.kubelet_dir, &defaults.kubelet_dir),
            ("stateDir", &self.state_dir, &defaults.state_dir),
        ];
        let moved = keys.into_iter().filter(|(_, path, usual)| path != usual);
        moved.map(|(key, path, _)| (key, path.as_path())).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        folders: Folders,
    }

    fn places(flags: &[&str]) -> Places {
        let line = Line::parse_from(["x"].iter().chain(flags));
        line.folders.places()
    }

    #[test]
    fn an_option_wins_over_the_layout_and_paths_are_seen_below_the_root() {
        let places = places(&["--layout=k3s", "--root=/host", "--bin-dir=/b"]);
        let conf = "/var/lib/rancher/k3s/agent/etc/cni/net.d/00-meta-cni.conflist";
        assert_eq!(places.conf(), Path::new(conf));
        let here = places.here(&places.conf());
        assert_eq!(here, Path::new("/host").join(&conf[1..]));
        assert_eq!(places.on_node(&here), places.conf());
        assert_eq!(places.keys(), [("binDir", Path::new("/b"))]);
    }

    #[test]
    fn the_primary_network_is_beside_ours_unless_the_layout_has_it_elsewhere() {
        for (flags, primary) in [
            (&[][..], "/etc/cni/net.d"),
            (&["--conf-dir=/c"], "/c"),
            (&["--layout=openshift"], "/run/multus/cni/net.d"),
            (
                &["--layout=openshift", "--conf-dir=/c"],
                "/run/multus/cni/net.d",
            ),
            (&["--conf-dir=/c", "--primary-dir=/p"], "/p"),
        ] {
            assert_eq!(places(flags).primary_dir, Path::new(primary), "{flags:?}");
        }
        assert_eq!(places(&["--agent-socket="]).agent_socket, None);
    }
}
