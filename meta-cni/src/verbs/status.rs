//! STATUS: whether an ADD could be served now. Quick, and about the default network only: a secondary
//! network never makes the node NotReady. What the default network needs is checked before its plugins
//! are asked, which may not know STATUS.

use std::time::{Duration, Instant};

use cni::chain;
use cni::error::with_causes;
use cni::netconf::NetConfList;
use cni::plugins::{Plugins, TimeLimit};
use serde_json::Map;

use super::context::Context;
use super::failure::Failure;
use crate::dhcp;
use crate::diagnosis::{Diagnosis, Explain as _};
use crate::gather::gather;
use crate::plan::inject_capabilities;
use crate::underlay::{Interfaces, parent};
use crate::wanted::{default_network, no_default_network};

/// How long the cluster may take to answer.
const CLUSTER_LIMIT: Duration = Duration::from_millis(500);
/// How long the plugins of the default network may take to answer, all together.
const PLUGINS_LIMIT: Duration = Duration::from_millis(800);

/// Serves STATUS.
pub(super) fn status(context: &Context<'_>) -> Result<(), Failure> {
    let not_available = |reason: Diagnosis| Failure::NotAvailable { reason };
    if let Some(path) = &context.config.readiness_indicator_file
        && !path.exists()
    {
        let path = path.display();
        let reason = format!(
            "readinessindicatorfile {path} is not there, so the default network is not ready"
        );
        return Err(not_available(reason.into()));
    }
    context
        .records
        .check_writable()
        .map_err(|error| not_available(error.diagnosis()))?;
    match context.cluster() {
        Some(cluster) => cluster
            .ready(CLUSTER_LIMIT)
            .map_err(|error| not_available(error.diagnosis()))?,
        None if context.config.is_of_kubernetes() => {
            return Err(not_available(Failure::NoSourceOfNetworks.diagnosis()));
        }
        None => {}
    }
    let wanted: Vec<_> = default_network(&context.config, context.cluster().is_some())
        .into_iter()
        .collect();
    if wanted.is_empty() {
        let reason = no_default_network();
        return Err(not_available(Diagnosis {
            cause: format!("the configuration {}", reason.cause),
            ..reason
        }));
    }
    let plugins = context.plugins();
    for found in gather(&context.config, context.cluster(), &wanted) {
        let mut list = found
            .map_err(|problem| not_available(problem.diagnosis()))?
            .list;
        check_needs(plugins, &list).map_err(not_available)?;
        inject_capabilities(&mut list, &Map::new())
            .map_err(|problem| not_available(problem.into()))?;
        let limit = TimeLimit::per_call(PLUGINS_LIMIT).until(Instant::now() + PLUGINS_LIMIT);
        chain::status(plugins, limit, &list).map_err(Failure::DefaultNotAvailable)?;
    }
    Ok(())
}

/// What a network needs of this node, without running anything; gives what is missing and what to do.
fn check_needs(plugins: &dyn Plugins, list: &NetConfList) -> Result<(), Diagnosis> {
    for plugin in &list.plugins {
        for kind in plugin.kinds() {
            let found = plugins.locate(kind, plugin.as_map());
            found.map_err(|error| error.diagnosis())?;
        }
    }
    for socket in dhcp::sockets(list) {
        dhcp::check(&socket)
            .map_err(|error| Diagnosis::new(with_causes(&error), "start it (dhcp daemon)"))?;
    }
    let Some((plugin, parent)) = parent(list) else {
        return Ok(());
    };
    match Interfaces::list() {
        Ok(interfaces) => match interfaces.missing_master(plugin, &parent) {
            Some(missing) => Err(Diagnosis::new(
                missing,
                format!("make it, or correct `master` in network {}", list.name),
            )),
            None => Ok(()),
        },
        // That the kernel was too busy to say is no reason to take the node out of service.
        Err(error) => {
            let error = with_causes(&error);
            tracing::warn!(error, "the default network's master was not checked");
            Ok(())
        }
    }
}
