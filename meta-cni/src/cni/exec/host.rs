//! Plugins as processes of this host.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::pipes::{Outcome, Trouble, converse};
use super::{DELEGATE_MARK, Exec, ExecError, Target};
use crate::cni::error::{ErrorObject, one_line};
use crate::cni::name::is_identifier;
use crate::cni::skel::Command;
use crate::{limits, trace};

/// How long a plugin that is just being replaced (`ETXTBSY`) is tried again.
const BUSY_TRIES: u32 = 12;
/// The pause before the first of these tries; it doubles up to 250 ms.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How much of an output an error quotes.
const QUOTED_BYTES: usize = 400;

/// Executes plugins from folders of this host, each in a process group of its own, within a time
/// limit, always reaped.
#[derive(Clone, Debug)]
pub struct HostExec {
    /// The folders that are searched, in order. Plugins get them as CNI_PATH, to find others there.
    pub dirs: Vec<PathBuf>,
    /// How long one execution may take.
    pub limit: Duration,
    /// How much of the call's time no execution may use.
    pub reserve: Duration,
}

impl Exec for HostExec {
    fn run(
        &self,
        plugin: &str,
        command: Command,
        target: Target<'_>,
        stdin: &[u8],
    ) -> Result<Vec<u8>, ExecError> {
        let path = self.find(plugin)?;
        if self.time().is_zero() {
            let plugin = plugin.to_owned();
            return Err(ExecError::NoTimeLeft { plugin });
        }
        self.finish(plugin, self.start(&path, command, target)?, stdin)
    }
}

impl HostExec {
    /// The file of the plugin called `plugin`.
    ///
    /// # Errors
    /// [`ExecError::NotFound`] if no folder has an executable file of that name.
    pub fn find(&self, plugin: &str) -> Result<PathBuf, ExecError> {
        let is_executable = |path: &PathBuf| {
            fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let found = is_identifier(plugin)
            .then(|| {
                self.dirs
                    .iter()
                    .map(|dir| dir.join(plugin))
                    .find(is_executable)
            })
            .flatten();
        found.ok_or_else(|| ExecError::NotFound {
            plugin: plugin.to_owned(),
            searched: self
                .dirs
                .iter()
                .map(|dir| dir.display().to_string())
                .collect(),
        })
    }

    /// What the program called `name` writes when a person starts it with `argument`.
    ///
    /// # Errors
    /// As [`Exec::run`].
    pub(crate) fn by_hand(&self, name: &str, argument: &str) -> Result<Vec<u8>, ExecError> {
        let path = self.find(name)?;
        let mut process = std::process::Command::new(&path);
        process.arg(argument);
        self.finish(name, spawn(&path, process)?, b"")
    }

    fn start(&self, path: &Path, command: Command, target: Target<'_>) -> Result<Child, ExecError> {
        let dirs: Vec<_> = self.dirs.iter().map(|dir| dir.as_os_str()).collect();
        let mut process = std::process::Command::new(path);
        process
            .env(DELEGATE_MARK, "1")
            .env("CNI_COMMAND", command.as_str())
            .env("CNI_CONTAINERID", target.container_id)
            .env("CNI_NETNS", target.netns)
            .env("CNI_IFNAME", target.ifname)
            .env("CNI_ARGS", target.args)
            .env("CNI_PATH", dirs.join(OsStr::new(":")));
        spawn(path, process)
    }

    /// How long an execution that begins now may take.
    fn time(&self) -> Duration {
        self.limit.min(limits::left().saturating_sub(self.reserve))
    }

    /// Talks to a plugin that was started until it ends.
    fn finish(&self, plugin: &str, child: Child, stdin: &[u8]) -> Result<Vec<u8>, ExecError> {
        let mut running = Running {
            child,
            has_ended: false,
        };
        let limit = self.time();
        let outcome = converse(&mut running.child, stdin, limit)
            .map_err(|trouble| explain(plugin, trouble, limit))?;
        running.has_ended = true;
        if outcome.status.success() {
            Ok(outcome.stdout)
        } else {
            Err(failure(plugin, &outcome))
        }
    }
}

fn explain(plugin: &str, trouble: Trouble, limit: Duration) -> ExecError {
    let plugin = plugin.to_owned();
    match trouble {
        Trouble::TimedOut { stderr } => ExecError::TimedOut {
            plugin,
            limit,
            stderr: last_of(&stderr),
        },
        Trouble::TooMuch { stream, limit } => ExecError::TooMuchOutput {
            plugin,
            stream,
            limit,
        },
        Trouble::Io(source) => ExecError::Pipe { plugin, source },
    }
}

/// A child that is killed with its whole process group and reaped when it is dropped before its end
/// was seen. What it left behind is killed as well, even if it has ended itself in the meantime.
struct Running {
    child: Child,
    has_ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        // Before it is reaped: until then no other group can have its number.
        match killpg(group, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                tracing::warn!(%group, %error, "a plugin's processes could not be killed");
            }
        }
        if let Err(error) = self.child.wait() {
            tracing::warn!(%group, %error, "a plugin could not be waited for");
        }
    }
}

/// Starts a program in a process group of its own, with pipes.
fn spawn(path: &Path, mut process: std::process::Command) -> Result<Child, ExecError> {
    process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(parent) = trace::current_traceparent() {
        process.env(trace::TRACEPARENT_VARIABLE, parent.to_string());
    }
    while_not_busy(|| process.spawn()).map_err(|source| ExecError::Start {
        path: path.display().to_string(),
        source,
    })
}

/// Starts a program that somebody may just be writing, which is tried again for a while.
fn while_not_busy<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = BUSY_PAUSE;
    for _ in 1..BUSY_TRIES {
        match start() {
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(250));
            }
            done => return done,
        }
    }
    start()
}

/// The error of a plugin that ended badly: its error object, if it printed one.
fn failure(plugin: &str, outcome: &Outcome) -> ExecError {
    let plugin = plugin.to_owned();
    match serde_json::from_slice::<ErrorObject>(&outcome.stdout) {
        Ok(object) => ExecError::Failed { plugin, object },
        Err(_) => ExecError::FailedSilently {
            plugin,
            status: describe(outcome.status),
            stdout: first_of(&outcome.stdout),
            stderr: last_of(&outcome.stderr),
        },
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn first_of(bytes: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(
        &bytes[..bytes.len().min(QUOTED_BYTES)],
    ))
}

fn last_of(bytes: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(
        &bytes[bytes.len().saturating_sub(QUOTED_BYTES)..],
    ))
}

#[cfg(test)]
mod tests;
