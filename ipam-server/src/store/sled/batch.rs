//! What a commit changes: in the sum of what the store holds, before it is appended; in the tree, behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use super::super::StoreError;
use super::super::journal::{Entry, Status};
use super::block::{self, Block, Entries};
use super::failure;
use super::history;
use super::tree::{Changes, Tree};
use super::values::{self, APPLIED, Kind};

/// What the store holds after the changes of a group; `status` is before it. `made` are the keys of what was not there
/// before; all events are new ones. The tree is read for what is changed or removed, and not for what is added.
pub(super) fn status_after(
    path: &Path,
    tree: &Tree,
    changes: &[Entry],
    made: &BTreeSet<[u8; 9]>,
    mut status: Status,
) -> Result<Status, StoreError> {
    let mut forgotten: Option<RangeInclusive<u64>> = None;
    for Entry { key, value, .. } in changes {
        match (history::revision(key), value) {
            (Some(_), Some(value)) => status.add(key, value),
            // The oldest ones, in order.
            (Some(revision), None) => {
                let first = forgotten.map_or(revision, |range| *range.start());
                forgotten = Some(first..=revision);
            }
            (None, value) => {
                if !made.contains(key.as_slice())
                    && let Some(before) = tree.value(key)?
                {
                    status.subtract(key, &before);
                }
                if let Some(value) = value {
                    status.add(key, value);
                }
            }
        }
    }
    if let Some(forgotten) = forgotten {
        let first = Kind::Event.number(*forgotten.start());
        let last = Kind::Event.number(*forgotten.end());
        tree.with_range(&first[..]..=&last[..], |db| {
            history::visit(path, db, forgotten, |revision, event| {
                status.subtract(&Kind::Event.number(revision), event);
            })
        })?;
    }
    Ok(status)
}

/// Values that are written at once: sled lets nobody read meanwhile.
const TOGETHER: usize = 16;

/// What is to be written, in this order, into a tree that holds everything before the groups up to `number`. Writing it once more,
/// or what is left of it, changes nothing: the last one says that the tree holds these groups.
pub(super) fn writes(
    path: &Path,
    tree: &sled::Tree,
    number: u64,
    changes: &Changes,
) -> Result<Vec<sled::Batch>, StoreError> {
    let mut all = Vec::new();
    let (mut writes, mut count) = (sled::Batch::default(), 0);
    let mut is_enough = |writes: &mut sled::Batch| {
        count += 1;
        if count % TOGETHER == 0 {
            all.push(std::mem::take(writes));
        }
    };
    let mut blocks: BTreeMap<[u8; 9], Vec<&[u8]>> = BTreeMap::new();
    for (key, value) in changes {
        match block::key_of(key) {
            Some(block) => blocks.entry(block).or_default().push(key),
            None => {
                replace(path, tree, &mut writes, (number, key), value.as_deref())?;
                is_enough(&mut writes);
            }
        }
    }
    for (key, changed) in blocks {
        let mut block = match values::stored(path, tree, &key)? {
            Some(value) => Block::of(&Entries::read(path, &key, &value)?),
            None => Block::default(),
        };
        for key in changed {
            if let (Some(number), Some(value)) = (values::number_of(key), changes.get(key)) {
                block.set(number, value.as_deref());
            }
        }
        let value = block.value();
        replace(path, tree, &mut writes, (number, &key), value.as_deref())?;
        is_enough(&mut writes);
    }
    writes.insert(Kind::Meta.key(APPLIED), &number.to_be_bytes());
    all.push(writes);
    Ok(all)
}

/// Puts a value in the place of the one that the tree has for a key; none: there is none any more.
fn replace(
    path: &Path,
    tree: &sled::Tree,
    writes: &mut sled::Batch,
    (number, key): (u64, &[u8]),
    value: Option<&[u8]>,
) -> Result<(), StoreError> {
    let stored = tree.get(key).map_err(|error| failure::of(path, error))?;
    if let Some(stored) = stored {
        values::remove(writes, key, &stored);
    }
    if let Some(value) = value {
        values::put(writes, number, key, value);
    }
    Ok(())
}
