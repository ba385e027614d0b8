//! Running a plugin: the seam [`Exec`], and what one execution is given and gives
//! (CNI specification 1.1.0, section 2). The real thing is [`HostExec`].

mod host;
mod pipes;
#[cfg(test)]
pub(crate) mod recording;

pub use host::HostExec;

use std::time::Duration;

use super::error::ErrorObject;
use super::skel::Command;

/// The variable that every plugin finds in its environment, and every program that it executes: who finds it was
/// started on behalf of a network's configuration.
pub const DELEGATE_MARK: &str = "META_CNI_DELEGATE";

/// Where a plugin is to act: its CNI variables but for CNI_COMMAND and CNI_PATH.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// CNI_CONTAINERID.
    pub container_id: &'a str,
    /// CNI_NETNS.
    pub netns: &'a str,
    /// CNI_IFNAME.
    pub ifname: &'a str,
    /// CNI_ARGS.
    pub args: &'a str,
}

/// Runs plugins.
pub trait Exec: Sync {
    /// Runs the plugin called `plugin` with `command`, `target` and `stdin`, and gives what it wrote
    /// on standard output.
    ///
    /// # Errors
    /// [`ExecError`] if it cannot be run, fails, or takes longer than the limit.
    fn run(
        &self,
        plugin: &str,
        command: Command,
        target: Target<'_>,
        stdin: &[u8],
    ) -> Result<Vec<u8>, ExecError>;
}

/// A plugin that could not be run or failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No folder has it.
    #[error("plugin {plugin:?} is not in {}; install it there", .searched.join(", "))]
    NotFound {
        /// `type` of the configuration.
        plugin: String,
        /// The folders, in the order of search.
        searched: Vec<String>,
    },
    /// It is there but cannot be started.
    #[error("starting {path}")]
    Start {
        /// Its file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Its pipes cannot be read or written.
    #[error("talking to plugin {plugin:?}")]
    Pipe {
        /// The plugin.
        plugin: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ran longer than allowed and was killed.
    #[error("plugin {plugin:?} was killed after {:.1}s (delegateTimeoutSeconds, verbTimeoutSeconds){}", .limit.as_secs_f32(), stderr_suffix(.stderr))]
    TimedOut {
        /// The plugin.
        plugin: String,
        /// The time that it had.
        limit: Duration,
        /// What it wrote on standard error.
        stderr: String,
    },
    /// The call has no time left for it.
    #[error(
        "plugin {plugin:?} was not executed: the time of the call is over (verbTimeoutSeconds)"
    )]
    NoTimeLeft {
        /// The plugin.
        plugin: String,
    },
    /// It wrote more than is read.
    #[error("plugin {plugin:?} wrote more than {limit} bytes on {stream} and was killed")]
    TooMuchOutput {
        /// The plugin.
        plugin: String,
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// It failed and said why in an error object.
    #[error("{object}")]
    Failed {
        /// The plugin.
        plugin: String,
        /// What it said.
        #[source]
        object: ErrorObject,
    },
    /// It failed without an error object.
    #[error("plugin {plugin:?} {status} without an error object{}{}", stdout_suffix(.stdout), stderr_suffix(.stderr))]
    FailedSilently {
        /// The plugin.
        plugin: String,
        /// `exited with status 1`, `was killed by signal 9`.
        status: String,
        /// The start of its standard output.
        stdout: String,
        /// The end of its standard error.
        stderr: String,
    },
}

impl ExecError {
    /// What kind of failure it is, in one word of a closed list.
    pub fn kind(&self) -> &'static str {
        match self {
            ExecError::NotFound { .. } => "not_found",
            ExecError::Start { .. } => "not_started",
            ExecError::Pipe { .. } => "pipe",
            ExecError::TimedOut { .. } => "timed_out",
            ExecError::NoTimeLeft { .. } => "no_time_left",
            ExecError::TooMuchOutput { .. } => "too_much_output",
            ExecError::Failed { .. } => "failed",
            ExecError::FailedSilently { .. } => "failed_silently",
        }
    }
}

fn stderr_suffix(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!("; its stderr: {stderr}")
    }
}

fn stdout_suffix(stdout: &str) -> String {
    if stdout.is_empty() {
        String::new()
    } else {
        format!("; its stdout: {stdout}")
    }
}
