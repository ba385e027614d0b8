//! Keys and values of journal and tree, and what a group changes.
//!
//! sled keeps up to 16 values in a node, and writes a node above 128 KiB to a file of its own, which it neither fsyncs
//! nor removes in time. So a long value is kept in pieces: its key holds `0`, the count of pieces (4 bytes) and the
//! number of the commit (8 bytes); the pieces are at `x<key><commit><piece>`. No encoded message begins with a `0`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use ipam_core::lease::LeaseId;
use prost::Message;
use proto::ipam::v1::subject::Subject;
use proto::ipam::v1::{self as ipam, Event};

use super::super::journal::{Entry, Within};
use super::super::{Group, StoreError};
use super::{block, failure, origin};
use crate::wire::event;

/// The name of [`Origin`](ipam_core::log::Origin) among what the store says of itself; its value is JSON.
pub(super) const ORIGIN: &[u8] = b"origin";
/// The number of the last commit that the tree holds, 8 bytes.
pub(super) const APPLIED: &[u8] = b"applied";
/// Bytes of a piece, and of the longest value without pieces: 17 of them are well below 128 KiB.
pub(super) const PIECE: usize = 4 << 10;
/// The first byte of a value that is in pieces.
const IN_PIECES: u8 = 0;

/// The first byte of a key. Leases and events have keys in the journal; in the tree they are in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Pool = b'p' as isize,
    Reservation = b'r' as isize,
    Lease = b'l' as isize,
    Event = b'e' as isize,
    Leases = b'L' as isize,
    Events = b'E' as isize,
    Meta = b'm' as isize,
    Piece = b'x' as isize,
}

impl Kind {
    pub(in crate::store) fn key(self, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + rest.len());
        key.push(self.prefix());
        key.extend_from_slice(rest);
        key
    }

    pub(in crate::store) fn number(self, number: u64) -> [u8; 9] {
        let mut key = [self.prefix(); 9];
        key[1..].copy_from_slice(&number.to_be_bytes());
        key
    }

    pub(in crate::store) fn prefix(self) -> u8 {
        self as u8
    }
}

/// Whether a key is of what a store holds, alone or in a block, and not of how the tree is kept.
pub(in crate::store) fn is_content(key: &[u8]) -> bool {
    match key.split_first() {
        Some((b'p' | b'r' | b'l' | b'e' | b'L' | b'E', _)) => true,
        Some((b'm', rest)) => rest == ORIGIN,
        _ => false,
    }
}

/// The number in the key of a lease, an event or a block.
pub(in crate::store) fn number_of(key: &[u8]) -> Option<u64> {
    let (_, number) = key.split_first()?;
    number.try_into().ok().map(u64::from_be_bytes)
}

/// The key of what an event is about.
pub(in crate::store) fn key_of(subject: &Subject) -> Option<Vec<u8>> {
    match subject {
        Subject::Lease(lease) => {
            let id: LeaseId = lease.id.parse().ok()?;
            Some(Kind::Lease.number(id.0).to_vec())
        }
        Subject::Pool(pool) => Some(Kind::Pool.key(pool.name.as_bytes())),
        Subject::Reservation(reservation) => {
            Some(Kind::Reservation.key(reservation.name.as_bytes()))
        }
    }
}

/// The encoded message that an event is about.
pub(in crate::store) fn value_of(subject: &Subject) -> Vec<u8> {
    match subject {
        Subject::Lease(lease) => lease.encode_to_vec(),
        Subject::Pool(pool) => pool.encode_to_vec(),
        Subject::Reservation(reservation) => reservation.encode_to_vec(),
    }
}

/// What a group changes.
pub(super) struct Changed {
    /// Each key once.
    pub(super) entries: Vec<Entry>,
    /// The keys of the leases that it makes: its first event about each says that there was none.
    pub(super) made: BTreeSet<[u8; 9]>,
}

/// What a group changes; `kept` are the revisions of the history before it.
pub(super) fn changed(group: &Group, kept: RangeInclusive<u64>) -> Changed {
    let events: Vec<Event> = group.events.iter().cloned().map(event::encode).collect();
    let mut changes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for event in &events {
        let (before, after) = (subject(&event.before), subject(&event.after));
        if let Some(key) = after.or(before).and_then(key_of) {
            changes.insert(key, after.map(value_of));
        }
        if group.forget_events_to.is_none_or(|to| event.revision > to) {
            let key = Kind::Event.number(event.revision).to_vec();
            changes.insert(key, Some(event.encode_to_vec()));
        }
    }
    if let Some(change) = &group.origin {
        let value = origin::encode(&change.after);
        changes.insert(Kind::Meta.key(ORIGIN), Some(value));
    }
    if let Some(to) = group.forget_events_to {
        for revision in *kept.start()..=to.min(*kept.end()) {
            changes.insert(Kind::Event.number(revision).to_vec(), None);
        }
    }
    let mut entries: Vec<Entry> = changes
        .into_iter()
        .map(|(key, value)| Entry {
            key,
            value,
            within: None,
        })
        .collect();
    point_into_events(&mut entries, &events);
    Changed {
        entries,
        made: made(group),
    }
}

/// See [`Changed::made`].
fn made(group: &Group) -> BTreeSet<[u8; 9]> {
    let mut first = BTreeMap::new();
    for event in &group.events {
        if let Some(LeaseId(id)) = event.lease_id() {
            let is_made = event.lease_before().is_none();
            first.entry(id).or_insert(is_made);
        }
    }
    let made = first.into_iter().filter(|(_, is_made)| *is_made);
    made.map(|(id, _)| Kind::Lease.number(id)).collect()
}

