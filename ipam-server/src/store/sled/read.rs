//! What is read, with all that was appended before. Stored messages become the types of the domain here.

use std::path::Path;

use ipam_core::event::Event;
use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::{Extent, Origin, Position, Store, StoreError};
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;
use prost::Message;
use proto::ipam::v1 as ipam;

use super::block::{Entries, key_at, last_key};
use super::values::{self, Kind, ORIGIN, shown};
use super::{SledStore, failure, history, origin};
use crate::wire::{Malformed, event, lease, pool, reservation};

impl SledStore {
    /// Does something with the database, once it holds all that was appended before.
    fn with<T>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.tree.with_all(work)
    }

    /// All of a kind, decoded.
    fn all<M: Message + Default, T>(
        &self,
        kind: Kind,
        decode: fn(M) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, StoreError> {
        let path = &self.path;
        self.with(|db| {
            let mut found = Vec::new();
            for entry in db.scan_prefix([kind.prefix()]) {
                if let Some((key, value)) = whole(path, db, entry)? {
                    found.push(domain(path, &key, &value, decode)?);
                }
            }
            Ok(found)
        })
    }

    /// Events of the domain.
    fn decode_events(&self, events: Vec<ipam::Event>) -> Result<Vec<Event>, StoreError> {
        let decode = |one: ipam::Event| {
            let revision = one.revision;
            event::decode(one)
                .map_err(|error| malformed(&self.path, &Kind::Event.number(revision), &error))
        };
        events.into_iter().map(decode).collect()
    }
}

/// An entry of the tree with its whole value; none if it is removed meanwhile.
pub(super) fn whole(
    path: &Path,
    tree: &sled::Tree,
    entry: sled::Result<(sled::IVec, sled::IVec)>,
) -> Result<Option<(sled::IVec, sled::IVec)>, StoreError> {
    let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
    let value = match values::whole(path, tree, &key, stored)? {
        Some(value) => Some(value),
        // It was changed a moment ago.
        None => values::stored(path, tree, &key)?,
    };
    Ok(value.map(|value| (key, value)))
}

/// The message of a value.
pub(super) fn decode<M: Message + Default>(
    path: &Path,
    key: &[u8],
    value: &[u8],
) -> Result<M, StoreError> {
    M::decode(value).map_err(|error| {
        failure::corrupt(path, format!("the value of key {}: {error}", shown(key)))
    })
}

/// What a value is in the domain.
fn domain<M: Message + Default, T>(
    path: &Path,
    key: &[u8],
    value: &[u8],
    into: impl FnOnce(M) -> Result<T, Malformed>,
) -> Result<T, StoreError> {
    into(decode(path, key, value)?).map_err(|error| malformed(path, key, &error))
}

fn malformed(path: &Path, key: &[u8], error: &Malformed) -> StoreError {
    failure::corrupt(path, format!("the value of key {}: {error}", shown(key)))
}

impl Store for SledStore {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn extent(&self) -> Result<Extent, StoreError> {
        let revision = self
            .events_back(u64::MAX, 1)?
            .first()
            .map_or(0, |event| event.revision);
        let oldest = self.events(0, 1)?.first().map(|event| event.revision);
        Ok(Extent {
            position: Position(self.tree.newest()?),
            revision,
            oldest_revision: oldest.unwrap_or(revision + 1),
        })
    }

    fn origin(&self) -> Result<Option<Origin>, StoreError> {
        let path = &self.path;
        let found = self.tree.value(&Kind::Meta.key(ORIGIN))?;
        let read = found.map(|value| origin::decode(&value)).transpose();
        read.map_err(|error| failure::corrupt(path, format!("which store it is: {error}")))
    }

    fn pools(&self) -> Result<Vec<Pool>, StoreError> {
        self.all(Kind::Pool, pool::decode_stored)
    }

    fn reservations(&self) -> Result<Vec<Reservation>, StoreError> {
        self.all(Kind::Reservation, reservation::decode)
    }

    fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        let (path, key) = (&self.path, Kind::Lease.number(id.0));
        let value = self.tree.value(&key)?;
        let lease = value.map(|value| domain(path, &key, &value, lease::decode));
        lease.transpose()
    }

    fn leases(&self, after: LeaseId, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let path = &self.path;
        let mut found = Vec::new();
        let Some(first) = after.0.checked_add(1) else {
            return Ok(found);
        };
        let mut decoder = lease::Decoder::default();
        self.with(|db| {
            for entry in db.range(key_at(Kind::Leases, first)..=last_key(Kind::Leases)) {
                let Some((key, value)) = whole(path, db, entry)? else {
                    continue;
                };
                let entries = Entries::read(path, &key, &value)?;
                for (number, lease) in entries.iter().filter(|(number, _)| *number >= first) {
                    if found.len() == limit {
                        return Ok(());
                    }
                    let key = Kind::Lease.number(number);
                    found.push(domain(path, &key, lease, |one| decoder.decode(one))?);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let path = &self.path;
        let events = self.with(|db| history::after(path, db, after, limit))?;
        self.decode_events(events)
    }

    fn events_back(&self, before: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let path = &self.path;
        let events = self.with(|db| history::before(path, db, before, limit))?;
        self.decode_events(events)
    }
}
