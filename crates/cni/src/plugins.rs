//! Calling a plugin by its type: the seam [`Plugins`], input and output of one call (CNI specification 1.1.0,
//! section 2). Plugins are programs in folders ([`Executables`]), or whatever else an implementation knows.

mod error;
mod executables;
mod limit;
#[cfg(test)]
pub(crate) mod recording;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use error::PluginError;
pub use executables::Executables;
pub use limit::TimeLimit;

use serde_json::{Map, Value};

use crate::skel::Command;

/// Plugins by their type.
pub trait Plugins: Sync {
    /// Where the plugin of the type `kind` is, if it is called with this configuration, without calling it.
    ///
    /// # Errors
    /// [`PluginError::NotFound`].
    fn locate(&self, kind: &str, conf: &Map<String, Value>) -> Result<Location, PluginError>;

    /// Checks the configuration of an ADD, as far as that is possible before anything is made. An implementation that can
    /// find nothing out accepts everything.
    ///
    /// # Errors
    /// [`PluginError::Failed`], as the call would fail.
    fn validate(&self, _call: &Call<'_>) -> Result<(), PluginError> {
        Ok(())
    }

    /// Calls a plugin and returns what it answered: what a program would write on standard output.
    ///
    /// # Errors
    /// [`PluginError`] if the plugin cannot be called, fails, or has not answered at `deadline`; it is not working any
    /// more then.
    fn call(&self, call: &Call<'_>, deadline: Instant) -> Result<Vec<u8>, PluginError>;
}

/// Where a plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// The program in this file.
    Executable(PathBuf),
    /// This process itself.
    BuiltIn,
}

impl Location {
    /// The file of the plugin, if it is a program.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Location::Executable(path) => Some(path),
            Location::BuiltIn => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Executable(path) => path.display().fmt(f),
            Location::BuiltIn => f.write_str("built in"),
        }
    }
}

/// One call of a plugin.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The plugin's type: `type` of its configuration, or of `ipam` in it.
    pub kind: &'a str,
    /// CNI_COMMAND.
    pub command: Command,
    /// Where the plugin is to act.
    pub target: Target<'a>,
    /// The plugin's configuration as JSON, as it reads it on standard input.
    pub stdin: &'a [u8],
    /// More variables of the environment, for example the context of a trace.
    pub variables: &'a [(&'a str, &'a str)],
}

impl<'a> Call<'a> {
    /// A call without more variables.
    pub fn new(kind: &'a str, command: Command, target: Target<'a>, stdin: &'a [u8]) -> Call<'a> {
        Call {
            kind,
            command,
            target,
            stdin,
            variables: &[],
        }
    }

    /// The same call with these variables.
    #[must_use]
    pub fn with_variables<'b>(self, variables: &'b [(&'b str, &'b str)]) -> Call<'b>
    where
        'a: 'b,
    {
        Call { variables, ..self }
    }
}

/// Where a plugin is to act: its CNI variables but for CNI_COMMAND, which a [`Call`] has, and CNI_PATH, which the
/// implementation of [`Plugins`] has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Target<'static> {
    /// No container, for VERSION, and for GC and STATUS, which are about a network.
    pub const NOWHERE: Target<'static> = Target {
        container_id: "",
        netns: "",
        ifname: "",
        args: "",
    };
}
