//! What the kernel has in a pod's network namespace: links, addresses and routes, read for CHECK.

use std::path::{Path, PathBuf};

use netlink::netns::{self, NetnsError};
use netlink::{Family, Link, LinkAddress, Netlink, NetlinkError, TableRoute};

use crate::diagnosis::Explain;
use crate::route::{self, DefaultRoute};

/// What is true in a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its interfaces, `lo` included.
    pub links: Vec<Link>,
    /// The addresses of both families.
    pub addresses: Vec<LinkAddress>,
    /// The unicast routes of both families and all tables.
    pub routes: Vec<TableRoute>,
    /// Its default routes: IPv4 before IPv6, and the one that wins (the lowest metric) first. A
    /// multipath route is one for each of its hops.
    pub default_routes: Vec<DefaultRoute>,
}

/// A sandbox that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The sandbox could not be entered.
    #[error(transparent)]
    Netns {
        /// Why.
        source: NetnsError,
    },
    /// The kernel did not say what there is.
    #[error("cannot read the interfaces, addresses and routes of {netns}")]
    Read {
        /// The sandbox.
        netns: PathBuf,
        /// Why.
        #[source]
        source: NetlinkError,
    },
}

impl Explain for SnapshotError {
    fn remedy(&self) -> Option<String> {
        None
    }
}

/// Reads what is true in the sandbox.
///
/// # Errors
/// [`SnapshotError`], each variant as it is documented.
pub fn inspect(netns: &Path) -> Result<Snapshot, SnapshotError> {
    netns::within(netns, || {
        read().map_err(|source| SnapshotError::Read {
            netns: netns.to_owned(),
            source,
        })
    })
    .map_err(|source| SnapshotError::Netns { source })?
}

fn read() -> Result<Snapshot, NetlinkError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let mut routes = Vec::new();
    for family in Family::BOTH {
        routes.append(&mut netlink.all_routes(family)?);
    }
    Ok(Snapshot {
        addresses: netlink.all_addresses()?,
        default_routes: route::default_routes(&mut netlink, &links)?,
        routes,
        links,
    })
}

#[cfg(test)]
mod tests;
