//! The stores of the log seam ([`ipam_core::log`]): where groups become durable, and what is read of them.
//!
//! Stored values are the messages of `ipam.v1`, without output counts: their encoding is what evolves safely.

#[cfg(test)]
mod contract;
pub mod folder;
mod journal;
pub mod memory;
mod packed;
pub mod salvage;
pub mod sled;

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
pub use ipam_core::log::{
    Append, Extent, Group, Log, Origin, OriginChange, Position, Store, StoreError,
};
use serde::Deserialize;

/// The store that a server keeps its leases in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum StoreKind {
    /// A folder.
    Sled,
    /// This process.
    Memory,
}

/// Whether a file or folder of this name in a store's folder is the store's.
pub fn is_own_file(name: &str) -> bool {
    const WHOLE: [&str; 5] = ["db", "conf", "blobs", "sled.opening", "base.tmp"];
    const BEGINNINGS: [&str; 4] = ["ipam-server.", "journal", "base-", "snap."];
    WHOLE.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

/// A folder or file, as an error names it.
pub(crate) fn named(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}
