//! Import: takes pools, reservations and leases in as they were exported, as far as they fit.

mod lease;

use std::collections::BTreeSet;

use super::draft::Draft;
use crate::error::Error;
use crate::lease::{Lease, LeaseId};
use crate::pool::Pool;
use crate::reservation::Reservation;

/// Conflicts that an outcome describes.
const DETAILS: usize = 100;

/// One item of an export.
#[derive(Debug)]
pub struct Item {
    /// As a sentence about it names it: `pool blue`.
    pub name: String,
    /// What it is, or what is wrong with it.
    pub content: Result<Content, Error>,
}

/// What an item is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A pool.
    Pool(Box<Pool>),
    /// A reservation.
    Reservation(Reservation),
    /// A lease.
    Lease(ImportedLease),
}

/// A lease of an export.
#[derive(Clone, Debug)]
pub struct ImportedLease {
    /// Where it comes from.
    pub source: Source,
    /// Its number, if it has one.
    pub id: Option<LeaseId>,
    /// Everything else; `vrf`, `id` and the prefix lengths do not count.
    pub lease: Lease,
}

/// Where a lease comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From a backup of this service.
    Backup,
    /// From another IPAM plugin. Such a lease has no id, and its node has no records.
    OtherPlugin,
}

/// What became of a group of items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// Items that were taken in.
    pub imported: u64,
    /// Items that were there.
    pub unchanged: u64,
    /// Items that do not fit.
    pub conflicts: u64,
    /// Why they do not, a sentence each: the first ones.
    pub details: Vec<String>,
}

/// What became of one item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Imported,
    Unchanged,
}

impl Draft<'_> {
    /// Takes items in, each by itself: what does not fit is described, with its name, and left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn import(&mut self, items: &[Item]) -> Result<ImportOutcome, Error> {
        let mut answer = ImportOutcome::default();
        // The nodes of leases that come from a backup.
        let mut restored = None;
        for item in items {
            let outcome = match &item.content {
                Ok(content) => self.try_part(|draft| draft.import_one(content)),
                Err(error) => {
                    answer.add_conflict(&item.name, error);
                    continue;
                }
            };
            match outcome {
                Ok(Outcome::Imported) => {
                    answer.imported += 1;
                    if let Some(node) = item.node_in_backup() {
                        let nodes = restored.get_or_insert_with(BTreeSet::new);
                        nodes.insert(node.to_owned());
                    }
                }
                Ok(Outcome::Unchanged) => answer.unchanged += 1,
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => answer.add_conflict(&item.name, &error),
            }
        }
        if let Some(nodes) = restored {
            self.restored(nodes);
        }
        Ok(answer)
    }

    fn import_one(&mut self, content: &Content) -> Result<Outcome, Error> {
        match content {
            Content::Pool(pool) => self.import_pool(pool),
            Content::Reservation(reservation) => self.import_reservation(reservation),
            Content::Lease(lease) => self.import_lease(lease),
        }
    }

    fn import_pool(&mut self, pool: &Pool) -> Result<Outcome, Error> {
        if let Some((_, existing)) = self.state.pool(&pool.name)
            && existing.pool.has_configuration_of(pool)
        {
            return Ok(Outcome::Unchanged);
        }
        self.create_pool(pool.clone(), "")
            .map(|_| Outcome::Imported)
    }

    fn import_reservation(&mut self, reservation: &Reservation) -> Result<Outcome, Error> {
        if let Some(existing) = self.state.reservations.get(&reservation.name)
            && existing.reservation.is_same_as(reservation)
        {
            return Ok(Outcome::Unchanged);
        }
        self.create_reservation(reservation.clone(), "")
            .map(|_| Outcome::Imported)
    }
}

impl ImportOutcome {
    /// Counts an item that does not fit, and says why.
    pub fn add_conflict(&mut self, name: &str, error: &Error) {
        self.conflicts += 1;
        if self.details.len() < DETAILS {
            self.details.push(format!("{name}: {error}"));
        }
    }

    /// Adds what became of more items.
    pub fn add(&mut self, more: ImportOutcome) {
        self.imported += more.imported;
        self.unchanged += more.unchanged;
        self.conflicts += more.conflicts;
        self.details.extend(more.details);
        self.details.truncate(DETAILS);
    }
}

impl Item {
    /// The node of a lease that comes from a backup.
    fn node_in_backup(&self) -> Option<&str> {
        match &self.content {
            Ok(Content::Lease(lease)) if lease.source == Source::Backup => {
                Some(&lease.lease.owner().node)
            }
            _ => None,
        }
    }
}
