//! DEL of a list (CNI specification 1.1.0, "DEL"): backwards, all plugins tried but for those that are done. Reference
//! plugins that can do nothing without a network namespace are not asked without one; their IPAM plugins are.

use serde_json::Value;

use super::{ChainError, PluginFailure, prev_result, run};
use crate::netconf::{NetConfList, PluginConf};
use crate::plugins::{Plugins, Target, TimeLimit};
use crate::result::CniResult;
use crate::skel::Command;

/// Reference plugins whose work is inside the namespace, but for what their IPAM plugin keeps. Without a namespace sbr fails,
/// vlan fails if its master is gone or has a smaller MTU, and host-device succeeds without asking its IPAM plugin (seen
/// with 1.1.1, 1.9.1 and 1.10.0).
const INSIDE: [&str; 3] = ["host-device", "sbr", "vlan"];

/// DEL: every plugin in reverse order but for those at the places of `done`, all tried, each with `result` if the version
/// has that. Returns all failures, in the order in which they came.
pub fn del(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    list: &NetConfList,
    target: Target<'_>,
    result: Option<&CniResult>,
    done: &[usize],
) -> Vec<PluginFailure> {
    let prev = match prev_result(list, result.filter(|_| list.version.has_check())) {
        Ok(prev) => prev,
        Err(error) => return vec![PluginFailure { place: 0, error }],
    };
    let conf = list.plugins.iter().enumerate().rev();
    conf.filter(|(place, _)| !done.contains(place))
        .filter_map(|(place, plugin)| {
            let deleted = if target.netns.is_empty() && INSIDE.contains(&plugin.plugin_type()) {
                del_ipam(plugins, limit, plugin, target, prev.clone())
            } else {
                let kind = plugin.plugin_type();
                run(
                    plugins,
                    limit,
                    kind,
                    plugin,
                    Command::Del,
                    target,
                    prev.clone(),
                )
                .map(drop)
            };
            deleted.err().map(|error| PluginFailure { place, error })
        })
        .collect()
}

/// DEL of the IPAM plugin that `plugin` would ask, as it would ask it; nothing if it has none.
///
/// # Errors
/// [`ChainError::Plugin`], which names the IPAM plugin.
pub fn del_ipam(
    plugins: &dyn Plugins,
    limit: TimeLimit,
    plugin: &PluginConf,
    target: Target<'_>,
    prev: Option<(&'static str, Value)>,
) -> Result<(), ChainError> {
    let ipam = plugin.get("ipam").and_then(|ipam| ipam.get("type"));
    match ipam.and_then(Value::as_str) {
        None | Some("") => Ok(()),
        Some(kind) => run(plugins, limit, kind, plugin, Command::Del, target, prev).map(drop),
    }
}
