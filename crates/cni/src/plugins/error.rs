//! Why a plugin returned no answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ErrorObject;

/// A plugin that could not be called or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// No place has the plugin.
    #[error("plugin {plugin:?} is not in {}", .searched.join(", "))]
    NotFound {
        /// `type` of the configuration.
        plugin: String,
        /// The places, in the order of search.
        searched: Vec<String>,
        /// A file of the plugin's name that cannot be executed.
        not_executable: Option<PathBuf>,
    },
    /// The plugin exists but cannot be started.
    #[error("starting plugin {plugin:?} ({place})")]
    Start {
        /// The plugin.
        plugin: String,
        /// Where it is, for example its file.
        place: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The plugin's configuration cannot be passed to it, or its answer not be read.
    #[error("talking to plugin {plugin:?}")]
    Exchange {
        /// The plugin.
        plugin: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The plugin worked longer than allowed and was stopped.
    #[error("plugin {plugin:?} was stopped after {:.1}s{}", .limit.as_secs_f32(), log_suffix(.log))]
    TimedOut {
        /// The plugin.
        plugin: String,
        /// The time that it had.
        limit: Duration,
        /// The end of what it logged: its standard error.
        log: String,
    },
    /// The deadline of the call was over before it began.
    #[error("plugin {plugin:?} was not called: the time of the call is over")]
    NoTimeLeft {
        /// The plugin.
        plugin: String,
    },
    /// The plugin wrote more than is read, and was stopped.
    #[error("plugin {plugin:?} wrote more than {limit} bytes on {stream} and was stopped")]
    TooMuchOutput {
        /// The plugin.
        plugin: String,
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// The plugin could not be stopped after its time was over or it wrote too much. It may still be working.
    #[error("plugin {plugin:?} could not be stopped and may still be working")]
    NotStopped {
        /// The plugin.
        plugin: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The plugin failed and returned an error object.
    #[error("{object}")]
    Failed {
        /// The plugin.
        plugin: String,
        /// What it returned.
        object: ErrorObject,
    },
    /// The plugin failed without an error object.
    #[error("plugin {plugin:?} {end} without an error object{}{}", output_suffix(.output), log_suffix(.log))]
    FailedSilently {
        /// The plugin.
        plugin: String,
        /// How it ended, for example `exited with status 1` or `was killed by signal 9`.
        end: String,
        /// The start of what it wrote in place of the error object: its standard output.
        output: String,
        /// The end of what it logged: its standard error.
        log: String,
    },
}

impl PluginError {
    /// What a person can do about it, if that does not depend on the caller. The text of the error leaves it out.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            PluginError::NotFound { .. } => Some("install it there"),
            PluginError::NotStopped { .. } => Some("end its processes by hand"),
            _ => None,
        }
    }

    /// The kind of the failure, in one word of a closed list.
    pub fn kind(&self) -> &'static str {
        match self {
            PluginError::NotFound { .. } => "not_found",
            PluginError::Start { .. } => "not_started",
            PluginError::Exchange { .. } => "pipe",
            PluginError::TimedOut { .. } => "timed_out",
            PluginError::NoTimeLeft { .. } => "no_time_left",
            PluginError::TooMuchOutput { .. } => "too_much_output",
            PluginError::NotStopped { .. } => "not_stopped",
            PluginError::Failed { .. } => "failed",
            PluginError::FailedSilently { .. } => "failed_silently",
        }
    }
}

fn log_suffix(log: &str) -> String {
    match log {
        "" => String::new(),
        log => format!("; its stderr: {log}"),
    }
}

fn output_suffix(output: &str) -> String {
    match output {
        "" => String::new(),
        output => format!("; its stdout: {output}"),
    }
}
