//! `host-local`: an address of each set of ranges, leased in a folder of this host. As the reference plugin, section
//! "ipam/host-local", on the same folder.

mod conf;
mod folder;
mod range;
mod resolv_conf;

use std::net::IpAddr;

use cni::result::{CniResult, IpConfig};
use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::failure::Failure;
use crate::ipam::valid_attachments;
use crate::ipam_conf;
use crate::plugin::{Plugin, Request};
use crate::shape::{Others, Shape};
use conf::{Conf, KEYS};
pub use folder::FolderError;
use folder::{Draft, Folder, Holder};
use range::{Range, RangeSet};

/// After so many leased addresses in a row the folder is listed.
const TRIES: usize = 32;

/// An address that cannot be leased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// No address of a set is free.
    #[error(
        "no address of {ranges} is free; widen the range, or release what is leased in {folder}"
    )]
    Exhausted {
        /// The set.
        ranges: String,
        /// The folder of the leases.
        folder: String,
    },
    /// The address that was requested is leased to another.
    #[error("{address} is leased already; ask for another address")]
    Leased {
        /// The address.
        address: IpAddr,
    },
    /// The address that was requested is the router's.
    #[error("{address} is the gateway of its subnet; ask for another address")]
    Gateway {
        /// The address.
        address: IpAddr,
    },
    /// The addresses that were requested cannot all be leased: each set has one for an attachment.
    #[error("no set of ranges is left for {}; ask for one address of each set", .addresses.join(", "))]
    NotInSets {
        /// The addresses.
        addresses: Vec<String>,
    },
    /// The attachment has an address of the set.
    #[error("{container_id} has the address {address} already; call DEL before another ADD")]
    Second {
        /// CNI_CONTAINERID.
        container_id: String,
        /// The address.
        address: IpAddr,
    },
    /// The folder cannot be worked on.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

pub(crate) struct HostLocal;

impl Plugin for HostLocal {
    fn kind(&self) -> &'static str {
        "host-local"
    }

    fn keys(&self) -> &'static [(&'static str, Shape)] {
        KEYS
    }

    fn other_keys(&self) -> Others {
        Others::Ignored
    }

    fn validate(&self, request: &Request<'_>) -> Result<(), Failure> {
        Conf::read(request).map(drop)
    }

    fn add(&self, request: &Request<'_>) -> Result<CniResult, Failure> {
        let conf = Conf::read(request)?;
        let mut result = ipam_conf::result_of(&conf.routes, &Value::Null)?;
        if let Some(path) = &conf.resolv_conf {
            result.dns = resolv_conf::read(path)?;
        }
        let holder = holder(request);
        let folder = open(&conf, request)?;
        let mut leases = Leases {
            draft: folder.draft(&holder),
            folder,
            container_id: request.target.container_id,
            holder: &holder,
            of_holder: None,
            made: Vec::new(),
        };
        let made = leases.of_sets(&conf);
        if made.is_err() {
            leases.undo();
        }
        leases.folder.close();
        result.ips = made?;
        Ok(result)
    }

    fn del(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        let mut folder = open(&conf, request)?;
        let released = folder.release_all_of(&holder(request));
        folder.close();
        Ok(released.map_err(LeaseError::from)?)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        let mut folder = open(&conf, request)?;
        let leases = folder.leases_of(&holder(request));
        folder.close();
        match leases.map_err(LeaseError::from)?.is_empty() {
            true => Err(Failure::changed(format!(
                "{} has no address in {}",
                request.target.container_id,
                conf.folder.display()
            ))),
            false => Ok(()),
        }
    }

    fn status(&self, _request: &Request<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn gc(&self, request: &Request<'_>) -> Result<(), Failure> {
        let conf = Conf::read(request)?;
        let Some(valid) = valid_attachments(request)? else {
            return Ok(());
        };
        let mut folder = open(&conf, request)?;
        Ok(folder.keep_only(&valid).map_err(LeaseError::from)?)
    }
}

