//! What the records of this node hold of a server's addresses, reported to a server whose store does not know it: the
//! store is new, or was restored from a backup.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni::args::Args;
use cni::error::with_causes;
use proto::ipam::v1::{HeldLease, ReportHeldRequest, ReportHeldResponse, StoreMark};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::diagnosis::Explain;
use crate::ipam::client::Client;
use crate::ipam::config::{IpamConfig, Server};
use crate::ipam::known::{Knowledge, Known};
use crate::ipam::request;
use crate::record::{Entry, Record, RecordError, Records};

/// How long sandboxes that are just being worked on are waited for, all together.
const BUSY: Duration = Duration::from_secs(2);
/// Stores that may take each other's place while one reports.
const STORES: usize = 3;

/// A report that the server did not take.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The records cannot be read.
    #[error("reading what this node holds, to report it to ipam-server")]
    Records(#[from] RecordError),
    /// The file that says which store knows them cannot be written.
    #[error("noting which store of ipam-server knows what this node holds")]
    Known(#[from] std::io::Error),
    /// The server refused.
    #[error("reporting to ipam-server what this node holds: {}", .0.message())]
    Refused(Box<Status>),
}

impl Explain for ReportError {
    fn remedy(&self) -> Option<String> {
        match self {
            ReportError::Records(error) => error.remedy(),
            ReportError::Known(_) => Some("make stateDir writable".to_owned()),
            ReportError::Refused(_) => None,
        }
    }
}

/// Who reports, and to whom.
pub struct Reporter<'a> {
    /// The records.
    pub records: &'a Records,
    /// Which store knows them.
    pub known: &'a Known,
    /// The server.
    pub server: &'a Server,
    /// A connection to it.
    pub client: &'a Client,
    /// The node, as the leases of networks that do not name it have it.
    pub node: &'a str,
    /// Other names of the node, under which a store may wait for it.
    pub aliases: &'a [String],
    /// The sandbox that this process works on.
    pub own: Option<&'a str>,
}

/// The store to report to first, if that is why a request was refused.
pub fn report_first(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (info.reason == "REPORT_FIRST").then(|| info.metadata.get("store").cloned().unwrap_or_default())
}

