//! What a network that leases by meta-ipam gets beside its own words: the network that its leases are filed under, and the
//! settings of the node. Its plugins, its record and its DEL then need no other file.

use std::cell::OnceCell;

use cni::netconf::NetConfList;
use serde_json::{Map, Value};

use super::Found;
use crate::cluster::NadName;
use crate::config::Config;
use crate::diagnosis::Explain as _;
use crate::ipam::config::{LONGEST_SECONDS, SOCKET, TYPE};
use crate::ipam::node_file::{NodeFile, NodeFileError};
use crate::ipam::request::set_network;
use crate::problem::{Fault, Problem};

/// The node's settings, read when the first network needs them.
pub(super) struct Settings<'a> {
    config: &'a Config,
    file: OnceCell<Result<NodeFile, NodeFileError>>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(config: &'a Config) -> Settings<'a> {
        Settings {
            config,
            file: OnceCell::new(),
        }
    }

    fn file(&self) -> &Result<NodeFile, NodeFileError> {
        self.file.get_or_init(|| {
            let file = NodeFile::load(&self.config.ipam_file());
            let file = file.map(Option::unwrap_or_default);
            file.inspect_err(|error| tracing::error!(detail = error.detail, "ipam.yaml"))
        })
    }

    /// Writes the settings into each plugin that leases by meta-ipam.
    pub(super) fn complete(&self, mut found: Found) -> Result<Found, Problem> {
        let plugins = found.list.plugins.iter_mut();
        for plugin in plugins.filter(|plugin| plugin.ipam_type() == Some(TYPE)) {
            let file = self.file().as_ref();
            let file = file.map_err(|error| {
                Problem::permanent("", error.diagnosis()).with_fault(Fault::NodeSettings)
            })?;
            if let Some(ipam) = plugin.object_mut("ipam") {
                file.complete(ipam, found.author, Some(&self.config.state_dir))
                    .map_err(|error| Problem::permanent("", error.diagnosis()))?;
                wait_as_for_the_agent(ipam, self.config);
            }
        }
        Ok(found)
    }
}

/// Where the agent passes leases on, whatever stands behind its socket is waited for as long as the agent itself, unless the
/// node's file says otherwise: an upgrade replaces agent and ipam-server, and no ADD fails by it.
fn wait_as_for_the_agent(ipam: &mut Map<String, Value>, config: &Config) {
    let has_agent = config
        .agent_socket
        .as_deref()
        .is_some_and(|socket| !socket.is_empty());
    let server = ipam.get("server").and_then(Value::as_str);
    if has_agent && server.and_then(|server| server.strip_prefix("unix://")) == Some(SOCKET) {
        let seconds = config.agent_timeout_seconds.clamp(1, LONGEST_SECONDS);
        ipam.entry("timeoutSeconds").or_insert(seconds.into());
    }
}

/// Lets the plugins of a definition file their leases under its namespace and name: other namespaces can have networks whose
/// configuration has the same name.
pub(super) fn file_leases(list: &mut NetConfList, name: &NadName) {
    let owner = name.to_string();
    for plugin in &mut list.plugins {
        set_network(plugin, &owner);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_waits_as_long_as_for_the_agent_that_passes_it_on() {
        let own = format!("unix://{SOCKET}");
        let agent = Some("/run/meta-cni/agent.sock");
        for (case, ipam, socket, seconds, expected) in [
            ("agent", json!({"server": own}), agent, 20, json!(20)),
            ("longest", json!({"server": own}), agent, 300, json!(60)),
            ("at once", json!({"server": own}), agent, 0, json!(1)),
            ("no agent", json!({"server": own}), None, 20, json!(null)),
            ("off", json!({"server": own}), Some(""), 20, json!(null)),
            (
                "of the file",
                json!({"server": own, "timeoutSeconds": 3}),
                agent,
                20,
                json!(3),
            ),
            (
                "another server",
                json!({"server": "https://ipam:7443"}),
                agent,
                20,
                json!(null),
            ),
        ] {
            let config = Config {
                agent_socket: socket.map(str::to_owned),
                agent_timeout_seconds: seconds,
                ..Config::default()
            };
            let mut ipam = ipam.as_object().unwrap().clone();
            wait_as_for_the_agent(&mut ipam, &config);
            let timeout = ipam.get("timeoutSeconds").unwrap_or(&Value::Null);
            assert_eq!(*timeout, expected, "{case}");
        }
    }
}
