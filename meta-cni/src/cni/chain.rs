//! Running the plugins of a list one after the other, as a container runtime does
//! (CNI specification 1.1.0, section 3): forwards on ADD, CHECK, STATUS and GC, backwards on DEL,
//! handing results on as `prevResult`.

use serde_json::{Value, json};

use super::exec::{Exec, ExecError, Target};
use super::netconf::{NetConfList, PluginConf};
use super::requested_ips;
use super::result::{CniResult, ResultError};
use super::skel::Command;
use super::version::Version;
use crate::trace;

/// A step of a list that failed.
#[derive(Debug, thiserror::Error)]
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
        source: Box<ExecError>,
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
    /// The recorded result cannot be told in the list's version.
    #[error("the recorded result cannot be written in version {version}")]
    PrevResult {
        /// The version of the list.
        version: Version,
        /// Why not.
        #[source]
        source: ResultError,
    },
}

/// Another attachment of a network, for GC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachmentId {
    /// CNI_CONTAINERID.
    pub container_id: String,
    /// CNI_IFNAME.
    pub ifname: String,
}

/// ADD: every plugin in order, each given the result of the one before it. Returns the last result.
///
/// # Errors
/// [`ChainError`] of the first plugin that fails; the ones behind it were not run.
pub fn add(
    exec: &dyn Exec,
    list: &NetConfList,
    target: Target<'_>,
) -> Result<CniResult, ChainError> {
    let mut result = None;
    for plugin in &list.plugins {
        let prev = prev_result(list, result.as_ref())?;
        let stdout = run(exec, plugin, Command::Add, target, prev)?;
        let read =
            CniResult::parse(&stdout, list.version).map_err(|source| ChainError::Result {
                plugin: plugin.plugin_type().to_owned(),
                command: Command::Add.as_str(),
                source,
            })?;
        result = Some(read);
    }
    Ok(result.unwrap_or_default())
}

/// DEL: every plugin in reverse order, all tried, each given `result` if the version has that.
///
/// # Errors
/// All failures, in the order in which they came.
pub fn del(
    exec: &dyn Exec,
    list: &NetConfList,
    target: Target<'_>,
    result: Option<&CniResult>,
) -> Result<(), Vec<ChainError>> {
    let prev = match prev_result(list, result.filter(|_| list.version.has_check())) {
        Ok(prev) => prev,
        Err(error) => return Err(vec![error]),
    };
    let failures: Vec<_> = list
        .plugins
        .iter()
        .rev()
        .filter_map(|plugin| run(exec, plugin, Command::Del, target, prev.clone()).err())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

/// CHECK: every plugin in order, each given `result`. Passes at once if the list disables it.
///
/// # Errors
/// [`ChainError`] of the first plugin that fails.
pub fn check(
    exec: &dyn Exec,
    list: &NetConfList,
    target: Target<'_>,
    result: &CniResult,
) -> Result<(), ChainError> {
    if list.disable_check || !list.version.has_check() {
        return Ok(());
    }
    let prev = prev_result(list, Some(result))?;
    list.plugins
        .iter()
        .try_for_each(|plugin| run(exec, plugin, Command::Check, target, prev.clone()).map(drop))
}

/// STATUS: every plugin in order. Passes at once if the list's version does not have it.
///
/// # Errors
/// [`ChainError`] of the first plugin that fails.
pub fn status(exec: &dyn Exec, list: &NetConfList, path: &str) -> Result<(), ChainError> {
    if !list.version.has_gc_and_status() {
        return Ok(());
    }
    let target = nowhere(path);
    list.plugins
        .iter()
        .try_for_each(|plugin| run(exec, plugin, Command::Status, target, []).map(drop))
}

/// GC: every plugin in order, all tried, each given the attachments that are `valid`. Passes at once
/// if the list does not allow it.
///
/// # Errors
/// All failures, in order.
pub fn gc(
    exec: &dyn Exec,
    list: &NetConfList,
    path: &str,
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
            run(exec, plugin, Command::Gc, nowhere(path), extra).err()
        })
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

/// GC and STATUS are about a network and not about a container.
fn nowhere(path: &str) -> Target<'_> {
    Target {
        container_id: "",
        netns: "",
        ifname: "",
        args: "",
        path,
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

fn run(
    exec: &dyn Exec,
    plugin: &PluginConf,
    command: Command,
    target: Target<'_>,
    extra: impl IntoIterator<Item = (&'static str, Value)>,
) -> Result<Vec<u8>, ChainError> {
    let kind = plugin.plugin_type();
    let span = tracing::info_span!(
        "delegate",
        plugin = kind,
        command = command.as_str(),
        ifname = target.ifname
    );
    let stdin = plugin.stdin_with(extra);
    let args = requested_ips::args_of(plugin, target.args);
    let target = Target {
        args: &args,
        ..target
    };
    let done = trace::step(span, || {
        trace::evidence("given", &stdin);
        let stdout = exec
            .run(kind, command, target, &stdin)
            .inspect_err(|error| trace::note("result", error.kind()))?;
        trace::evidence("answered", &stdout);
        Ok(stdout)
    });
    done.map_err(|source| ChainError::Plugin {
        plugin: kind.to_owned(),
        command: command.as_str(),
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests;
