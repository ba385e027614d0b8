//! The stores of the log seam ([`ipam_core::log`]): where groups become durable, and what is read of them.
//!
//! Stored values are the messages of `ipam.v1`, without output counts: their encoding is what evolves safely.

#[cfg(test)]
mod contract;
pub mod copy;
pub mod etcd;
pub mod folder;
mod journal;
pub mod memory;
mod origin;
mod packed;
pub mod salvage;
pub mod sled;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use etcd::{EtcdAddress, EtcdAddressError};
pub use ipam_core::log::{
    Append, Extent, Group, Log, Origin, OriginChange, Position, Store, StoreError,
};
use serde::Deserialize;

/// The store that a server keeps its leases in.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum StoreKind {
    /// A folder.
    Sled,
    /// This process.
    Memory,
    /// An etcd cluster, with any number of servers.
    Etcd(EtcdAddress),
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<StoreKind, String> {
        match text {
            "sled" => Ok(StoreKind::Sled),
            "memory" => Ok(StoreKind::Memory),
            etcd if etcd.starts_with("etcd:") => {
                let address = etcd
                    .parse()
                    .map_err(|error: EtcdAddressError| error.to_string());
                address.map(StoreKind::Etcd)
            }
            other => Err(format!(
                "{other:?} is not sled, memory or etcd://HOST:PORT,HOST:PORT/PREFIX"
            )),
        }
    }
}

impl TryFrom<String> for StoreKind {
    type Error = String;

    fn try_from(text: String) -> Result<StoreKind, String> {
        text.parse()
    }
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
