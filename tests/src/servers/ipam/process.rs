//! The process of a server: its start, signals, and its end.

use std::fs::{self, File};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::IpamServer;
use crate::host::daemon::first_child;
use crate::host::reaper::Reaper;
use crate::host::wait::wait_until;

/// How long a start or an end may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is done first when a server is replaced.
#[derive(Clone, Copy, Debug)]
pub enum Replacing {
    /// The new one is started.
    Start,
    /// The old one is asked to end.
    End,
}

impl IpamServer {
    /// Starts it again on the same store and socket, once it was killed or stopped.
    ///
    /// # Panics
    /// As [`IpamServer::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        if let Err(log) = self.try_restart() {
            panic!("ipam-server ended:\n{log}");
        }
    }

    /// As [`IpamServer::restart`], but it may end.
    ///
    /// # Errors
    /// Its log, if it ended instead of serving.
    ///
    /// # Panics
    /// When it neither serves nor ends.
    #[track_caller]
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.launch();
        let ended = self.ready_or_ended();
        if ended.is_err() {
            self.child = None;
            self.reaper = None;
        }
        ended
    }

    /// Starts its process and does not wait until it serves.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.spawn();
    }

    /// Starts a second process on the same store and socket, ends the first one, and waits until the second one serves.
    /// `first`: what is done before the other.
    ///
    /// # Panics
    /// When the first one fails, or the second one does not come to serve.
    #[track_caller]
    pub fn replace(&mut self, first: Replacing) {
        if matches!(first, Replacing::End) {
            self.terminate();
        }
        let mut old = self.child.take().expect("it runs");
        let old_reaper = self.reaper.take();
        self.spawn();
        if matches!(first, Replacing::Start) {
            let pid = Pid::from_raw(pid_of(&old, self.wrapper.is_empty()).cast_signed());
            kill(pid, Signal::SIGTERM).expect("send a signal");
        }
        let status = wait_until("the old ipam-server ends", PATIENCE, || {
            old.try_wait().expect("ask for the state of a child")
        });
        drop(old_reaper);
        assert!(status.success(), "{status}: {}", self.log());
        self.wait_ready();
    }

    fn spawn(&mut self) {
        let _not_there = fs::remove_file(self.ready_file());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("open the log");
        let mut command = self.command(&self.socket(), &self.store);
        command.arg("--ready-file").arg(self.ready_file());
        command.args(&self.arguments);
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("start ipam-server");
        self.reaper = Some(Reaper::of_process(child.id()));
        self.child = Some(child);
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        if let Err(log) = self.ready_or_ended() {
            panic!("ipam-server ended:\n{log}");
        }
    }

    /// Waits until it serves, or returns what it wrote until it ended.
    #[track_caller]
    fn ready_or_ended(&mut self) -> Result<(), String> {
        wait_until("ipam-server serves", PATIENCE, || {
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("ask for the state of a child") {
                return Some(Err(format!("{status}: {}", self.log())));
            }
            self.ready_file().exists().then_some(Ok(()))
        })
    }

    /// Kills it as a loss of power would, and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("kill ipam-server");
        child.wait().expect("wait for ipam-server");
        self.reaper = None;
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Panics
    /// When it does not run.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks it to end by SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end, or does not run.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        let mut child = self.child.take().expect("it runs");
        let status = wait_until("ipam-server ends", PATIENCE, || {
            child.try_wait().expect("ask for the state of a child")
        });
        self.reaper = None;
        assert!(!self.socket().exists(), "it left its socket");
        status
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        let child = self.child.as_ref().expect("it runs");
        pid_of(child, self.wrapper.is_empty())
    }

    /// Sends it a signal: SIGSTOP and SIGCONT, for example, let it seem to hang and go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(pid_of(child, self.wrapper.is_empty()).cast_signed());
        kill(pid, signal).expect("send a signal");
    }
}

impl Drop for IpamServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let pid = Pid::from_raw(pid_of(child, self.wrapper.is_empty()).cast_signed());
            let _gone_already = kill(pid, Signal::SIGKILL);
            let _waited_for = child.wait();
        }
    }
}

/// The server's process: of the child itself, or of the child of the wrapper.
fn pid_of(child: &Child, bare: bool) -> u32 {
    let wrapped = || first_child(child.id());
    if bare { None } else { wrapped() }.unwrap_or_else(|| child.id())
}
