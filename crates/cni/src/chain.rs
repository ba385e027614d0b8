//! Running the plugins of a list one after the other, as a container runtime does
//! (CNI specification 1.1.0, section 3): forwards on ADD, CHECK, STATUS and GC, backwards on DEL,
//! handing results on as `prevResult`.

mod del;

use std::fmt;

use serde_json::{Value, json};

use crate::netconf::{NetConfList, PluginConf};
use crate::plugins::{Call, PluginError, Plugins, Target, TimeLimit};
use crate::requested_ips;
use crate::result::{CniResult, ResultError};
use crate::skel::Command;
use crate::version::Version;

pub use del::{del, del_ipam};

/// A step of a list that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A plugin could not be run or failed.
    #[error("{plugin} {command}")]
    Plugin {
        /// The plugin.
        plugin: String,
        /// CNI_COMMAND.
        command: &'static str,
        /// Why.
        #[source]
        source: Box<PluginError>,
    },
    /// A plugin succeeded, but what it printed is not a result.
    #[error("{plugin} {command} printed something that is not a CNI result")]
    Result {
        /// The plugin.
        plugin: String,
        /// CNI_COMMAND.
        command: &'static str,
        /// What is wrong with it.
        #[source]
        source: ResultError,
    },
    /// The recorded result cannot be written in the list's version.
    #[error("the recorded result cannot be written in version {version}")]
    PrevResult {
        /// The version of the list.
        version: Version,
        /// Why not.
        #[source]
        source: ResultError,
    },
}

impl ChainError {
    /// Whether the plugin was run and said no, in an error object.
    pub fn is_refusal(&self) -> bool {
        match self {
            ChainError::Plugin { source, .. } => matches!(**source, PluginError::Failed { .. }),
            _ => false,
        }
    }
}

/// A plugin of a list that failed.
#[derive(Debug)]
pub struct PluginFailure {
    /// Its place in the list, from 0.
    pub place: usize,
    /// Why.
    pub error: ChainError,
}

impl fmt::Display for PluginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for PluginFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Another attachment of a network, for GC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachmentId {
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
}

/// ADD: every plugin in order, each with the result of the plugin before it. Returns the last result.
///
/// # Errors
/// The first plugin that fails; the ones behind it were not run.
pub fn add(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    list: &NetConfList,
    target: Target<'_>,
) -> Result<CniResult, PluginFailure> {
    let mut result = None;
    for (place, plugin) in list.plugins.iter().enumerate() {
        let added = add_one(plugins, limit, list, plugin, target, result.as_ref());
        result = Some(added.map_err(|error| PluginFailure { place, error })?);
    }
    Ok(result.unwrap_or_default())
}

fn add_one(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    list: &NetConfList,
    plugin: &PluginConf,
    target: Target<'_>,
    before: Option<&CniResult>,
) -> Result<CniResult, ChainError> {
    let prev = prev_result(list, before)?;
    let kind = plugin.plugin_type();
    let stdout = run(plugins, limit, kind, plugin, Command::Add, target, prev)?;
    CniResult::parse(&stdout, list.version).map_err(|source| ChainError::Result {
        plugin: kind.to_owned(),
        command: Command::Add.as_str(),
        source,
    })
}

/// CHECK: every plugin in order, each with `result`. Succeeds at once if the list disables CHECK.
///
/// # Errors
/// [`ChainError`] of the first plugin that fails.
pub fn check(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    list: &NetConfList,
    target: Target<'_>,
    result: &CniResult,
) -> Result<(), ChainError> {
    if list.disable_check || !list.version.has_check() {
        return Ok(());
    }
    let prev = prev_result(list, Some(result))?;
    list.plugins.iter().try_for_each(|plugin| {
        let kind = plugin.plugin_type();
        run(
            plugins,
            limit,
            kind,
            plugin,
            Command::Check,
            target,
            prev.clone(),
        )
        .map(drop)
    })
}

/// STATUS: every plugin in order. Passes at once if the list's version does not have it.
///
/// # Errors
/// [`ChainError`] of the first plugin that fails.
pub fn status(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    list: &NetConfList,
) -> Result<(), ChainError> {
    if !list.version.has_gc_and_status() {
        return Ok(());
    }
    list.plugins.iter().try_for_each(|plugin| {
        let kind = plugin.plugin_type();
        run(
            plugins,
            limit,
            kind,
            plugin,
            Command::Status,
            Target::NOWHERE,
            [],
        )
        .map(drop)
    })
}

/// GC: every plugin in order, all tried, each with the attachments that are `valid`. Succeeds at once
/// if the list does not allow it.
///
/// # Errors
/// All failures, in order.
pub fn gc(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    list: &NetConfList,
    valid: &[AttachmentId],
) -> Result<(), Vec<ChainError>> {
    if !list.allows_gc() {
        return Ok(());
    }
    let valid: Value = valid
        .iter()
        .map(|id| json!({"containerID": id.container_id, "ifname": id.ifname}))
        .collect();
    let failures: Vec<_> = list
        .plugins
        .iter()
        .filter_map(|plugin| {
            let extra = [("cni.dev/valid-attachments", valid.clone())];
            let kind = plugin.plugin_type();
            run(
                plugins,
                limit,
                kind,
                plugin,
                Command::Gc,
                Target::NOWHERE,
                extra,
            )
            .err()
        })
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

fn prev_result(
    list: &NetConfList,
    result: Option<&CniResult>,
) -> Result<Option<(&'static str, Value)>, ChainError> {
    let Some(result) = result else {
        return Ok(None);
    };
    let value = result
        .to_value(list.version)
        .map_err(|source| ChainError::PrevResult {
            version: list.version,
            source,
        })?;
    Ok(Some(("prevResult", value)))
}

/// Calls the plugin of the type `kind` with the configuration of `plugin`, which is its own or that of the plugin that would call it.
fn run(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    kind: &str,
    plugin: &PluginConf,
    command: Command,
    target: Target<'_>,
    extra: impl IntoIterator<Item = (&'static str, Value)>,
) -> Result<Vec<u8>, ChainError> {
    let stdin = plugin.stdin_with(extra);
    let args = requested_ips::args_of(plugin, target.args);
    let target = Target {
        args: &args,
        ..target
    };
    let call = Call::new(kind, command, target, &stdin);
    let answer = plugins.call(&call, limit.deadline());
    answer.map_err(|source| ChainError::Plugin {
        plugin: kind.to_owned(),
        command: command.as_str(),
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests;