/// What one side of an event states; none: there was or is nothing.
fn subject(side: &Option<ipam::Subject>) -> Option<&Subject> {
    side.as_ref()?.subject.as_ref()
}

/// Says of each value that the last event about it states where it is in that event.
fn point_into_events(entries: &mut [Entry], events: &[Event]) {
    let index = |entries: &[Entry], key: &[u8]| {
        entries
            .binary_search_by(|entry| entry.key.as_slice().cmp(key))
            .ok()
    };
    for event in events {
        let after = event
            .after
            .as_ref()
            .and_then(|after| after.subject.as_ref());
        let places = after.and_then(key_of).and_then(|subject| {
            let event = index(entries, &Kind::Event.number(event.revision))?;
            Some((event, index(entries, &subject)?))
        });
        if let Some((event, subject)) = places
            && let Some(within) = within(entries, event, subject)
            && let Some(entry) = entries.get_mut(subject)
        {
            entry.within = Some(within);
        }
    }
}

/// Where the value of entry `part` is in that of entry `whole`.
fn within(entries: &[Entry], whole: usize, part: usize) -> Option<Within> {
    let text = entries.get(whole)?.value.as_deref()?;
    let value = entries.get(part)?.value.as_deref()?;
    let offset = memchr::memmem::find(text, value)?;
    Some(Within {
        entry: u32::try_from(whole).ok()?,
        offset: u32::try_from(offset).ok()?,
        length: u32::try_from(value.len()).ok()?,
    })
}

/// Where the pieces of a value are.
struct Pieces {
    count: u32,
    commit: u64,
}

impl Pieces {
    /// Those of a stored value; none if it is not in pieces.
    fn of(value: &[u8]) -> Option<Pieces> {
        let rest = value.strip_prefix(&[IN_PIECES])?;
        let (count, commit) = rest.split_first_chunk::<4>()?;
        Some(Pieces {
            count: u32::from_be_bytes(*count),
            commit: u64::from_be_bytes(commit.try_into().ok()?),
        })
    }

    fn key(&self, of: &[u8], piece: u32) -> Vec<u8> {
        let mut key = Kind::Piece.key(of);
        key.extend_from_slice(&self.commit.to_be_bytes());
        key.extend_from_slice(&piece.to_be_bytes());
        key
    }
}

/// The value of a key: of its own, or out of its block.
pub(super) fn get(
    path: &Path,
    tree: &sled::Tree,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(block) = block::key_of(key) else {
        let value = stored(path, tree, key)?;
        return Ok(value.map(|value| value.to_vec()));
    };
    let Some(value) = stored(path, tree, &block)? else {
        return Ok(None);
    };
    let entries = block::Entries::read(path, &block, &value)?;
    let number = number_of(key);
    let found = number.and_then(|number| entries.get(number));
    Ok(found.map(<[u8]>::to_vec))
}

/// What the tree has for a key, put together.
pub(super) fn stored(
    path: &Path,
    tree: &sled::Tree,
    key: &[u8],
) -> Result<Option<sled::IVec>, StoreError> {
    // A commit may change the value between its key and its pieces; it is read again then.
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let stored = tree.get(key).map_err(|error| failure::of(path, error))?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        if let Some(value) = whole(path, tree, key, stored)? {
            return Ok(Some(value));
        }
    }
    Err(piece_gone(path, key))
}

/// The error for a value that cannot be put together.
pub(super) fn piece_gone(path: &Path, key: &[u8]) -> StoreError {
    let what = format!("a piece of the value of key {} is gone", shown(key));
    failure::corrupt(path, what)
}

/// A stored value, put together; none if a piece is not there, or not any more.
pub(super) fn whole(
    path: &Path,
    tree: &sled::Tree,
    key: &[u8],
    stored: sled::IVec,
) -> Result<Option<sled::IVec>, StoreError> {
    let Some(pieces) = Pieces::of(&stored) else {
        return Ok(Some(stored));
    };
    let mut value = Vec::new();
    for piece in 0..pieces.count {
        let found = tree.get(pieces.key(key, piece));
        match found.map_err(|error| failure::of(path, error))? {
            Some(piece) => value.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok(Some(value.into()))
}

/// Adds the removal of a value to what is written; `stored` is what the tree has for the key.
pub(super) fn remove(writes: &mut sled::Batch, key: &[u8], stored: &[u8]) {
    writes.remove(key);
    if let Some(pieces) = Pieces::of(stored) {
        for piece in 0..pieces.count {
            writes.remove(pieces.key(key, piece));
        }
    }
}

/// Adds a value to what is written.
pub(super) fn put(writes: &mut sled::Batch, commit: u64, key: &[u8], value: &[u8]) {
    if value.len() <= PIECE {
        writes.insert(key, value);
        return;
    }
    let mut count = 0;
    for (number, bytes) in (0..).zip(value.chunks(PIECE)) {
        let at = Pieces { count: 0, commit };
        writes.insert(at.key(key, number), bytes);
        count = number + 1;
    }
    let mut stored = vec![IN_PIECES];
    stored.extend_from_slice(&count.to_be_bytes());
    stored.extend_from_slice(&commit.to_be_bytes());
    writes.insert(key, stored);
}

/// A key in an error.
pub(in crate::store) fn shown(key: &[u8]) -> String {
    match (key.first(), number_of(key)) {
        (Some(b'l'), Some(number)) => format!("l{number}"),
        (Some(b'e'), Some(number)) => format!("e{number}"),
        (Some(b'L'), Some(number)) => format!("L{number}"),
        (Some(b'E'), Some(number)) => format!("E{number}"),
        _ => String::from_utf8_lossy(key).escape_default().to_string(),
    }
}