fn open(conf: &Conf, request: &Request<'_>) -> Result<Folder, LeaseError> {
    Ok(Folder::open(&conf.folder, request.deadline)?)
}

fn holder(request: &Request<'_>) -> Holder {
    Holder::new(request.target.container_id, request.target.ifname)
}

/// The leases of one ADD.
struct Leases<'a> {
    draft: Draft<'a>,
    folder: Folder,
    container_id: &'a str,
    holder: &'a Holder,
    /// What the attachment had before, once that is known.
    of_holder: Option<Vec<IpAddr>>,
    made: Vec<IpAddr>,
}

impl Leases<'_> {
    /// An address of each set.
    fn of_sets(&mut self, conf: &Conf) -> Result<Vec<IpConfig>, LeaseError> {
        let mut requested = conf.requested.clone();
        let mut ips = Vec::with_capacity(conf.sets.len());
        for (at, set) in conf.sets.iter().enumerate() {
            let in_set = requested
                .iter()
                .copied()
                .find_map(|ip| Some((ip, set.range_of(ip)?)));
            let (ip, range) = match in_set {
                Some((ip, range)) => {
                    requested.remove(&ip);
                    self.this(at, ip, range)?;
                    (ip, range)
                }
                None => self.any(at, set, conf)?,
            };
            // The prefix is one of the address's family.
            let address = IpNetwork::new(ip, range.subnet.prefix()).unwrap_or(ip.into());
            let mut config = IpConfig::of(address);
            config.gateway = Some(range.gateway);
            ips.push(config);
        }
        match requested.is_empty() {
            true => Ok(ips),
            false => Err(LeaseError::NotInSets {
                addresses: requested.iter().map(IpAddr::to_string).collect(),
            }),
        }
    }

    /// The address that is requested.
    fn this(&mut self, set: usize, address: IpAddr, range: &Range) -> Result<(), LeaseError> {
        if address == range.gateway {
            return Err(LeaseError::Gateway { address });
        }
        match self.folder.reserve(&self.draft, address)? {
            true => self.note(set, address),
            false => Err(LeaseError::Leased { address }),
        }
    }

    /// The next free address of a set.
    fn any<'s>(
        &mut self,
        at: usize,
        set: &'s RangeSet,
        conf: &Conf,
    ) -> Result<(IpAddr, &'s Range), LeaseError> {
        let had = match self.of_holder.take() {
            Some(had) => had,
            None => self.folder.leases_of(self.holder)?,
        };
        let had = self.of_holder.insert(had);
        if let Some(&address) = had.iter().find(|ip| set.range_of(**ip).is_some()) {
            return Err(LeaseError::Second {
                container_id: self.container_id.to_owned(),
                address,
            });
        }
        let mut leased = None;
        for (tried, (ip, range)) in set
            .addresses_after(self.folder.last_reserved(at))
            .enumerate()
        {
            if tried == TRIES {
                leased = Some(self.folder.leased()?);
            }
            if leased.as_ref().is_some_and(|leased| leased.contains(&ip)) {
                continue;
            }
            if self.folder.reserve(&self.draft, ip)? {
                self.note(at, ip)?;
                return Ok((ip, range));
            }
        }
        Err(LeaseError::Exhausted {
            ranges: set.to_string(),
            folder: conf.folder.display().to_string(),
        })
    }

    fn note(&mut self, set: usize, ip: IpAddr) -> Result<(), LeaseError> {
        self.made.push(ip);
        Ok(self.folder.set_last_reserved(set, ip)?)
    }

    /// Releases what this ADD leased; the reference releases what earlier ones leased, too.
    fn undo(&mut self) {
        for ip in self.made.drain(..) {
            if let Err(error) = self.folder.release(ip) {
                tracing::warn!(%ip, %error, "a lease of an ADD that failed is left to DEL");
            }
        }
    }
}
