//! A real cluster of one node, as `make cluster` starts it (tests/cluster/cluster.sh): kubelet, containerd, and all that rules them. What
//! is done in it is done by kubectl and Helm, as people do it.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::host::reaper::Reaper;
use crate::host::{locate, sweep};

/// A running cluster. Dropping it ends it, and removes everything that it has on the machine.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
    // Dropped in this order.
    _reaper: Reaper,
    _above: TempDir,
}

impl Cluster {
    /// Starts one. A process has one at a time.
    ///
    /// # Panics
    /// When it does not come to serve; what it lacks is in the test's output.
    pub fn start() -> Cluster {
        let above = sweep::temporary_folder();
        let folder = above.path().join("cluster");
        let name = format!("{}cluster", sweep::own_prefix());
        let cluster = Cluster {
            _reaper: Reaper::of_cluster(&script(), &name, &folder),
            name,
            folder,
            _above: above,
        };
        cluster.done(&["start"]);
        cluster
    }

    /// Brings images to the node.
    ///
    /// # Panics
    /// When containerd does not take one.
    pub fn import(&self, archive: &Path) {
        self.done(&["import", &archive.display().to_string()]);
    }

    /// Takes the power of the node away: its processes, mounts, interfaces and `/run` are gone. The API server goes on.
    pub fn power_off(&self) {
        self.done(&["power-off"]);
    }

    /// Switches the node on again.
    ///
    /// # Panics
    /// When the kubelet does not come to serve.
    pub fn boot(&self) {
        self.done(&["boot"]);
    }

    /// The folder that holds the node's own `/etc`, `/opt`, `/run` and `/var`.
    pub fn node_folder(&self) -> PathBuf {
        self.folder.join("node")
    }

    /// The kubeconfig of one who may do anything; it can be read on the node, too.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Runs a program on the node; gives its stdout.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> String {
        self.done(&[&["run"], command].concat())
    }

    /// Runs kubectl as one who may do anything; gives its stdout.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        text(arguments, &self.try_kubectl(arguments))
    }

    /// The same, whatever comes of it.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Output {
        let output = self.command("kubectl").args(arguments).output();
        output.expect("kubectl: run tests/tools/install.sh kubectl")
    }

    /// `kubectl get … -o json`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Value {
        let arguments = [&["get", "--output=json"], arguments].concat();
        serde_json::from_str(&self.kubectl(&arguments)).expect("kubectl writes JSON")
    }

    /// The items of a list of objects.
    ///
    /// # Panics
    /// When there is no such list.
    #[track_caller]
    pub fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let list = self.get(arguments);
        list["items"].as_array().expect("a list").clone()
    }

    /// Makes or changes an object.
    ///
    /// # Panics
    /// When the API server refuses it.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        let mut command = self.command("kubectl");
        command.args(["apply", "--filename=-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("run kubectl");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(object.to_string().as_bytes())
            .expect("kubectl reads");
        drop(stdin);
        text(&["apply"], &child.wait_with_output().expect("kubectl ends"));
    }

    /// Runs Helm in the namespace kube-system; gives its stdout.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn helm(&self, arguments: &[&str]) -> String {
        let mut command = self.command("helm");
        command.arg("--namespace=kube-system").args(arguments);
        let output = command.output();
        let output = output.expect("helm: run tests/tools/install.sh helm");
        text(arguments, &output)
    }

    /// A program that finds the cluster, in the folder of the workspace.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        command.current_dir(workspace).env("PATH", path());
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        text(arguments, &self.script(arguments))
    }

    fn script(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(script());
        command
            .args(arguments)
            .env("CLUSTER_NAME", &self.name)
            .env("CLUSTER_DIR", &self.folder)
            .env("E2E_TOOLS_DIR", locate::tools())
            .env("PATH", path());
        command.output().expect("run tests/cluster/cluster.sh")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = self.script(&["stop"]);
        if !stopped.status.success() && !std::thread::panicking() {
            panic!("the cluster does not stop: {stopped:?}");
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/cluster.sh")
}

/// With what `install.sh` put into `target/tools/bin`.
fn path() -> OsString {
    let mut folders: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    folders.push(locate::tools().join("bin"));
    env::join_paths(folders).expect("a PATH")
}

#[track_caller]
fn text(arguments: &[&str], output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {err}{out}");
    out.into_owned()
}
