//! How leases and the history lie in the index: those with neighbouring numbers together in one value, compressed, since
//! each value of its own costs sled a copy of a node, and neighbours have most of their texts in common.
//!
//! `L<number / SPAN>` holds leases, `E<revision / SPAN>` events. A value is `2` and then, compressed, each entry with its
//! place in the block and its length before it. Before schema 3 each lease was a value of its own: see `older`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use prost::encoding::{decode_varint, encode_varint};

use super::super::{StoreError, packed};
use super::values::{self, Kind};
use super::{failure, older};

/// Numbers of a block.
const SPAN: u64 = 16;
/// The first byte of a block: no encoded message begins with it.
const PACKED: u8 = 2;

/// The kind of blocks that hold the values of a kind.
fn kind_of(kind: u8) -> Option<Kind> {
    match kind {
        b'l' => Some(Kind::Leases),
        b'e' => Some(Kind::Events),
        _ => None,
    }
}

/// The key of the block that holds a key's value; none if the value is not in a block.
pub(super) fn key_of(key: &[u8]) -> Option<[u8; 9]> {
    let kind = kind_of(*key.first()?)?;
    Some(key_at(kind, values::number_of(key)?))
}

/// The key of the block of a number.
pub(super) fn key_at(kind: Kind, number: u64) -> [u8; 9] {
    kind.number(number / SPAN)
}

/// The last key of a kind.
pub(super) fn last_key(kind: Kind) -> [u8; 9] {
    kind.number(u64::MAX)
}

/// The entries of a block, in order of number.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    places: Vec<(u64, Range<usize>)>,
}

impl Entries {
    /// Reads the value of a block; `key` is the block's.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the value is not as it was written.
    pub(super) fn read(path: &Path, key: &[u8], value: &[u8]) -> Result<Entries, StoreError> {
        Entries::decode(key, value).ok_or_else(|| {
            let what = format!("the value of key {} is not whole", values::shown(key));
            failure::corrupt(path, what)
        })
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Entries> {
        let first = values::number_of(key)?.checked_mul(SPAN)?;
        let bytes = packed::unpack(value.strip_prefix(&[PACKED])?)?;
        let mut places = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let place = decode_varint(&mut rest).ok().filter(|at| *at < SPAN)?;
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let begin = bytes.len() - rest.len();
            rest = rest.get(length..)?;
            places.push((first.checked_add(place)?, begin..begin + length));
        }
        Some(Entries { bytes, places })
    }

    /// The entries, each with its number.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let all = self.places.iter();
        all.map(|(number, at)| (*number, self.bytes.get(at.clone()).unwrap_or_default()))
    }

    /// The entry with a number.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        self.iter()
            .find_map(|(found, entry)| (found == number).then_some(entry))
    }
}

/// A block that is written.
#[derive(Debug, Default)]
pub(super) struct Block(BTreeMap<u64, Vec<u8>>);

impl Block {
    /// One with these entries.
    pub(super) fn of(entries: &Entries) -> Block {
        let owned = |(number, entry): (u64, &[u8])| (number, entry.to_vec());
        Block(entries.iter().map(owned).collect())
    }

    /// Changes an entry; none: it is removed.
    pub(super) fn set(&mut self, number: u64, value: Option<&[u8]>) {
        match value {
            Some(value) => self.0.insert(number, value.to_vec()),
            None => self.0.remove(&number),
        };
    }

    /// Its value; none if it holds nothing.
    pub(super) fn value(&self) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        for (number, entry) in &self.0 {
            encode_varint(number % SPAN, &mut bytes);
            encode_varint(entry.len() as u64, &mut bytes);
            bytes.extend_from_slice(entry);
        }
        let mut value = vec![PACKED];
        value.extend_from_slice(&packed::pack(&bytes));
        Some(value)
    }
}

/// Blocks that are made of entries in order of number.
#[derive(Default)]
pub(super) struct Packer {
    key: Option<[u8; 9]>,
    block: Block,
}

impl Packer {
    /// Adds the next entry, whose block is `key`; a block that is complete is put into `writes`.
    pub(super) fn add(
        &mut self,
        writes: &mut sled::Batch,
        commit: u64,
        key: [u8; 9],
        number: u64,
        entry: &[u8],
    ) {
        if self.key != Some(key) {
            self.finish(writes, commit);
            self.key = Some(key);
        }
        self.block.set(number, Some(entry));
    }

    /// Puts the last block into `writes`.
    pub(super) fn finish(&mut self, writes: &mut sled::Batch, commit: u64) {
        let block = std::mem::take(&mut self.block);
        if let (Some(key), Some(value)) = (self.key.take(), block.value()) {
            values::put(writes, commit, &key, &value);
        }
    }
}

/// Gives `visit` what a value of the index holds: what lies in it, each with its key, or itself. `value` is whole.
///
/// # Errors
/// [`StoreError::Corrupt`] if the value is not as it was written; those of `visit`.
pub(super) fn contents(
    path: &Path,
    key: &[u8],
    value: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let kind = match key.first() {
        Some(b'L') => Kind::Lease,
        Some(b'E') => Kind::Event,
        Some(b'e') => return older::contents(path, key, value, visit),
        _ => return visit(key, value),
    };
    for (number, entry) in Entries::read(path, key, value)?.iter() {
        visit(&kind.number(number), entry)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(numbers: &[u64], length: usize) -> (Vec<u8>, Vec<u8>) {
        let mut block = Block::default();
        for number in numbers {
            block.set(*number, Some(&vec![7; length]));
        }
        let key = key_at(Kind::Leases, numbers[0]);
        (key.to_vec(), block.value().unwrap())
    }

    #[test]
    fn entries_are_read_as_they_were_written_and_take_less_room() {
        let (key, value) = packed(&[16, 17, 31], 200);
        assert!(value.len() < 100, "{}", value.len());
        let entries = Entries::read(Path::new("store"), &key, &value).unwrap();
        let numbers: Vec<u64> = entries.iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [16, 17, 31]);
        assert_eq!(entries.get(17), Some([7; 200].as_slice()));
        assert_eq!(entries.get(18), None);
        let mut block = Block::of(&entries);
        assert_eq!(block.value().unwrap(), value);
        for number in [16, 17, 31] {
            block.set(number, None);
        }
        assert_eq!(block.value(), None);
    }

    #[test]
    fn the_highest_numbers_have_a_block() {
        let (key, value) = packed(&[u64::MAX - 1, u64::MAX], 3);
        let entries = Entries::read(Path::new("store"), &key, &value).unwrap();
        assert_eq!(entries.get(u64::MAX), Some([7; 3].as_slice()));
        assert!(key.as_slice() <= last_key(Kind::Leases).as_slice());
    }

    #[test]
    fn a_value_that_is_cut_off_is_refused() {
        let (key, value) = packed(&[1, 2, 3], 100);
        for length in 0..value.len() {
            let read = Entries::read(Path::new("store"), &key, &value[..length]);
            assert!(read.is_err(), "{length}");
        }
    }
}
