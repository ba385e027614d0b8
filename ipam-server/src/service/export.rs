//! Export: everything as it was at one revision, as a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use ipam_core::lease::{Lease, LeaseId};
use proto::ipam::v1::{self as ipam, export_item::Item};
use tokio::sync::mpsc::Sender;
use tonic::Status;

use super::Service;
use crate::error::Error;
use crate::ledger::{Caller, Ledger};
use crate::wire::{lease, pool, reservation, time};

/// Leases or events that are read at once, and items that wait for a slow reader.
pub(super) const CHUNK: usize = 1000;

/// What an export is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// To be imported.
    Backup,
    /// To be read: without what makes a backup of it.
    Reading,
}

impl Form {
    fn of(self, lease: ipam::Lease) -> ipam::Lease {
        match self {
            Form::Backup => lease,
            Form::Reading => ipam::Lease {
                id: String::new(),
                generation: 0,
                request_id: String::new(),
                ..lease
            },
        }
    }
}

impl Service {
    /// Everything as it was at the header's revision: what changed while it is read is put back from the history.
    pub(super) async fn export_to(
        &self,
        caller: &Caller,
        form: Form,
        sender: &Sender<Result<ipam::ExportItem, Status>>,
    ) -> Result<(), Error> {
        let summary = self.ledger.summary(caller).await?;
        let header = ipam::ExportHeader {
            format: 1,
            revision: summary.revision,
            time: Some(time::encode(jiff::Timestamp::now())),
            pools: summary.pools.len() as u64,
            reservations: summary.reservations.len() as u64,
            leases: summary.leases,
        };
        let names = summary.pools.iter().map(|pool| pool.name.clone());
        let names: BTreeSet<Arc<str>> = names.collect();
        let pools = summary.pools.into_iter().map(Arc::unwrap_or_clone);
        let reservations = summary.reservations.into_iter().map(Arc::unwrap_or_clone);
        let first = std::iter::once(Item::Header(header))
            .chain(pools.map(|one| Item::Pool(pool::encode(one))))
            .chain(reservations.map(|one| Item::Reservation(reservation::encode(one))));
        for item in first {
            if send(sender, item).await.is_err() {
                return Ok(());
            }
        }
        let mut after = LeaseId(0);
        let mut changed = Changed {
            revision: summary.revision,
            before: BTreeMap::new(),
        };
        loop {
            let page = self.ledger.leases(after, CHUNK).await?;
            let end = page.last().filter(|_| page.len() == CHUNK);
            let end = end.map_or(LeaseId(u64::MAX), |lease| lease.id);
            changed.catch_up(&self.ledger).await?;
            for lease in changed.put_back(page, after, end) {
                // What is in quarantine after its pool was deleted belongs to no pool of the export.
                if !names.contains(&lease.pool) {
                    continue;
                }
                let item = Item::Lease(form.of(lease::encode(lease)));
                if send(sender, item).await.is_err() {
                    return Ok(());
                }
            }
            if end == LeaseId(u64::MAX) {
                return Ok(());
            }
            after = end;
        }
    }
}

/// Leases that changed since an export began, as they were then.
struct Changed {
    /// Up to which the history was read.
    revision: u64,
    before: BTreeMap<LeaseId, Option<Arc<Lease>>>,
}

impl Changed {
    /// Reads the history as far as it goes by now: what is in a page is in it.
    async fn catch_up(&mut self, ledger: &Ledger) -> Result<(), Error> {
        loop {
            let from = self.revision;
            let events = ledger
                .read(move |store| Ok(store.events(from, CHUNK)?))
                .await?;
            let Some(last) = events.last() else {
                return Ok(());
            };
            if from + 1 < ledger.oldest_revision() {
                return Err(Error::Compacted {
                    wanted: format!("revision {from}"),
                    oldest: ledger.oldest_revision(),
                });
            }
            self.revision = last.revision;
            for event in events {
                if let Some(id) = event.lease_id() {
                    let before = || event.lease_before().cloned();
                    self.before.entry(id).or_insert_with(before);
                }
            }
        }
    }

    /// The leases above `after` and up to `end` as they were, of which `page` exist now.
    fn put_back(&self, page: Vec<Lease>, after: LeaseId, end: LeaseId) -> Vec<Lease> {
        let page = page.into_iter().map(|lease| (lease.id, lease));
        let mut leases: BTreeMap<LeaseId, Lease> = page.collect();
        let range = (Bound::Excluded(after), Bound::Included(end));
        for (id, before) in self.before.range(range) {
            match before {
                Some(lease) => leases.insert(*id, Lease::clone(lease)),
                None => leases.remove(id),
            };
        }
        leases.into_values().collect()
    }
}

async fn send(sender: &Sender<Result<ipam::ExportItem, Status>>, item: Item) -> Result<(), ()> {
    sender
        .send(Ok(ipam::ExportItem { item: Some(item) }))
        .await
        .map_err(|_| ())
}
