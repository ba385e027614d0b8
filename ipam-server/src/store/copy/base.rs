//! What a store holds and its history does not tell: what was changed last before the oldest event that is kept. It is put into
//! the target by events that nobody keeps: their revisions are below those of the history, and each group forgets its own but
//! the last one, which tells how far the copy is until the history follows.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipam_core::event::{Change, Event};
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Group, Store, StoreError};

use super::GROUP;

/// The things of a store that its history does not tell, in their order.
pub(super) struct Base<'a> {
    source: &'a dyn Store,
    /// Pools and reservations.
    named: Vec<Change>,
    /// Leases that the history tells.
    told: BTreeSet<LeaseId>,
    leases: u64,
}

impl<'a> Base<'a> {
    /// Reads the history and all keys.
    pub(super) fn read(source: &'a dyn Store) -> Result<Base<'a>, StoreError> {
        let (mut told, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut after = source.extent()?.oldest_revision.saturating_sub(1);
        loop {
            let events = source.events(after, GROUP)?;
            let Some(last) = events.last() else { break };
            after = last.revision;
            for event in &events {
                match &event.change {
                    Change::Lease(sides) => told.extend(sides.newest().map(|lease| lease.id)),
                    Change::Pool(sides) => {
                        names.extend(sides.newest().map(|pool| (0, pool.name.clone())));
                    }
                    Change::Reservation(sides) => {
                        names.extend(sides.newest().map(|kept| (1, kept.name.clone())));
                    }
                }
            }
        }
        let pools = source.pools()?.into_iter();
        let pools = pools.filter(|pool| !names.contains(&(0, pool.name.clone())));
        let kept = source.reservations()?.into_iter();
        let kept = kept.filter(|kept| !names.contains(&(1, kept.name.clone())));
        let named = pools
            .map(|pool| Change::pool(None, Some(Arc::new(pool))))
            .chain(kept.map(|kept| Change::reservation(None, Some(Arc::new(kept)))));
        let mut base = Base {
            source,
            named: named.collect(),
            told,
            leases: 0,
        };
        let mut leases = 0;
        for lease in base.leases() {
            lease?;
            leases += 1;
        }
        base.leases = leases;
        Ok(base)
    }

    /// How many things there are.
    pub(super) fn len(&self) -> u64 {
        self.named.len() as u64 + self.leases
    }

    fn leases(&self) -> impl Iterator<Item = Result<Lease, StoreError>> + use<'_, 'a> {
        let mut after = Some(LeaseId(0));
        let pages = std::iter::from_fn(move || {
            let page = self.source.leases(after?, GROUP);
            after = match &page {
                Ok(page) => page.last().map(|lease| lease.id),
                Err(_) => None,
            };
            Some(page)
        });
        pages
            .flat_map(|page| match page {
                Ok(page) => page.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
            .filter(|lease| !matches!(lease, Ok(lease) if self.told.contains(&lease.id)))
    }

    /// Hands all things behind the first `done` to `append`, in groups, with the number of things that are in the target then.
    /// The last revision is `end`.
    pub(super) fn write<E: From<StoreError>>(
        &self,
        end: u64,
        done: u64,
        mut append: impl FnMut(Group, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let named = self.named.iter().cloned().map(Ok);
        let leases = self.leases();
        let leases = leases.map(|lease| Ok(Change::lease(None, Some(Arc::new(lease?)))));
        let skipped = usize::try_from(done).unwrap_or(usize::MAX);
        let mut changes = named.chain(leases).skip(skipped).peekable();
        let mut revision = done;
        if changes.peek().is_none() {
            return append(group(vec![nothing()], end, end), done);
        }
        while changes.peek().is_some() {
            let some: Result<Vec<Change>, StoreError> = changes.by_ref().take(GROUP).collect();
            let some = some?;
            let before = revision;
            revision += some.len() as u64;
            let last = match changes.peek() {
                Some(_) => revision,
                None => end,
            };
            append(group(some, before + 1, last), revision)?;
        }
        Ok(())
    }
}

/// A group whose events are numbered from `first` on, the last one by `last`, which alone is kept.
fn group(changes: Vec<Change>, first: u64, last: u64) -> Group {
    let events = (first..).zip(changes).map(|(revision, change)| Event {
        revision,
        change,
        ..Event::default()
    });
    let mut events: Vec<_> = events.collect();
    if let Some(event) = events.last_mut() {
        event.revision = last;
    }
    Group {
        events,
        forget_events_to: last.checked_sub(1).filter(|&to| to > 0),
        origin: None,
    }
}

/// A change that changes nothing: a store that holds nothing has a revision, too.
fn nothing() -> Change {
    Change::lease(Some(Arc::new(Lease::default())), None)
}
