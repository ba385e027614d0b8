//! What this node needs so that a DEL ends imported leases: a note of each network that it leases by meta-ipam, which an ADD writes
//! otherwise.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::MigrateError;
use crate::author::Author;
use crate::ipam::config::{IpamConfig, TYPE};
use crate::ipam::node_file::NodeFile;
use crate::lease::switched;

/// This node's folder of records, and how its networks lease.
#[derive(Debug)]
pub(super) struct Node {
    state_dir: PathBuf,
    config: IpamConfig,
}

impl Node {
    /// The node with this state folder and `ipam.yaml`.
    ///
    /// # Errors
    /// [`MigrateError::NodeSettings`].
    pub(super) fn new(state_dir: &Path, ipam_file: &Path) -> Result<Node, MigrateError> {
        let wrong = |problem: String| MigrateError::NodeSettings {
            path: ipam_file.to_owned(),
            problem,
        };
        let file = NodeFile::load(ipam_file).map_err(|error| wrong(error.detail))?;
        let mut ipam = Map::new();
        ipam.insert("type".to_owned(), json!(TYPE));
        ipam.insert("pool".to_owned(), json!("any"));
        file.unwrap_or_default()
            .complete(&mut ipam, Author::Node, Some(state_dir))
            .map_err(|error| wrong(error.to_string()))?;
        let conf = Map::from_iter([("ipam".to_owned(), Value::Object(ipam))]);
        let config = IpamConfig::of(&conf).map_err(|error| wrong(error.to_string()))?;
        let config = config.ok_or_else(|| wrong("it gives no server".to_owned()))?;
        Ok(Node {
            state_dir: state_dir.to_owned(),
            config,
        })
    }

    /// Whether a network is noted.
    pub(super) fn is_noted(&self, network: &str) -> bool {
        switched::is_noted(&self.state_dir, network, &self.config)
    }

    /// Notes a network.
    ///
    /// # Errors
    /// [`MigrateError::Write`].
    pub(super) fn note(&self, network: &str) -> Result<(), MigrateError> {
        switched::try_note(&self.state_dir, network, &self.config).map_err(self.unwritten())
    }

    /// Removes the note of a network.
    ///
    /// # Errors
    /// [`MigrateError::Write`].
    pub(super) fn forget(&self, network: &str) -> Result<(), MigrateError> {
        switched::forget(&self.state_dir, network).map_err(self.unwritten())
    }

    fn unwritten(&self) -> impl FnOnce(io::Error) -> MigrateError {
        MigrateError::write(&self.state_dir)
    }
}
