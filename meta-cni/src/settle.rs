//! After all plugins: what their results leave open is asked of the kernel, in one visit to the pod's namespace for all
//! attachments: MTUs, and whether the IPv6 addresses can be used. A pod whose results leave nothing open costs no visit.

mod detection;

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netlink::netns::{self, NetnsError};
use netlink::{Netlink, NetlinkError};

use crate::diagnosis::Explain;
use crate::record::Record;
use detection::Candidate;

/// A pod that is not as it should be after its plugins, or whose namespace could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The sandbox could not be entered.
    #[error(transparent)]
    Netns {
        /// Why.
        source: NetnsError,
    },
    /// The kernel did not answer.
    #[error("cannot read the interfaces of {netns}")]
    Read {
        /// The sandbox.
        netns: PathBuf,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// Another host has an address of the pod.
    #[error(
        "network {network} ({ifname}): another host has address {address} (IPv6 duplicate address detection failed)"
    )]
    Duplicate {
        /// The network.
        network: String,
        /// The interface in the pod.
        ifname: String,
        /// The address.
        address: Ipv6Addr,
    },
}

impl Explain for SettleError {
    fn remedy(&self) -> Option<String> {
        match self {
            SettleError::Duplicate { .. } => {
                Some("take the address from that host, or out of the network's range".to_owned())
            }
            SettleError::Netns { .. } | SettleError::Read { .. } => None,
        }
    }
}

/// What may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The MTUs that the results do not say.
    pub mtus: bool,
    /// Whether the IPv6 addresses of the results can be used.
    pub addresses: bool,
}

/// An interface that the kernel is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    /// The attachment's place in the record.
    entry: usize,
    /// The interface's place in the attachment's result; none if the result names no interface.
    interface: Option<usize>,
    name: String,
    wants_mtu: bool,
    /// The addresses that must become usable.
    addresses: Vec<Ipv6Addr>,
}

/// What is open about the interfaces of a pod.
#[derive(Debug, PartialEq, Eq)]
pub struct Questions(Vec<Question>);

impl Questions {
    /// What the results of `record` leave open of what may be.
    pub fn of(record: &Record, open: Open) -> Questions {
        let mut questions = Vec::new();
        for (entry, made) in record.attachments.iter().enumerate() {
            let Some(result) = &made.result else { continue };
            let question = |interface, name: &str, wants_mtu| Question {
                entry,
                interface,
                name: name.to_owned(),
                wants_mtu,
                addresses: Vec::new(),
            };
            let interfaces = result.interfaces.iter().enumerate();
            let here = interfaces.filter(|(_, one)| {
                let sandbox = one.sandbox.as_deref();
                sandbox.is_some_and(|sandbox| netns::is_same(sandbox, &record.netns))
            });
            let mut asked: Vec<Question> = here
                .map(|(index, one)| {
                    question(Some(index), &one.name, open.mtus && one.mtu.is_none())
                })
                .collect();
            if result.interfaces.is_empty() {
                asked.push(question(None, &made.attachment.ifname, false));
            }
            for ip in result.ips.iter().filter(|_| open.addresses) {
                let owner = match ip.interface {
                    None => asked.first_mut(),
                    index => asked.iter_mut().find(|one| one.interface == index),
                };
                if let (Some(owner), IpAddr::V6(address)) = (owner, ip.address.ip()) {
                    owner.addresses.push(address);
                }
            }
            asked.retain(|one| one.wants_mtu || !one.addresses.is_empty());
            questions.append(&mut asked);
        }
        Questions(questions)
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A connection to the kernel for the namespace of a pod, which stays with it on every thread, and what `then` gives
/// inside: one visit for both.
///
/// # Errors
/// [`SettleError::Netns`], [`SettleError::Read`].
pub fn visit<T: Send>(
    netns: &Path,
    then: impl FnOnce() -> T + Send,
) -> Result<(Netlink, T), SettleError> {
    let visited = netns::within(netns, || Netlink::open().map(|netlink| (netlink, then())));
    visited
        .map_err(|source| SettleError::Netns { source })?
        .map_err(|source| SettleError::Read {
            netns: netns.to_owned(),
            source,
        })
}

/// Asks the kernel, fills in `record` the MTUs that it answers, and waits up to `limit` until the addresses can be used.
/// An interface that is no link stays as it is. An address that is still tentative at the limit, or that will be as long
/// as its link has no carrier, is logged.
///
/// # Errors
/// [`SettleError`], each variant as it is documented.
pub fn settle(
    netlink: &mut Netlink,
    record: &mut Record,
    questions: &Questions,
    limit: Duration,
) -> Result<(), SettleError> {
    let netns = PathBuf::from(&record.netns);
    let read = |source| SettleError::Read {
        netns: netns.clone(),
        source,
    };
    let mut candidates = Vec::new();
    for question in &questions.0 {
        let Some(link) = netlink.link(&question.name).map_err(read)? else {
            continue;
        };
        let Some(entry) = record.attachments.get_mut(question.entry) else {
            continue;
        };
        candidates.extend(question.addresses.iter().map(|address| Candidate {
            network: entry.attachment.network.clone(),
            ifname: question.name.clone(),
            link: link.index,
            has_carrier: link.has_carrier,
            address: *address,
        }));
        let result = entry.result.as_mut().filter(|_| question.wants_mtu);
        let described = result
            .zip(question.interface)
            .and_then(|(result, index)| result.interfaces.get_mut(index));
        if let Some(described) = described {
            described.mtu = Some(link.mtu);
        }
    }
    let duplicate = detection::wait(netlink, candidates, limit).map_err(read)?;
    duplicate.map_or(Ok(()), |found| {
        Err(SettleError::Duplicate {
            network: found.network,
            ifname: found.ifname,
            address: found.address,
        })
    })
}

#[cfg(test)]
mod tests;
