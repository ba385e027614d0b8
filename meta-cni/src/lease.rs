//! The leases of a whole pod in one durable write, before any delegate runs: all attachments that lease by meta-ipam
//! get their addresses, or none does. The delegates' own meta-ipam finds them there.

mod attachments;
pub(crate) mod switched;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use cni::args::ArgsError;
use cni::chain::AttachmentId;
use cni::netconf::{NetConfList, PluginConf};
use proto::ipam::v1::{
    self as ipam, AllocateResponse, BatchAllocateRequest, BatchAllocateResponse,
    ReleaseAttachmentRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::info_span;

use crate::diagnosis::Explain;
use crate::held::{ReportError, Reporter, report_first};
use crate::ipam::client::Client;
use crate::ipam::config::{IpamConfig, Server};
use crate::ipam::failure::IpamFailure;
use crate::ipam::known::{Knowledge, Known};
use crate::ipam::queue::Queue;
use crate::ipam::{request, verbs};
use crate::record::{Entry, Record, Records};
use crate::trace;
use attachments::{Held, Wanted, held, wanted};

/// Requests that one batch may have (ipam.v1).
const BATCH: usize = 64;
/// Times that one ADD reports what its node holds, at most.
const REPORTS: usize = 3;

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
    /// What this node holds has to be reported to the server first, and was not.
    #[error("leasing the pod's addresses")]
    Report(#[from] ReportError),
}

impl LeaseError {
    /// The CNI code.
    pub fn code(&self) -> cni::error::Code {
        match self {
            LeaseError::Attachment { source, .. } | LeaseError::Lease(source) => source.code(),
            LeaseError::Report(_) => cni::error::Code::TRY_AGAIN_LATER,
            LeaseError::Args(_) => cni::error::Code::INVALID_ENVIRONMENT,
        }
    }
}

impl Explain for LeaseError {
    fn remedy(&self) -> Option<String> {
        match self {
            LeaseError::Attachment { source, .. } | LeaseError::Lease(source) => source.remedy(),
            LeaseError::Report(error) => error.remedy(),
            LeaseError::Args(_) => None,
        }
    }
}

/// Leases for every attachment of `record` that uses meta-ipam: one batch for each server. Nothing is held if it fails.
/// Where its networks lease is noted below `state_dir`.
/// The records of this node, those below `state_dir`, are reported first to a server whose store does not know them.
///
/// # Errors
/// [`LeaseError`].
pub fn take(record: &Record, state_dir: &Path) -> Result<(), LeaseError> {
    let mut by_server: BTreeMap<Server, Vec<Wanted>> = BTreeMap::new();
    for entry in &record.attachments {
        if let Some(wanted) = wanted(record, entry)? {
            by_server
                .entry(wanted.config.server.clone())
                .or_default()
                .push(wanted);
        }
    }
    let mut taken: Vec<&Wanted> = Vec::new();
    for (server, all) in &by_server {
        for some in all.chunks(BATCH) {
            let span = info_span!("batch", server = server.address);
            let mut asked = Asked::Nothing;
            let done = trace::step(span, || batch(server, some, state_dir, &mut asked));
            // Of a batch that failed the answer may be lost only: it is given back as well. One that the server was never
            // asked for holds nothing, and nothing of it is kept for later.
            if asked == Asked::Batch {
                taken.extend(some);
            }
            if let Err(failure) = done {
                release_all(taken.into_iter().map(Wanted::held));
                return Err(failure);
            }
        }
    }
    for wanted in taken {
        switched::note(state_dir, &wanted.release.network, &wanted.config);
    }
    Ok(())
}

/// Ends the leases of a network on this node whose attachments are not `valid`, if it leases by meta-ipam and allows GC,
/// whatever its version: most plugins do not hand GC on to their IPAM plugin.
///
/// # Errors
/// [`IpamFailure`].
pub fn collect(list: &NetConfList, valid: &[AttachmentId]) -> Result<(), IpamFailure> {
    if list.disable_gc {
        return Ok(());
    }
    for conf in list.plugins.iter().map(PluginConf::as_map) {
        // A network that never could lease has no leases.
        if let Ok(Some(config)) = IpamConfig::of(conf) {
            let valid = valid.iter().map(|id| ipam::Attachment {
                container_id: id.container_id.clone(),
                ifname: id.ifname.clone(),
            });
            return verbs::collect(&config, request::network_of(conf), valid.collect());
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
    if let Some(wanted) = wanted(record, entry)? {
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

/// Releases what the attachments of `record` hold that are [`Phase::Gone`](crate::record::Phase), whatever their plugins did
/// about it: some never ran, some succeed without asking their IPAM plugin. One whose DEL failed keeps its addresses, since
/// its interface may exist. What cannot be delivered is kept and delivered later. An attachment of another IPAM plugin may
/// hold by an import, if its network is noted below `state_dir`.
pub fn release_gone(record: &Record, state_dir: &Path) {
    release_all(record.gone().flat_map(|entry| match held(record, entry) {
        Some(held) => vec![held],
        None => switched::held(state_dir, record, entry),
    }));
}

/// One connection for each server. What waits already, because a plugin could not deliver it, is left to those who
/// deliver later: the server is not waited for again.
fn release_all(held: impl Iterator<Item = Held>) {
    let mut by_server: BTreeMap<Server, Vec<Held>> = BTreeMap::new();
    for held in held {
        if !Queue::new(&held.config.state_dir).waits(&held.config.server, &held.release) {
            by_server
                .entry(held.config.server.clone())
                .or_default()
                .push(held);
        }
    }
    for (server, held) in &by_server {
        let span = info_span!("release", server = server.address);
        let released = trace::step(span, || {
            let networks = held.iter().map(|held| (&held.network, &held.release));
            trace::note("networks", names(networks));
            let releases = held.iter().map(|held| (&held.config, &held.release));
            verbs::release(server, releases)
        });
        if let Err(error) = released {
            let error = error.diagnosis();
            tracing::error!(%error, "a lease stays; GC ends it");
        }
    }
}

/// Whether a server may have leases of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It was not asked, or said no.
    Nothing,
    /// It was asked for the batch.
    Batch,
}

fn batch(
    server: &Server,
    wanted: &[Wanted],
    state_dir: &Path,
    asked: &mut Asked,
) -> Result<(), LeaseError> {
    let limit = wanted
        .iter()
        .map(|one| one.config.timeout)
        .max()
        .unwrap_or_default();
    let client =
        Client::connect(server, Some(state_dir), limit, true).map_err(LeaseError::Lease)?;
    let mut queues: BTreeMap<&Path, Queue> = BTreeMap::new();
    for one in wanted {
        let dir = one.config.state_dir.as_path();
        let queue = queues.entry(dir).or_insert_with(|| Queue::new(dir));
        let settled_one = queue.settle(server, &client, &one.release);
        settled_one.map_err(|error| LeaseError::Lease(error.into()))?;
    }
    let answer = allocate(server, &client, wanted, state_dir, asked)?;
    trace::note("leases", leases(wanted, &answer.responses));
    // Releases of others must not use up the time that this pod has.
    for queue in queues.values() {
        queue.deliver(server, &client);
    }
    Ok(())
}

/// Asks for a batch; reports what this node holds before, if the server wants that.
fn allocate(
    server: &Server,
    client: &Client,
    wanted: &[Wanted],
    state_dir: &Path,
    asked: &mut Asked,
) -> Result<BatchAllocateResponse, LeaseError> {
    let known = Known::new(state_dir, server);
    let container_id = wanted.first().map(|one| one.release.container_id.as_str());
    let node = wanted.first().map(|one| request::node(&one.config));
    let reporter = Reporter {
        records: &Records::new(state_dir),
        known: &known,
        server,
        client,
        node: &node.unwrap_or_default(),
        aliases: &[],
        own: container_id,
    };
    let mut knowledge = Some(known.read());
    if let Some(before) = knowledge.take_if(|before| known.is_due(before)) {
        knowledge = reporter.report(before.store)?;
    }
    let mut reports = 0;
    loop {
        let question = BatchAllocateRequest {
            requests: wanted.iter().map(|one| one.allocate.clone()).collect(),
            validate_only: false,
            known_store: knowledge.as_ref().map(Knowledge::mark),
        };
        *asked = Asked::Batch;
        let answer = client.call(question, |mut leases, request| async move {
            leases.batch_allocate(request).await
        });
        let status = match answer {
            Ok(answer) => {
                if let Some(before) = &knowledge {
                    known.see(before, answer.store.as_ref());
                }
                return Ok(answer);
            }
            Err(status) => status,
        };
        match report_first(&status).filter(|_| reports < REPORTS) {
            Some(store) => {
                *asked = Asked::Nothing;
                knowledge = trace::step(info_span!("held"), || reporter.report(store))?;
            }
            None => {
                // Of any other answer it is certain that nothing was leased.
                let is_uncertain = matches!(
                    status.code(),
                    Code::Unavailable
                        | Code::DeadlineExceeded
                        | Code::Cancelled
                        | Code::Unknown
                        | Code::Internal
                        | Code::Aborted
                );
                if !is_uncertain {
                    *asked = Asked::Nothing;
                }
                return Err(LeaseError::Lease(refused(wanted, status)));
            }
        }
        reports += 1;
    }
}

/// What a refused batch means: about the one network that the server names by its place in the batch, else about all of them.
fn refused(wanted: &[Wanted], status: Status) -> IpamFailure {
    let info = status.get_details_error_info();
    let metadata = info.map(|info| info.metadata).unwrap_or_default();
    let index = metadata.get("request").and_then(|index| index.parse().ok());
    let named = |one: &Wanted| format!("network {} ({})", one.network, one.release.ifname);
    let what = index.and_then(|index: usize| wanted.get(index)).map(named);
    let alone = metadata.get("message").filter(|_| what.is_some());
    let message = alone.map_or(status.message(), String::as_str);
    let all = || names(wanted.iter().map(|one| (&one.network, &one.release)));
    let details = status.details().to_vec().into();
    IpamFailure::Refused {
        what: what.unwrap_or_else(|| format!("networks {}", all())),
        status: Box::new(Status::with_details(status.code(), message, details)),
    }
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

/// The networks, as people call them, and their interfaces.
fn names<'a>(of: impl Iterator<Item = (&'a String, &'a ReleaseAttachmentRequest)>) -> String {
    let names: Vec<_> = of
        .map(|(network, release)| format!("{network} ({})", release.ifname))
        .collect();
    names.join(", ")
}
