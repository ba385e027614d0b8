//! A folder that looks like the root of a node, and installers that run there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use super::super::place::Places;
use super::super::{self as install, InstallError, Options, Outcome, UninstallOptions};

/// The name of our configuration.
pub(super) const CONF: &str = "00-meta-cni.conflist";
/// Its usual place.
pub(super) const OURS: &str = "/etc/cni/net.d/00-meta-cni.conflist";
/// A primary network.
pub(super) const CALICO: &str = r#"{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[
    {"type":"calico","ipam":{"type":"calico-ipam"}},
    {"type":"portmap","snat":true,"capabilities":{"portMappings":true,"aliases":true}}]}"#;

/// The root of a node.
pub(super) struct Node {
    root: TempDir,
    /// Where the executables to install lie.
    source: TempDir,
}

#[derive(Parser)]
struct InstallLine {
    #[command(flatten)]
    options: Options,
}

#[derive(Parser)]
struct UninstallLine {
    #[command(flatten)]
    options: UninstallOptions,
}

impl Node {
    pub(super) fn new() -> Node {
        let node = Node {
            root: tempfile::tempdir().unwrap(),
            source: tempfile::tempdir().unwrap(),
        };
        for name in ["meta-cni", "meta-ipam"] {
            node.source(name, &format!("{name} 1"));
        }
        fs::create_dir_all(node.here("/etc/cni/net.d")).unwrap();
        node
    }

    /// A file of the node.
    pub(super) fn with(self, path: &str, text: &str) -> Node {
        let here = self.here(path);
        fs::create_dir_all(here.parent().unwrap()).unwrap();
        fs::write(here, text).unwrap();
        self
    }

    /// An executable to install.
    pub(super) fn source(&self, name: &str, text: &str) {
        fs::write(self.source.path().join(name), text).unwrap();
    }

    /// A path of the node as this process sees it.
    pub(super) fn here(&self, path: &str) -> PathBuf {
        self.root.path().join(path.strip_prefix('/').unwrap())
    }

    /// Runs an installer without an agent; what it wrote.
    pub(super) fn install(&self, flags: &[&str]) -> (Result<Outcome, InstallError>, String) {
        self.install_with_agent(&[&["--agent-socket="], flags].concat())
    }

    /// Runs an installer that waits for an agent.
    pub(super) fn install_with_agent(
        &self,
        flags: &[&str],
    ) -> (Result<Outcome, InstallError>, String) {
        let mut to = Vec::new();
        let options = self.options(flags);
        let outcome = install::run(&options, &mut to);
        (outcome, String::from_utf8(to).unwrap())
    }

    /// The options of an installer.
    pub(super) fn options(&self, flags: &[&str]) -> Options {
        let from = format!("--from={}", self.source.path().display());
        let root = self.root_flag();
        let line = [&["meta-cni", &root, &from], flags].concat();
        InstallLine::parse_from(line).options
    }

    /// Removes what was installed; what it wrote.
    pub(super) fn uninstall(&self, flags: &[&str]) -> String {
        let root = self.root_flag();
        let line = [&["meta-cni", &root], flags].concat();
        let mut to = Vec::new();
        let options = UninstallLine::parse_from(line).options;
        install::uninstall(&options, &mut to).unwrap();
        String::from_utf8(to).unwrap()
    }

    /// Its folders.
    pub(super) fn places(&self) -> Places {
        let line = UninstallLine::parse_from(["meta-cni", &self.root_flag()]);
        line.options.folders.places()
    }

    fn root_flag(&self) -> String {
        format!("--root={}", self.root.path().display())
    }

    /// Our configuration.
    pub(super) fn conf(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.here(OURS)).unwrap()).unwrap()
    }

    /// The primary network that it names.
    pub(super) fn primary(&self) -> String {
        let conf = self.conf();
        let path = conf["plugins"][0]["clusterNetwork"].as_str();
        path.unwrap().to_owned()
    }

    /// All files of the node with their content.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        collect(self.root.path(), &mut files);
        files
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => {
                let text = fs::read_to_string(&path).unwrap();
                files.insert(path, text);
            }
        }
    }
}
