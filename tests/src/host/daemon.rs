//! Background processes that never outlive the test process, even if that is killed.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::reaper::Reaper;

/// A process that runs beside the test, with both outputs in a file. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    reaper: Option<Reaper>,
}

impl Daemon {
    /// Starts `command`, in a process group of its own; its outputs are appended to `log`. To start it in a
    /// namespace, call this within [`crate::Netns::run`].
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Daemon {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("open the log of a process");
        let errors = output.try_clone().expect("share the log");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Daemon {
            reaper: Some(Reaper::of_process(child.id())),
            child,
            log: log.to_owned(),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` as long as it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for a child")
    }

    /// Sends a signal to it: SIGSTOP and SIGCONT, for example, let it seem to hang and go on.
    pub fn signal(&self, signal: Signal) {
        let _gone_already = kill(Pid::from_raw(self.pid().cast_signed()), signal);
    }

    /// Sends a signal that ends it, and waits for the end.
    ///
    /// # Panics
    /// When it is no child any more.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(Signal::SIGCONT);
        self.signal(signal);
        let status = self.child.wait().expect("wait for a child");
        self.reaper = None;
        status
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.reaper.is_some() {
            let _killed = self.stop(Signal::SIGKILL).signal();
        }
    }
}

/// The first child of a process: whom a program such as strace(1) or nsenter(1) runs.
pub(crate) fn first_child(pid: u32) -> Option<u32> {
    children(pid).first().copied()
}

/// The children of a process, whichever of its threads started them.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let texts =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    texts
        .flat_map(|text| {
            let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
            pids.collect::<Vec<u32>>()
        })
        .collect()
}
