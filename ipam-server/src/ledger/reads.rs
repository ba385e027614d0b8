//! What needs a look at many leases or at the history: read from the store beside the ledger's thread, so that
//! nobody waits for it. Where something is to be changed by it, the thread looks again at each lease.

use proto::ipam::v1 as ipam;

use super::{Caller, Ledger};
use crate::allocator::draft::lease_of;
use crate::allocator::lookup::{Question, Summary};
use crate::allocator::{is_unlisted, listed};
use crate::error::Error;
use crate::lease::millis;
use crate::pool::Problems;
use crate::store::{LeaseId, Store};

/// Leases or events that are read at once.
const PAGE: usize = 5_000;

impl Ledger {
    /// Reads from the store, off the async threads.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(store.as_ref()));
        read.await.map_err(|_| Error::Stopping)?
    }

    /// Up to `limit` leases with a number above `after`, in order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<ipam::Lease>, Error> {
        let durable = *self.revision.borrow();
        let mut leases = self
            .read(move |store| Ok(store.leases(after, limit)?))
            .await?;
        let made = |lease: &ipam::Lease| lease.id.parse().is_ok_and(|LeaseId(id)| id <= durable);
        while leases.last().is_some_and(|lease| !made(lease)) {
            leases.pop();
        }
        Ok(leases)
    }

    /// Up to `limit` durable events with a revision above `after`, in order.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the history begins later; [`Error::Store`].
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<ipam::Event>, Error> {
        let durable = *self.revision.borrow();
        let ledger = self.clone();
        self.read(move |store| {
            let mut events = store.events(after, limit)?;
            // Looked at after reading: what was forgotten meanwhile must not go unnoticed.
            let oldest = *ledger.oldest.borrow();
            if after.saturating_add(1) < oldest {
                return Err(Error::Compacted {
                    wanted: format!("revision {}", after + 1),
                    oldest,
                });
            }
            events.retain(|event| event.revision <= durable);
            Ok(events)
        })
        .await
    }

    /// The oldest revision that the history keeps.
    pub fn oldest_revision(&self) -> u64 {
        *self.oldest.borrow()
    }

    /// Up to `limit` durable events with a revision below `before`, newest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn events_back(&self, before: u64, limit: usize) -> Result<Vec<ipam::Event>, Error> {
        let before = before.min(self.revision.borrow().saturating_add(1));
        self.read(move |store| Ok(store.events_back(before, limit)?))
            .await
    }

    /// See `LeaseService.Lookup`.
    ///
    /// # Errors
    /// [`Error::InvalidFields`], [`Error::Compacted`], [`Error::Store`].
    pub async fn lookup(
        &self,
        caller: &Caller,
        request: ipam::LookupRequest,
    ) -> Result<Vec<ipam::Lease>, Error> {
        let question = Question::decode(&request)?;
        if let Some(at) = request.at_time {
            return self.lookup_at(question, millis(Some(&at)), at).await;
        }
        if let Some(leases) = self.lookup_now(caller, question.clone()).await? {
            return Ok(leases);
        }
        self.read(move |store| matching(store, |lease| question.matches(lease)))
            .await
    }

    /// Who held at a time: those of now, and then the history backwards to that time. The event next after the
    /// time tells by what was before it.
    async fn lookup_at(
        &self,
        question: Question,
        at: i64,
        time: pbjson_types::Timestamp,
    ) -> Result<Vec<ipam::Lease>, Error> {
        let oldest = *self.oldest.borrow();
        self.read(move |store| {
            // A change between these two readings is undone by the history below.
            let mut held: std::collections::BTreeMap<LeaseId, ipam::Lease> =
                std::collections::BTreeMap::new();
            for lease in matching(store, |lease| question.matches(lease))? {
                held.extend(lease.id.parse().map(|id| (id, lease)));
            }
            let mut before = u64::MAX;
            loop {
                let page = store.events_back(before, PAGE)?;
                let full = page.len() == PAGE;
                for event in page {
                    if millis(event.time.as_ref()) <= at {
                        return Ok(held.into_values().collect());
                    }
                    before = event.revision;
                    let then = lease_of(event.before.as_ref());
                    let Some(id) = then
                        .or(lease_of(event.after.as_ref()))
                        .and_then(|lease| lease.id.parse().ok())
                    else {
                        continue;
                    };
                    match then.filter(|lease| question.matches(lease)) {
                        Some(lease) => held.insert(id, lease.clone()),
                        None => held.remove(&id),
                    };
                }
                if !full {
                    break;
                }
            }
            // The history is all there is since the beginning, or it does not reach back far enough.
            if oldest > 1 {
                let wanted = jiff::Timestamp::new(time.seconds, time.nanos).unwrap_or_default();
                return Err(Error::Compacted {
                    wanted: format!("time {wanted}"),
                    oldest,
                });
            }
            Ok(held.into_values().collect())
        })
        .await
    }

    /// See `LeaseService.ReleaseUnlisted`.
    ///
    /// # Errors
    /// [`Error::InvalidFields`], [`Error::Store`].
    pub async fn release_unlisted(
        &self,
        caller: &Caller,
        request: ipam::ReleaseUnlistedRequest,
    ) -> Result<ipam::ReleaseUnlistedResponse, Error> {
        let mut problems = Problems::default();
        for (field, value) in [("network", &request.network), ("node", &request.node)] {
            if value.is_empty() {
                problems.add(
                    field,
                    "must not be empty: only leases of this network and node end",
                );
            }
        }
        problems.into_result()?;
        let (network, node) = (request.network.clone(), request.node.clone());
        let (request, found) = self
            .unlisted(request, network, node, |request| &request.attachments)
            .await?;
        self.run(caller, !request.validate_only, move |draft| {
            draft.release_unlisted(&request, &found)
        })
        .await
    }

    /// See `AdminService.ReclaimOrphans`.
    ///
    /// # Errors
    /// [`Error::InvalidFields`], [`Error::Store`].
    pub async fn reclaim_orphans(
        &self,
        caller: &Caller,
        request: ipam::ReclaimOrphansRequest,
    ) -> Result<ipam::ReclaimOrphansResponse, Error> {
        let (network, node) = (request.network.clone(), request.node.clone());
        let (request, found) = self
            .unlisted(request, network, node, |request| &request.attachments)
            .await?;
        self.run(caller, !request.validate_only, move |draft| {
            draft.reclaim_orphans(&request, &found)
        })
        .await
    }

    /// Leases that a request does not list.
    async fn unlisted<R: Send + 'static>(
        &self,
        request: R,
        network: String,
        node: String,
        attachments: fn(&R) -> &Vec<ipam::Attachment>,
    ) -> Result<(R, Vec<LeaseId>), Error> {
        self.read(move |store| {
            let found = {
                let listed = listed(attachments(&request));
                let leases = matching(store, |lease| is_unlisted(lease, &network, &node, &listed))?;
                leases
                    .iter()
                    .filter_map(|lease| lease.id.parse().ok())
                    .collect()
            };
            Ok((request, found))
        })
        .await
    }

    /// Everything but the leases, at one revision.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn summary(&self, caller: &Caller) -> Result<Summary, Error> {
        self.run(caller, false, |draft| Ok(draft.summary())).await
    }

    /// See `AdminService.GetServer`.
    ///
    /// # Errors
    /// None today.
    pub async fn server(&self, caller: &Caller) -> Result<ipam::Server, Error> {
        let leases = self.summary(caller).await?.leases;
        let problem = self.health.borrow().clone().err();
        Ok(ipam::Server {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.store.name().to_owned(),
            revision: *self.revision.borrow(),
            oldest_revision: *self.oldest.borrow(),
            writable: problem.is_none(),
            problem: problem.map(|error| error.to_string()).unwrap_or_default(),
            leases,
        })
    }
}

fn matching(
    store: &dyn Store,
    matches: impl Fn(&ipam::Lease) -> bool,
) -> Result<Vec<ipam::Lease>, Error> {
    let mut found = Vec::new();
    let mut after = LeaseId(0);
    loop {
        let page = store.leases(after, PAGE)?;
        let full = page.len() == PAGE;
        for lease in page {
            after = lease.id.parse().unwrap_or(after);
            if matches(&lease) {
                found.push(lease);
            }
        }
        if !full {
            return Ok(found);
        }
    }
}
