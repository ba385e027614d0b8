//! What needs many leases: read from the store beside the ledger's thread, so that nobody waits for it. Where something is
//! to be changed by it, the thread checks each lease again.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ipam_core::allocator::orphans::{Reclaim, Reclaimed};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Origin, Store, StoreError};
use ipam_core::request::{Inventory, Question};
use jiff::Timestamp;

use super::{Caller, Ledger, Mode};
use crate::error::Error;

/// Leases that are read at once.
const PAGE: usize = 5_000;
/// Leases that one group ends: more wait for the next one, and other callers' commands are decided in between.
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

/// How a server is.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// What the store is.
    pub store: &'static str,
    /// Of the last change.
    pub revision: u64,
    /// The oldest that the history keeps.
    pub oldest_revision: u64,
    /// Why the store cannot be written.
    pub problem: Option<StoreError>,
    /// How many leases there are.
    pub leases: u64,
    /// Which store it is, and whose reports it waits for.
    pub origin: Origin,
}

impl Ledger {
    /// Takes in what other servers have appended, if they can.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store cannot be asked; [`Error::Stopping`].
    pub async fn catch_up(&self) -> Result<(), Error> {
        match self.store.is_shared() {
            true => {
                self.run(&Caller::default(), Mode::Validate, |_| Ok(()))
                    .await
            }
            false => Ok(()),
        }
    }

    /// Reads from the store, off the async threads. A store that other servers append to is brought up to date first: what
    /// somebody was told before is in what is read.
    ///
    /// # Errors
    /// Those of `read`; of a shared store also [`Error::Refused`] if it cannot be asked, and [`Error::Stopping`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.catch_up().await?;
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(store.as_ref()));
        read.await.map_err(|_| Error::Stopping)?
    }

    /// Up to `limit` leases with a number above `after`, in order.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store cannot be read.
    pub async fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, Error> {
        self.read(move |store| Ok(store.leases(after, limit)?))
            .await
    }

    /// See `LeaseService.Lookup`; without a time: now.
    ///
    /// # Errors
    /// [`Error::Compacted`]; [`Error::Refused`] if the store cannot be read.
    pub async fn lookup(
        &self,
        caller: &Caller,
        question: Question,
        at_time: Option<Timestamp>,
    ) -> Result<Vec<Lease>, Error> {
        let leases = match self.lookup_now(caller, question.clone()).await? {
            Some(leases) => leases.into_iter().map(Arc::unwrap_or_clone).collect(),
            None => {
                let question = question.clone();
                self.read(move |store| matching(store, |lease| question.matches(lease)))
                    .await?
            }
        };
        let mut leases = match at_time {
            Some(at) => self.held_at(leases, question, at).await?,
            None => leases,
        };
        leases.retain(|lease| caller.reaches(lease));
        Ok(leases)
    }

    /// See `LeaseService.ReleaseUnlisted`: returns what ended.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store fails; [`Error::Stopping`], [`Error::DeadlineExceeded`].
    pub async fn release_unlisted(
        &self,
        caller: &Caller,
        mode: Mode,
        inventory: Inventory,
    ) -> Result<Vec<Arc<Lease>>, Error> {
        let inventory = Arc::new(inventory);
        let (missed, _) = self.missed(inventory.clone()).await?;
        let mut leases = Vec::new();
        for some in missed.chunks(ENDS) {
            let (inventory, some) = (inventory.clone(), some.to_vec());
            let ended = self.run(caller, mode, move |draft| {
                draft.release_unlisted(&inventory, &some)
            });
            leases.extend(ended.await?);
        }
        Ok(leases)
    }

    /// See `AdminService.ReclaimOrphans`; `room` makes what says whether the answer has room for one more lease.
    ///
    /// # Errors
    /// [`Error::TooManyMissed`]; [`Error::Refused`] if the store fails; [`Error::Stopping`], [`Error::DeadlineExceeded`].
    pub async fn reclaim_orphans<R: FnMut(&Lease) -> bool>(
        &self,
        caller: &Caller,
        reclaim: Reclaim,
        room: impl Fn() -> R + Send + 'static,
    ) -> Result<Reclaimed, Error> {
        let inventory = Arc::new(reclaim.inventory.clone());
        let (missed, all) = self.missed(inventory).await?;
        let (count, most) = (missed.len() as u64, (all / FRACTION).max(FEW));
        let ended = || self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.is_bounded && count + ended().count() > most {
            let ended = ended().count();
            return Err(Error::TooManyMissed {
                missed: count,
                all,
                most,
                ended,
            });
        }
        let mode = Mode::of(reclaim.validate_only);
        let reclaimed = self.run(caller, mode, move |draft| {
            draft.reclaim_orphans(&reclaim, &missed, room())
        });
        let answer = reclaimed.await?;
        if caller.is_bounded && mode.keeps() {
            ended().add(answer.reclaimed.len() as u64);
        }
        Ok(answer)
    }

    /// Leases that an inventory misses, and how many attachments have leases in all.
    async fn missed(&self, inventory: Arc<Inventory>) -> Result<(Vec<LeaseId>, u64), Error> {
        self.read(move |store| {
            let (every, mut all) = (Inventory::default(), 0);
            let mut missed = Vec::new();
            visit(store, |lease| {
                all += u64::from(every.concerns(&lease));
                if inventory.misses(&lease) {
                    missed.push(lease.id);
                }
            })?;
            Ok((missed, all))
        })
        .await
    }

    /// See `AdminService.GetServer`.
    ///
    /// # Errors
    /// As [`Ledger::summary`].
    pub async fn server(&self, caller: &Caller) -> Result<ServerStatus, Error> {
        let leases = self.summary(caller).await?.leases;
        Ok(ServerStatus {
            store: self.store.name(),
            revision: *self.revision.borrow(),
            oldest_revision: *self.oldest.borrow(),
            problem: self.health.borrow().clone().err(),
            leases,
            origin: self.origin.borrow().clone(),
        })
    }
}

/// The stored leases that match.
fn matching(store: &dyn Store, matches: impl Fn(&Lease) -> bool) -> Result<Vec<Lease>, Error> {
    let mut found = Vec::new();
    visit(store, |lease| {
        if matches(&lease) {
            found.push(lease);
        }
    })?;
    Ok(found)
}

/// Visits every stored lease.
fn visit(store: &dyn Store, mut visit: impl FnMut(Lease)) -> Result<(), Error> {
    let mut after = LeaseId(0);
    loop {
        let page = store.leases(after, PAGE)?;
        let is_full = page.len() == PAGE;
        for lease in page {
            after = lease.id;
            visit(lease);
        }
        if !is_full {
            return Ok(());
        }
    }
}
