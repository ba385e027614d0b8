//! The leases of a whole pod in one durable write, before any delegate runs: all attachments that lease by meta-ipam
//! get their addresses, or none does. The delegates' own meta-ipam finds them there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use proto::ipam::v1::{
    AllocateRequest, AllocateResponse, BatchAllocateRequest, ReleaseAttachmentRequest,
};
use serde_json::{Value, json};
use tracing::info_span;

use crate::cni::args::{Args, ArgsError};
use crate::ipam::client::Client;
use crate::ipam::config::{IpamConfig, Server};
use crate::ipam::failure::IpamFailure;
use crate::ipam::queue::Queue;
use crate::ipam::{request, verbs};
use crate::record::{Entry, Phase, Record};
use crate::trace;

/// Requests that one batch may have (ipam.v1).
const BATCH: usize = 64;

/// A lease that cannot be taken or given back.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// An attachment's configuration is wrong.
    #[error("network {network} ({ifname})")]
    Attachment {
        /// The network.
        network: String,
        /// The interface.
        ifname: String,
        /// What is wrong.
        #[source]
        source: IpamFailure,
    },
    /// The arguments of an attachment, as they were recorded, cannot be read.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The server gave nothing.
    #[error("leasing the pod's addresses")]
    Lease(#[source] IpamFailure),
}

impl LeaseError {
    /// The CNI code.
    pub fn code(&self) -> crate::cni::error::Code {
        match self {
            LeaseError::Attachment { source, .. } | LeaseError::Lease(source) => source.code(),
            LeaseError::Args(_) => crate::cni::error::Code::INVALID_ENVIRONMENT,
        }
    }
}

/// What one attachment asks for.
struct Wanted {
    config: IpamConfig,
    allocate: AllocateRequest,
    release: ReleaseAttachmentRequest,
    network: String,
}

/// Leases for every attachment of `record` that uses meta-ipam: one batch for each server. Nothing is held if it fails.
///
/// # Errors
/// [`LeaseError`].
pub fn take(record: &Record) -> Result<(), LeaseError> {
    let mut by_server: BTreeMap<Server, Vec<Wanted>> = BTreeMap::new();
    for entry in &record.attachments {
        for wanted in wanted(record, entry)? {
            by_server
                .entry(wanted.config.server.clone())
                .or_default()
                .push(wanted);
        }
    }
    let mut taken: Vec<&Wanted> = Vec::new();
    for (server, all) in &by_server {
        for some in all.chunks(BATCH) {
            // Of a batch that failed the answer may be lost only: it is given back as well.
            taken.extend(some);
            let span = info_span!("batch", server = server.address);
            if let Err(failure) = trace::step(span, || batch(server, some)) {
                give_back_all(&taken);
                return Err(LeaseError::Lease(failure));
            }
        }
    }
    Ok(())
}

/// Checks that the addresses of an attachment that uses meta-ipam are leased to it.
///
/// # Errors
/// [`LeaseError::Attachment`], [`LeaseError::Args`].
pub fn check(record: &Record, entry: &Entry) -> Result<(), LeaseError> {
    let ips = entry.result.iter().flat_map(|result| &result.ips);
    let ips: Vec<IpAddr> = ips.map(|ip| ip.address.ip()).collect();
    for wanted in wanted(record, entry)? {
        let span = info_span!("lease", network = wanted.network);
        let held = trace::step(span, || {
            verbs::check_held(&wanted.config, &wanted.release, &ips)
        });
        held.map_err(|source| LeaseError::Attachment {
            network: wanted.network,
            ifname: entry.attachment.ifname.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Gives back what the attachments of `planned` hold whose ADD was not completed and that are not in `left` any more:
/// their plugins may never have run. One whose DEL failed keeps its addresses, since its interface may be there. What
/// cannot be delivered is kept and delivered later.
pub fn give_back(planned: &Record, left: &Record) {
    let record = planned;
    let gone = planned.attachments.iter().filter(|entry| {
        let name = &entry.attachment.ifname;
        entry.phase != Phase::Added && left.attachments().all(|left| left.ifname != *name)
    });
    let wanted = gone
        .filter_map(|entry| wanted(record, entry).ok())
        .flatten();
    let wanted: Vec<Wanted> = wanted.collect();
    give_back_all(&wanted.iter().collect::<Vec<_>>());
}

fn give_back_all(wanted: &[&Wanted]) {
    for wanted in wanted {
        let span = info_span!("release", network = wanted.network);
        let released = trace::step(span, || verbs::release(&wanted.config, &wanted.release));
        if let Err(error) = released {
            tracing::error!(%error, network = wanted.network, "a lease stays; GC ends it");
        }
    }
}

fn batch(server: &Server, wanted: &[Wanted]) -> Result<(), IpamFailure> {
    let limit = wanted
        .iter()
        .map(|one| one.config.timeout)
        .max()
        .unwrap_or_default();
    let client = Client::connect(server, limit, true)?;
    let mut settled: Vec<&PathBuf> = Vec::new();
    for one in wanted {
        let queue = Queue::new(&one.config.state_dir);
        queue.settle(server, &client, &one.release)?;
        if !settled.contains(&&one.config.state_dir) {
            queue.deliver(server, &client);
            settled.push(&one.config.state_dir);
        }
    }
    let question = BatchAllocateRequest {
        requests: wanted.iter().map(|one| one.allocate.clone()).collect(),
        validate_only: false,
    };
    let answer = client.call(question, |mut leases, request| async move {
        leases.batch_allocate(request).await
    });
    if let Ok(answer) = &answer {
        trace::note("leases", leases(wanted, &answer.responses));
    }
    answer.map(|_| ()).map_err(|status| IpamFailure::Refused {
        what: format!("networks {}", names(wanted)),
        status: Box::new(status),
    })
}

/// What was leased for which attachment.
fn leases(wanted: &[Wanted], answers: &[AllocateResponse]) -> Value {
    let both = wanted.iter().zip(answers);
    both.filter_map(|(wanted, answer)| {
        let lease = answer.lease.as_ref()?;
        let addresses = [&lease.ipv4, &lease.ipv6].into_iter();
        let ips: Vec<_> = addresses.filter(|ip| !ip.is_empty()).collect();
        let ifname = &wanted.release.ifname;
        Some(json!({"network": wanted.network, "ifname": ifname, "pool": lease.pool, "ips": ips}))
    })
    .collect()
}

fn names(wanted: &[Wanted]) -> String {
    let names: Vec<_> = wanted
        .iter()
        .map(|one| format!("{} ({})", one.network, one.release.ifname))
        .collect();
    names.join(", ")
}

/// What the plugins of an attachment will ask meta-ipam for: the same as they will, from the same input.
fn wanted(record: &Record, entry: &Entry) -> Result<Vec<Wanted>, LeaseError> {
    let attachment = &entry.attachment;
    let mut all = Vec::new();
    for plugin in &attachment.list.plugins {
        let conf = plugin.as_map();
        let config = IpamConfig::of(conf).map_err(|error| LeaseError::Attachment {
            network: attachment.network.clone(),
            ifname: attachment.ifname.clone(),
            source: error.into(),
        })?;
        let Some(config) = config else {
            continue;
        };
        let args = Args::parse(&attachment.args)?;
        let asks = request::Attachment {
            conf,
            container_id: &record.container_id,
            ifname: &attachment.ifname,
            args: &args,
        };
        all.push(Wanted {
            allocate: asks.allocate(&config),
            release: asks.release(),
            network: attachment.network.clone(),
            config,
        });
        // A second plugin of the list would ask for the same attachment, and get the same lease.
        break;
    }
    Ok(all)
}
