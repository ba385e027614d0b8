//! A machine: process IDs, mounts, `/run` and `/var/lib` of its own, and the network of a node. To lose its
//! power is to lose the first of its processes: the kernel ends the others, and takes mounts and namespaces
//! that nobody uses any more away.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::cgroups;
use crate::host::daemon::{Daemon, children, first_child};
use crate::host::netns::Netns;
use crate::host::wait::wait_until;
use crate::node::Node;

/// What the first process does: makes the folders its own, says so, and then only inherits orphans and
/// waits for them. Its `$0` is the folder of the machine.
const INIT: &str = r#"set -e
mount --bind "$0/run" /run
mount --bind "$0/lib" /var/lib
: >"$0/run/booted"
sleep infinity &
wait"#;

const PATIENCE: Duration = Duration::from_secs(30);

/// A machine, on or off. Dropping it switches it off.
#[derive(Debug)]
pub struct Machine {
    name: String,
    folder: PathBuf,
    power: Option<Power>,
}

#[derive(Debug)]
struct Power {
    unshare: Daemon,
    init: u32,
}

impl Machine {
    /// A machine with the name of a node and a folder in that of the node; it is off.
    pub(super) fn new(node: &Node) -> Machine {
        let folder = node.folder().join("machine");
        for part in ["run", "lib"] {
            fs::create_dir_all(folder.join(part)).expect("make a folder of the machine");
        }
        Machine {
            name: node.name().to_owned(),
            folder,
            power: None,
        }
    }

    /// Switches it on, with the network of the calling thread.
    pub(super) fn boot(&mut self) {
        assert!(self.power.is_none(), "it is on already");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--mount-proc", "--fork", "--kill-child"])
            .args(["sh", "-c", INIT])
            .arg(&self.folder);
        let mut unshare = Daemon::start(command, &self.folder.join("init.log"));
        wait_until("the machine boots", PATIENCE, || {
            assert!(unshare.ended().is_none(), "{}", unshare.log());
            self.run_dir().join("booted").exists().then_some(())
        });
        let init = first_child(unshare.pid()).expect("unshare runs the first process");
        self.power = Some(Power { unshare, init });
    }

    /// Switches it off: no process and no control group is left, and its `/run` is empty.
    pub(super) fn power_off(&mut self) {
        self.cut();
        fs::remove_dir_all(self.run_dir()).expect("empty /run");
        fs::create_dir(self.run_dir()).expect("make /run");
    }

    /// Ends its processes. Twice is as good as once.
    fn cut(&mut self) {
        let Some(mut power) = self.power.take() else {
            return;
        };
        // The first process is gone only when all others are (pid_namespaces(7)).
        let init = Pid::from_raw(power.init.cast_signed());
        let _gone_already = kill(init, Signal::SIGKILL);
        power.unshare.stop(Signal::SIGCONT);
        cgroups::remove(&self.name);
    }

    /// A program to be started on the machine. Whoever starts it does so in the network of the machine.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--target", &self.init().to_string()])
            .arg("--")
            .arg(program);
        command
    }

    /// Its name, which is also that of its group in each hierarchy of control groups.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is `/run` on the machine. Mounts below it are seen by [`Machine::root`] only.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// What is `/var/lib` on the machine.
    pub fn lib_dir(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// The root of its file systems, mounts included.
    ///
    /// # Panics
    /// When it is off.
    pub fn root(&self) -> PathBuf {
        Path::new("/proc")
            .join(self.init().to_string())
            .join("root")
    }

    /// A network namespace that a program of the machine made at this path.
    ///
    /// # Panics
    /// When it is off.
    pub fn netns(&self, path: &str) -> Netns {
        // `/var/run` is a link to `/run`, which from here would lead to the one outside.
        let path = path.strip_prefix("/var").unwrap_or(path);
        Netns::borrow(&self.root().join(path.trim_start_matches('/')))
    }

    /// Its processes, and those that they started with process IDs of their own: containers.
    ///
    /// # Panics
    /// When it is off.
    pub fn processes(&self) -> Vec<u32> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.init());
        let entries = fs::read_dir("/proc").expect("list processes").flatten();
        let mut pids: Vec<u32> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| namespace(*pid) == own)
            .collect();
        let started: Vec<u32> = pids.iter().flat_map(|pid| children(*pid)).collect();
        pids.extend(started);
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn init(&self) -> u32 {
        self.power.as_ref().expect("the machine is on").init
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut();
    }
}