impl Reporter<'_> {
    /// Reports everything to `store`, unless somebody else has done so meanwhile. Nothing if the server, or an agent of an
    /// earlier version before it, takes no reports.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn report(&self, store: String) -> Result<Option<Knowledge>, ReportError> {
        let _lock = self.known.lock(|| self.client.left())?;
        let before = self.known.read();
        if before.store == store && !self.known.is_due(&before) {
            return Ok(Some(before));
        }
        let held = self.gather()?;
        let mut mark = StoreMark {
            id: store,
            ..StoreMark::default()
        };
        for _ in 0..STORES {
            match self.send(&held.by_node, &mark) {
                Ok(done) => return self.done(done).map(Some),
                Err(status) => match (report_first(&status), status.code()) {
                    (Some(store), _) => mark.id = store,
                    (None, Code::PermissionDenied | Code::Unimplemented) => {
                        let error = status.message();
                        tracing::warn!(error, "what this node holds cannot be reported");
                        return Ok(None);
                    }
                    _ => return Err(ReportError::Refused(Box::new(status))),
                },
            }
        }
        Err(ReportError::Refused(Box::new(Status::aborted(
            "its store changes again and again; see its log",
        ))))
    }

    /// Asks whether the store is still the one that knows everything, and reports if it is not.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn report_if_needed(&self) -> Result<(), ReportError> {
        let before = self.known.read();
        let due = self.known.is_due(&before);
        let asked = match due {
            true => Err(before.store.clone()),
            false => match self.send_one(self.node, Vec::new(), &before.mark()) {
                Ok(_) => Ok(()),
                Err(status) => match (report_first(&status), status.code()) {
                    (Some(store), _) => Err(store),
                    // An earlier server, which has no such store.
                    (None, Code::PermissionDenied | Code::Unimplemented) => Ok(()),
                    _ => return Err(ReportError::Refused(Box::new(status))),
                },
            },
        };
        match asked {
            Ok(()) => Ok(()),
            Err(store) => self.report(store).map(|_| ()),
        }
    }

    fn send(
        &self,
        by_node: &BTreeMap<String, Vec<HeldLease>>,
        mark: &StoreMark,
    ) -> Result<ReportHeldResponse, Status> {
        let mut all = ReportHeldResponse::default();
        // A name without addresses may end the wait of a restored store: it comes when the store has the addresses.
        let mut by_node: Vec<_> = by_node.iter().collect();
        by_node.sort_by_key(|(_, held)| held.is_empty());
        for (node, held) in by_node {
            let done = self.send_one(node, held.clone(), mark)?;
            all.store = done.store;
            all.adopted += done.adopted;
            all.unchanged += done.unchanged;
            all.conflicts += done.conflicts;
            all.missing_pools += done.missing_pools;
            all.conflict_details.extend(done.conflict_details);
        }
        Ok(all)
    }

    fn send_one(
        &self,
        node: &str,
        held: Vec<HeldLease>,
        mark: &StoreMark,
    ) -> Result<ReportHeldResponse, Status> {
        let question = ReportHeldRequest {
            node: node.to_owned(),
            store: Some(mark.clone()),
            held,
        };
        self.client
            .call(question, |mut leases, request| async move {
                leases.report_held(request).await
            })
    }

    fn done(&self, done: ReportHeldResponse) -> Result<Knowledge, ReportError> {
        let mark = done.store.unwrap_or_default();
        tracing::info!(
            store = mark.id,
            adopted = done.adopted,
            unchanged = done.unchanged,
            conflicts = done.conflicts,
            "reported to ipam-server what this node holds"
        );
        for conflict in &done.conflict_details {
            tracing::error!(
                conflict,
                "an address of a pod of this node is not leased to it"
            );
        }
        let known = Knowledge {
            server: String::new(),
            store: mark.id,
            revision: mark.revision,
            proof: mark.proof,
            node: self.node.to_owned(),
            conflicts: done.conflict_details,
            is_pool_missing: done.missing_pools > 0,
        };
        self.known.write(&known)?;
        Ok(known)
    }

    /// What all records hold. The sandboxes are locked meanwhile: none of them gives an address back behind our back.
    fn gather(&self) -> Result<Held<'_>, ReportError> {
        let until = Instant::now() + BUSY;
        let mut held = Held::default();
        for name in self.aliases {
            held.by_node.entry(name.clone()).or_default();
        }
        held.by_node.entry(self.node.to_owned()).or_default();
        for id in self.records.container_ids()? {
            let Some(record) = self.read(&id)? else {
                continue;
            };
            let leases = self.leases(&record);
            if leases.is_empty() || self.own == Some(id.as_str()) {
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            let leases = match self.records.lock(&id, left) {
                Ok(sandbox) => {
                    let record = self.read(&id)?;
                    held.sandboxes.push(sandbox);
                    record
                        .map(|record| self.leases(&record))
                        .unwrap_or_default()
                }
                // An address that is reported although it is given back at this moment is found by GC; one that is
                // not reported is given to another pod.
                Err(error) => {
                    tracing::debug!(%error, "reported without its lock");
                    leases
                }
            };
            for (node, lease) in leases {
                held.by_node.entry(node).or_default().push(lease);
            }
        }
        Ok(held)
    }

    /// A record; one that cannot be read is nobody's reason not to report the others.
    fn read(&self, id: &str) -> Result<Option<Record>, RecordError> {
        match self.records.peek(id) {
            Err(error @ (RecordError::Corrupt { .. } | RecordError::Newer { .. })) => {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "what this sandbox holds is not reported to ipam-server"
                );
                Ok(None)
            }
            record => record,
        }
    }

    /// What a record holds of this server, and the node that each lease names.
    fn leases(&self, record: &Record) -> Vec<(String, HeldLease)> {
        let attachments = record.attachments.iter();
        attachments
            .filter_map(|entry| self.lease(record, entry))
            .collect()
    }

    fn lease(&self, record: &Record, entry: &Entry) -> Option<(String, HeldLease)> {
        let attachment = &entry.attachment;
        let result = entry.result.as_ref()?;
        let plugins = attachment.list.plugins.iter();
        let mut ours = plugins.filter_map(|plugin| {
            let conf = plugin.as_map();
            Some((conf, IpamConfig::of(conf).ok()??))
        });
        // A second plugin of the list has the same lease.
        let (conf, mut config) = ours.next()?;
        if config.server.address != self.server.address {
            return None;
        }
        config.node.get_or_insert_with(|| self.node.to_owned());
        let args = Args::parse(&attachment.args).ok()?;
        let asks = request::Attachment {
            conf,
            container_id: &record.container_id,
            ifname: &attachment.ifname,
            args: &args,
        };
        let addresses = || result.ips.iter().map(|ip| ip.address.ip());
        let ips: Vec<_> = [
            addresses().find(IpAddr::is_ipv4),
            addresses().find(IpAddr::is_ipv6),
        ]
        .into_iter()
        .flatten()
        .map(|ip| ip.to_string())
        .collect();
        let held = HeldLease {
            request: Some(asks.allocate(&config)),
            ips,
        };
        let node = config.node.unwrap_or_default();
        (!held.ips.is_empty()).then_some((node, held))
    }
}

/// What records hold, by node, and the sandboxes that are locked so that it stays so.
#[derive(Default)]
struct Held<'a> {
    by_node: BTreeMap<String, Vec<HeldLease>>,
    sandboxes: Vec<crate::record::Sandbox<'a>>,
}
