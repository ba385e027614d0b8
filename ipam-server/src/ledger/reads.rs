//! What needs many leases: read from the store beside the ledger's thread, so that nobody waits for it. Where something is
//! to be changed by it, the thread checks each lease again.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proto::ipam::v1 as ipam;

use super::{Caller, Ledger};
use crate::allocator::lookup::{Question, Summary};
use crate::allocator::{is_unlisted, listed};
use crate::error::Error;
use crate::lease::timestamp;
use crate::page::Page;
use crate::pool::Problems;
use crate::store::{LeaseId, Store};

/// Leases that are read at once.
const PAGE: usize = 5_000;
/// Leases that one group ends: more wait for the next one, and what others ask is decided in between.
const ENDS: usize = 1024;

/// Of all leases, reclaimers end one in so many within [`WINDOW`]: a list that is wrong or was cut ends few.
const FRACTION: u64 = 10;
/// What they end within it however few leases there are.
const FEW: u64 = 16;
/// How long what was ended counts.
const WINDOW: Duration = Duration::from_secs(3600);

/// What reclaimers ended since when.
#[derive(Debug, Default)]
pub(super) struct Ended(Option<(Instant, u64)>);

impl Ended {
    /// How many within [`WINDOW`].
    fn count(&self) -> u64 {
        let counts = self.0.filter(|(since, _)| since.elapsed() < WINDOW);
        counts.map_or(0, |(_, count)| count)
    }

    fn add(&mut self, more: u64) {
        let now = Instant::now();
        let since = self.0.map(|(since, _)| since);
        let since = since.filter(|since| since.elapsed() < WINDOW);
        self.0 = Some((since.unwrap_or(now), self.count() + more));
    }
}

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
        self.read(move |store| Ok(store.leases(after, limit)?))
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
        let leases = match self.lookup_now(caller, question.clone()).await? {
            Some(leases) => leases,
            None => {
                let question = question.clone();
                self.read(move |store| matching(store, |lease| question.matches(lease)))
                    .await?
            }
        };
        let mut leases = match request.at_time {
            Some(at) => self.held_at(leases, question, at).await?,
            None => leases,
        };
        leases.retain(|lease| caller.reaches(lease));
        Ok(leases)
    }

    /// See `LeaseService.ReleaseUnlisted`.
    ///
    /// # Errors
    /// [`Error::InvalidFields`], [`Error::Store`].
    pub async fn release_unlisted(
        &self,
        caller: &Caller,
        mut request: ipam::ReleaseUnlistedRequest,
    ) -> Result<ipam::ReleaseUnlistedResponse, Error> {
        if let Some(node) = caller.node.as_deref().filter(|_| request.node.is_empty()) {
            node.clone_into(&mut request.node);
        }
        let mut problems = Problems::default();
        for (field, value) in [("network", &request.network), ("node", &request.node)] {
            if value.is_empty() {
                problems.add(
                    field,
                    "must not be empty: only leases of this network and node end",
                );
            }
        }
        for (index, one) in request.attachments.iter().enumerate() {
            if one.container_id.is_empty() || one.ifname.is_empty() {
                problems.add(
                    format!("attachments[{index}]"),
                    "must name container_id and ifname; with a wrong list nothing ends",
                );
            }
        }
        problems.into_result()?;
        if let Some(own) = &caller.node
            && !own.eq_ignore_ascii_case(&request.node)
        {
            return Err(Error::OtherNode {
                node: own.to_string(),
                what: "leases",
            });
        }
        let (network, node) = (request.network.clone(), request.node.clone());
        let (request, found, _) = self
            .unlisted(request, network, node, |request| &request.attachments)
            .await?;
        let request = Arc::new(request);
        let mut answer = ipam::ReleaseUnlistedResponse::default();
        let mut page = Page::new(usize::MAX);
        for some in found.chunks(ENDS) {
            let (request, some) = (request.clone(), some.to_vec());
            let ended = self
                .run(caller, !request.validate_only, move |draft| {
                    draft.release_unlisted(&request, &some)
                })
                .await?;
            answer.count += ended.len() as u64;
            ended.into_iter().for_each(|lease| page.fill(lease));
        }
        answer.leases = page.into_entries();
        Ok(answer)
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
        let (request, found, all) = self
            .unlisted(request, network, node, |request| &request.attachments)
            .await?;
        let (missed, most) = (found.len() as u64, (all / FRACTION).max(FEW));
        let ended = || self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.is_bounded && missed + ended().count() > most {
            let ended = ended().count();
            return Err(Error::TooManyMissed {
                missed,
                all,
                most,
                ended,
            });
        }
        let keep = !request.validate_only;
        let answer = self
            .run(caller, keep, move |draft| {
                draft.reclaim_orphans(&request, &found)
            })
            .await?;
        if caller.is_bounded && keep {
            ended().add(answer.reclaimed.len() as u64);
        }
        Ok(answer)
    }

    /// Leases that a request does not list, and how many attachments have leases in all.
    async fn unlisted<R: Send + 'static>(
        &self,
        request: R,
        network: String,
        node: String,
        attachments: fn(&R) -> &Vec<ipam::Attachment>,
    ) -> Result<(R, Vec<LeaseId>, u64), Error> {
        self.read(move |store| {
            let (nothing, mut all) = (HashSet::new(), 0);
            let found = {
                let listed = listed(attachments(&request));
                let leases = matching(store, |lease| {
                    all += u64::from(is_unlisted(lease, "", "", &nothing));
                    is_unlisted(lease, &network, &node, &listed)
                })?;
                leases
                    .iter()
                    .filter_map(|lease| lease.id.parse().ok())
                    .collect()
            };
            Ok((request, found, all))
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
        let origin = self.origin.borrow().clone();
        let until = Timestamp::from_millisecond(origin.until).ok();
        let until = until.filter(|_| !origin.awaited.is_empty());
        Ok(ipam::Server {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.store.name().to_owned(),
            revision: *self.revision.borrow(),
            oldest_revision: *self.oldest.borrow(),
            writable: problem.is_none(),
            problem: problem.map(|error| error.to_string()).unwrap_or_default(),
            leases,
            store_id: origin.id,
            awaited_nodes: origin.awaited.into_iter().collect(),
            awaited_until_time: until.map(timestamp),
        })
    }
}

fn matching(
    store: &dyn Store,
    mut matches: impl FnMut(&ipam::Lease) -> bool,
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
