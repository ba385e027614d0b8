//! Everything that an index holds, read from its first key to its last: its sum, whether each value can be decoded, and
//! whether it agrees with its history.

use std::collections::HashMap;
use std::path::Path;

use proto::ipam::v1::{Event, Lease, Pool, Reservation, Subject};

use super::super::StoreError;
use super::super::journal::Status;
use super::values::{self, Kind};
use super::{block, failure, history};

/// Reads everything, and says what there is. That each value can be decoded follows from the sum of all values, if a
/// journal states it.
///
/// # Errors
/// [`StoreError::Corrupt`] if a value cannot be read or the history has a gap.
pub(super) fn read_all(path: &Path, db: &sled::Db) -> Result<Status, StoreError> {
    visit_all(path, db, |_, _| Ok(()))
}

/// The same for an index whose journal is not there: each value is decoded.
pub(super) fn decode_all(path: &Path, db: &sled::Db) -> Result<Status, StoreError> {
    visit_all(path, db, |key, value| decodes(path, key, value))
}

fn visit_all(
    path: &Path,
    db: &sled::Db,
    visit: impl Fn(&[u8], &[u8]) -> Result<(), StoreError> + Sync,
) -> Result<Status, StoreError> {
    // One half of the leases beside the other one and the history.
    let last = db.range(..=block::last_key(Kind::Leases)).next_back();
    let last = last.transpose().map_err(|error| failure::of(path, error))?;
    let last = last.and_then(|(key, _)| values::number_of(&key));
    let middle = Kind::Leases.number(last.unwrap_or(0) / 2);
    let (first, rest) = std::thread::scope(|scope| {
        let rest = scope.spawn(|| visit_some(path, db.range(middle..), db, &visit));
        let first = visit_some(path, db.range(..middle), db, &visit);
        (first, rest.join())
    });
    let (mut first, rest) = (
        first?,
        rest.unwrap_or_else(|_| Err(failure::panicked(path)))?,
    );
    if first.events == 0 {
        (first.oldest, first.head) = (rest.oldest, rest.head);
    }
    first.add_all(&rest);
    Ok(first)
}

fn visit_some(
    path: &Path,
    entries: sled::Iter,
    db: &sled::Db,
    visit: impl Fn(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<Status, StoreError> {
    let mut status = Status::empty();
    let mut last = None;
    let mut add = |key: &[u8], value: &[u8]| {
        visit(key, value)?;
        status.add(key, value);
        let Some(revision) = history::revision(key) else {
            return Ok(());
        };
        match last {
            None => status.oldest = revision,
            Some(last) if last + 1 == revision => {}
            Some(last) => {
                let what = format!("revisions {} to {} are missing", last + 1, revision - 1);
                return Err(failure::corrupt(path, what));
            }
        }
        last = Some(revision);
        status.head = revision;
        Ok(())
    };
    for entry in entries {
        let (key, stored) = entry.map_err(|error| failure::of(path, error))?;
        if values::is_content(&key) {
            let value = values::whole(path, db, &key, stored)?;
            let value = value.ok_or_else(|| values::piece_gone(path, &key))?;
            block::contents(path, &key, &value, &mut add)?;
        }
    }
    Ok(status)
}

fn decodes(path: &Path, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    match key.first() {
        Some(b'p') => super::read::decode::<Pool>(path, key, value).map(drop),
        Some(b'r') => super::read::decode::<Reservation>(path, key, value).map(drop),
        Some(b'l') => super::read::decode::<Lease>(path, key, value).map(drop),
        Some(b'e') => super::read::decode::<Event>(path, key, value).map(drop),
        _ => Ok(()),
    }
}

/// Compares the leases with what the history says of them last.
///
/// # Errors
/// [`StoreError::Corrupt`] if one is not as it should be.
pub(super) fn compare_with_history(path: &Path, db: &sled::Db) -> Result<(), StoreError> {
    let mut last: HashMap<Vec<u8>, (u64, Option<Vec<u8>>)> = HashMap::new();
    each(path, db, |key, value| {
        if history::revision(key).is_none() {
            return Ok(());
        }
        let event: Event = super::read::decode(path, key, value)?;
        let subject = |side: Option<Subject>| side.and_then(|side| side.subject);
        let (before, after) = (subject(event.before), subject(event.after));
        if let Some(key) = before.as_ref().or(after.as_ref()).and_then(values::key_of) {
            last.insert(key, (event.revision, after.as_ref().map(values::value_of)));
        }
        Ok(())
    })?;
    let differs = |key: &[u8], revision: u64| {
        let shown = values::shown(key);
        let what = format!("{shown} is not as revision {revision} left it");
        failure::corrupt(path, what)
    };
    each(path, db, |key, value| match last.remove(key) {
        Some((revision, expected)) if expected.as_deref() != Some(value) => {
            Err(differs(key, revision))
        }
        _ => Ok(()),
    })?;
    let missing = last.iter().find(|(_, (_, value))| value.is_some());
    match missing {
        Some((key, (revision, _))) => Err(differs(key, *revision)),
        None => Ok(()),
    }
}

/// Gives `visit` everything that an index holds, each with its key.
pub(super) fn each(
    path: &Path,
    db: &sled::Db,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for entry in db.iter() {
        if let Some((key, value)) = super::read::whole(path, db, entry)?
            && values::is_content(&key)
        {
            block::contents(path, &key, &value, &mut visit)?;
        }
    }
    Ok(())
}
