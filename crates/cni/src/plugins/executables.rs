//! Plugins that are programs in folders of this host, each called in a process group of its own, until its deadline, always reaped.

mod pipes;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Map, Value};

use super::{Call, Location, PluginError, Plugins};
use crate::error::{ErrorObject, one_line};
use crate::name::is_identifier;
use pipes::{Outcome, Trouble, converse};

/// How long a plugin that is just being replaced (`ETXTBSY`) is tried again.
const BUSY_TRIES: u32 = 12;
/// The pause before the first of these tries; it doubles up to 250 ms.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How much of an output an error quotes.
const QUOTED_BYTES: usize = 400;

/// Plugins that are programs in folders.
#[derive(Clone, Debug)]
pub struct Executables {
    folders: Vec<PathBuf>,
    variables: Vec<(String, String)>,
}

impl Executables {
    /// Those in `folders`, which are searched in order. Plugins get them as CNI_PATH, to find others there.
    pub fn in_folders(folders: Vec<PathBuf>) -> Executables {
        Executables {
            folders,
            variables: Vec::new(),
        }
    }

    /// The same with one more variable in the environment of every call.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Executables {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The file of the plugin of the type `kind`: the first of its name that can be executed.
    ///
    /// # Errors
    /// [`PluginError::NotFound`] if no folder has one.
    pub fn find(&self, kind: &str) -> Result<PathBuf, PluginError> {
        let is_executable = |path: &PathBuf| {
            fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let is_name = is_identifier(kind);
        let mut files = self.folders.iter().map(|folder| folder.join(kind));
        let found = is_name.then(|| files.find(is_executable)).flatten();
        found.ok_or_else(|| {
            let mut files = self.folders.iter().map(|folder| folder.join(kind));
            PluginError::NotFound {
                plugin: kind.to_owned(),
                searched: self
                    .folders
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect(),
                not_executable: is_name.then(|| files.find(|path| path.exists())).flatten(),
            }
        })
    }

    /// What the program of the plugin writes on standard output when a person starts it with `argument`, for example
    /// `--version`.
    ///
    /// # Errors
    /// As [`Plugins::call`].
    pub fn run_by_hand(
        &self,
        kind: &str,
        argument: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, PluginError> {
        let path = self.find(kind)?;
        let limit = time_until(deadline);
        let mut process = std::process::Command::new(&path);
        process.arg(argument);
        finish(kind, spawn(kind, &path, process)?, b"", deadline, limit)
    }

    fn start(&self, path: &Path, call: &Call<'_>) -> Result<Child, PluginError> {
        let folders: Vec<_> = self.folders.iter().map(|dir| dir.as_os_str()).collect();
        let mut process = std::process::Command::new(path);
        process
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(call.variables.iter().copied())
            .env("CNI_COMMAND", call.command.as_str())
            .env("CNI_CONTAINERID", call.target.container_id)
            .env("CNI_NETNS", call.target.netns)
            .env("CNI_IFNAME", call.target.ifname)
            .env("CNI_ARGS", call.target.args)
            .env("CNI_PATH", folders.join(OsStr::new(":")));
        spawn(call.kind, path, process)
    }
}

impl Plugins for Executables {
    fn locate(&self, kind: &str, _: &Map<String, Value>) -> Result<Location, PluginError> {
        self.find(kind).map(Location::Executable)
    }

    fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<Vec<u8>, PluginError> {
        let path = self.find(call.kind)?;
        let limit = time_until(deadline);
        if limit.is_zero() {
            let plugin = call.kind.to_owned();
            return Err(PluginError::NoTimeLeft { plugin });
        }
        let child = self.start(&path, call)?;
        finish(call.kind, child, call.stdin, deadline, limit)
    }
}

fn time_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Talks to a plugin that was started until it ends.
fn finish(
    plugin: &str,
    child: Child,
    stdin: &[u8],
    deadline: Instant,
    limit: Duration,
) -> Result<Vec<u8>, PluginError> {
    let mut running = Running {
        child,
        has_ended: false,
    };
    match converse(&mut running.child, stdin, deadline) {
        Ok(outcome) => {
            running.has_ended = true;
            if outcome.status.success() {
                Ok(outcome.stdout)
            } else {
                Err(failure(plugin, &outcome))
            }
        }
        Err(trouble) => Err(match running.stop() {
            Ok(()) => explain(plugin, trouble, limit),
            Err(source) => PluginError::NotStopped {
                plugin: plugin.to_owned(),
                source,
            },
        }),
    }
}

fn explain(plugin: &str, trouble: Trouble, limit: Duration) -> PluginError {
    let plugin = plugin.to_owned();
    match trouble {
        Trouble::TimedOut { stderr } => PluginError::TimedOut {
            plugin,
            limit,
            log: last_of(&stderr),
        },
        Trouble::TooMuch { stream, limit } => PluginError::TooMuchOutput {
            plugin,
            stream,
            limit,
        },
        Trouble::Io(source) => PluginError::Exchange { plugin, source },
    }
}

/// A child that is killed with its whole process group and reaped when it is dropped before its end
/// was seen. What it left behind is killed as well, even if it has ended itself in the meantime.
struct Running {
    child: Child,
    has_ended: bool,
}

impl Running {
    /// Kills the group and reaps the child.
    fn stop(&mut self) -> io::Result<()> {
        if self.has_ended {
            return Ok(());
        }
        self.has_ended = true;
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        // Before it is reaped: until then no other group can have its number.
        match killpg(group, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        self.child.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after a panic is anything left to stop, and then nobody could hear that it failed.
        let _ = self.stop();
    }
}

/// Starts a program in a process group of its own, with pipes.
fn spawn(
    plugin: &str,
    path: &Path,
    mut process: std::process::Command,
) -> Result<Child, PluginError> {
    process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    while_not_busy(|| process.spawn()).map_err(|source| PluginError::Start {
        plugin: plugin.to_owned(),
        place: path.display().to_string(),
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
fn failure(plugin: &str, outcome: &Outcome) -> PluginError {
    let plugin = plugin.to_owned();
    match serde_json::from_slice::<ErrorObject>(&outcome.stdout) {
        Ok(object) => PluginError::Failed { plugin, object },
        Err(_) => PluginError::FailedSilently {
            plugin,
            end: describe(outcome.status),
            output: first_of(&outcome.stdout),
            log: last_of(&outcome.stderr),
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
