//! A real `meta-cnid` beside a node, with the rights that are shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::host::daemon::Daemon;
use crate::host::locate;
use crate::host::wait::wait_until;
use crate::node::Node;
use crate::servers::kube::ApiServer;
use crate::servers::pages;

/// How long a start may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent. Dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    folder: PathBuf,
    name: String,
    arguments: Vec<String>,
    /// Of another release.
    program: Option<PathBuf>,
    daemon: Option<Daemon>,
}

impl Agent {
    /// Starts the agent of a node, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come to serve, with its log.
    #[track_caller]
    pub fn start(node: &Node, api: &ApiServer) -> Agent {
        Agent::start_with(node, api, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// As [`Agent::start`].
    #[track_caller]
    pub fn start_with(node: &Node, api: &ApiServer, more: &[&str]) -> Agent {
        let mut agent = Agent::stopped(node, api, more);
        agent.restart();
        agent
    }

    /// An agent that was not started yet.
    pub fn stopped(node: &Node, api: &ApiServer, more: &[&str]) -> Agent {
        let mut arguments = vec![
            format!("--node-name={}", node.name()),
            format!("--kubeconfig={}", api.agent_kubeconfig().display()),
            format!("--socket={}", node.agent_socket().display()),
            format!("--state-dir={}", node.state_dir().display()),
            "--metrics-listen=127.0.0.1:0".to_owned(),
        ];
        arguments.extend(more.iter().map(ToString::to_string));
        Agent {
            folder: node.folder().to_owned(),
            name: "agent".to_owned(),
            arguments,
            program: None,
            daemon: None,
        }
    }

    /// Another agent of the same node, beside this one; not started.
    pub fn successor(&self) -> Agent {
        Agent {
            folder: self.folder.clone(),
            name: format!("{}-next", self.name),
            arguments: self.arguments.clone(),
            program: self.program.clone(),
            daemon: None,
        }
    }

    /// From its next start on it is this program.
    pub fn set_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    /// Starts it (again), and waits until it serves.
    ///
    /// # Panics
    /// As [`Agent::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        self.launch();
        let ready = self.ready_file();
        wait_until("meta-cnid serves", PATIENCE, || {
            let daemon = self.daemon.as_mut().expect("it was started");
            if let Some(status) = daemon.ended() {
                panic!("meta-cnid ended with {status}:\n{}", daemon.log());
            }
            ready.exists().then_some(())
        });
    }

    /// Starts it (again), without waiting.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.daemon.is_none(), "it still runs");
        let _not_there = fs::remove_file(self.ready_file());
        let program = self.program.clone();
        let mut command = Command::new(program.unwrap_or_else(|| locate::executable("meta-cnid")));
        command
            .args(&self.arguments)
            .arg(format!("--ready-file={}", self.ready_file().display()));
        self.daemon = Some(Daemon::start(command, &self.log_file()));
    }

    /// Kills it as the kernel does for want of memory.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        self.running().stop(Signal::SIGKILL);
        self.daemon = None;
    }

    /// Asks it to end by SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.running().stop(Signal::SIGTERM);
        self.daemon = None;
        status
    }

    /// Lets it seem to hang (SIGSTOP), or go on (SIGCONT).
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) {
        self.running().signal(signal);
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").pid()
    }

    /// What it has logged over all of its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The value of one series on `/metrics`, by its name and labels as they stand there; 0 if it is not there yet.
    ///
    /// # Panics
    /// When the agent does not answer.
    pub fn metric(&self, series: &str) -> f64 {
        pages::metric(&self.ready_file(), series)
    }

    /// What an HTTP GET of its pages answers, head included.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn page(&self, path: &str) -> String {
        pages::page(&self.ready_file(), path)
    }

    /// The same; nothing if it does not answer.
    pub fn try_page(&self, path: &str) -> Option<String> {
        pages::try_page(&self.ready_file(), path).ok()
    }

    fn running(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("it runs")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join(format!("{}.ready", self.name))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}
