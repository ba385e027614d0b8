//! containerd: which one, its configuration, its process on a machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::daemon::{Daemon, first_child};
use crate::host::locate;
use crate::node::Node;
use crate::node::runtime::image;
use crate::node::runtime::machine::Machine;

/// A containerd. runc, which is written partly in C, is that of the distribution for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The one pinned in `tests/tools/containerd`, which speaks CNI 1.1: it asks for STATUS.
    Pinned,
    /// That of the distribution. Debian 12 has 1.6, which speaks CNI 1.0.
    Distribution,
}

impl Release {
    /// The newest version of CNI that every such release speaks.
    pub fn cni_version(self) -> &'static str {
        match self {
            Release::Pinned => "1.1.0",
            Release::Distribution => "1.0.0",
        }
    }

    fn folder(self) -> PathBuf {
        match self {
            Release::Pinned => locate::tools().join("containerd"),
            Release::Distribution => distribution().join("usr/bin"),
        }
    }
}

/// What `install.sh` unpacked.
pub(super) fn distribution() -> PathBuf {
    locate::tools().join("distribution")
}

/// The folder of CNI configurations on a node.
pub(super) fn cni_conf_dir(node: &Node) -> PathBuf {
    node.folder().join("net.d")
}

/// A containerd, running or not, that keeps to the default paths of its machine.
#[derive(Debug)]
pub(super) struct Containerd {
    release: Release,
    folder: PathBuf,
    process: Option<Daemon>,
}

impl Containerd {
    /// Writes its configuration into the folder of a node.
    pub(super) fn new(release: Release, node: &Node) -> Containerd {
        for program in ["containerd", "containerd-shim-runc-v2", "ctr"] {
            let path = release.folder().join(program);
            assert!(
                path.is_file(),
                "{} is not there: run `tests/tools/install.sh containerd`, or set E2E_TOOLS_DIR",
                path.display()
            );
        }
        let folder = node.folder().to_owned();
        fs::write(config_file(&folder), config(node)).expect("write a configuration");
        Containerd {
            release,
            folder,
            process: None,
        }
    }

    pub(super) fn release(&self) -> Release {
        self.release
    }

    /// Starts it, with the network of the calling thread.
    pub(super) fn start(&mut self, machine: &Machine) {
        assert!(self.process.is_none(), "it runs already");
        let mut command = self.command(machine, "containerd");
        command.arg("--config").arg(config_file(&self.folder));
        self.process = Some(Daemon::start(command, &self.log_file()));
    }

    /// Ends it by a signal.
    pub(super) fn stop(&mut self, signal: Signal) {
        let mut nsenter = self.process.take().expect("containerd runs");
        let pid = first_child(nsenter.pid()).expect("nsenter runs containerd");
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("send a signal");
        // Waits for its end: nsenter ends with what it runs.
        nsenter.stop(Signal::SIGCONT);
    }

    /// Its machine was switched off.
    pub(super) fn is_dead(&mut self) {
        self.process = None;
    }

    /// Fails the test if it ended by itself.
    pub(super) fn assert_alive(&mut self) {
        let ended = self.process.as_mut().and_then(Daemon::ended);
        if let Some(status) = ended {
            panic!("containerd ended, {status}: {}", self.log());
        }
    }

    /// Gives it the image of all containers, as often as one likes.
    pub(super) fn import_image(&self, machine: &Machine) {
        let output = self
            .command(machine, "ctr")
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(image::archive(&self.folder))
            .output()
            .expect("run ctr");
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("containerd.log")
    }

    /// A program of this release on a machine; it finds shim and runc in its PATH.
    fn command(&self, machine: &Machine, program: &str) -> Command {
        let mut command = machine.command(self.release.folder().join(program));
        command.env("PATH", self.path());
        command
    }

    fn path(&self) -> OsString {
        let mut folders = vec![self.release.folder(), distribution().join("usr/sbin")];
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        env::join_paths(folders).expect("a PATH")
    }
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("containerd.toml")
}

/// In version 2, which 1.6 reads and 2.x migrates. The snapshotter works on every file system, the
/// restriction where root may not spare processes from the out-of-memory killer, and the plugin that is off
/// would make a folder below `/opt`.
fn config(node: &Node) -> String {
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bin}"
conf_dir = "{conf}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        image = image::NAME,
        bin = node.bin_dir().display(),
        conf = cni_conf_dir(node).display(),
    )
}
