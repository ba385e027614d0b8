//! What a network that leases by meta-ipam gets beside its own words: the network that its leases are filed under, and the
//! settings of the node. Its plugins, its record and its DEL then need no other file.

use std::cell::OnceCell;

use cni::netconf::NetConfList;

use super::Found;
use crate::cluster::NadName;
use crate::config::Config;
use crate::diagnosis::Explain as _;
use crate::ipam::config::TYPE;
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
            }
        }
        Ok(found)
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
