//! What journal and base are made of: frames, each with a length and a checksum of its own, so that a reader finds
//! the next whole frame behind a damage.
//!
//! A change of a lease is written once, although two values state it: the event, and the lease, whose bytes are a part
//! of those of the event. The values of a base are compressed, frame by frame.

use std::io::{self, Read};

use bytes::Bytes;

use super::status::Status;
use crate::store::packed;

/// Begins each frame. What happens to look like one does not have the checksum.
const MAGIC: [u8; 4] = *b"\x89IPJ";
/// Magic, length of the message and checksum.
const HEAD: usize = 12;
/// Each frame begins at a multiple of this.
pub(in crate::store) const ALIGN: usize = 8;
/// Zeros are compared in blocks.
const BLOCK: usize = 4 << 10;
/// A longer message is a damaged length.
const LONGEST: usize = 1 << 30;

/// One value: a key as in sled, and none if it is removed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::store) struct Entry {
    /// Kind and name or number.
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::store) key: Vec<u8>,
    /// The encoded message.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(in crate::store) value: Option<Vec<u8>>,
    /// Where the value is in the same frame: a frame is written without values that have a place, and a reader puts
    /// them in.
    #[prost(message, optional, tag = "3")]
    pub(in crate::store) within: Option<Within>,
}

/// A part of the value of another entry.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(in crate::store) struct Within {
    /// The index of that entry, which has no place itself.
    #[prost(uint32, tag = "1")]
    pub(in crate::store) entry: u32,
    /// The first byte.
    #[prost(uint32, tag = "2")]
    pub(in crate::store) offset: u32,
    /// How many bytes.
    #[prost(uint32, tag = "3")]
    pub(in crate::store) length: u32,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(in crate::store) enum FrameKind {
    Unknown = 0,
    /// The first one of a segment of the journal.
    SegmentBegin = 1,
    /// One commit.
    Record = 2,
    /// The first one of a base.
    BaseBegin = 3,
    /// Some of the values of a base.
    BaseEntries = 4,
    /// The last one of a base.
    BaseEnd = 5,
    /// The only one of the mark.
    Mark = 6,
}

/// One frame.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::store) struct Frame {
    #[prost(enumeration = "FrameKind", tag = "1")]
    pub(in crate::store) kind: i32,
    /// Of a record: its own. Of a beginning: of the last record before. Of the end of a base: the record up to which
    /// the journal is needed beside the base.
    #[prost(uint64, tag = "2")]
    pub(in crate::store) sequence: u64,
    /// Of a beginning: the number of the segment or base. Of the end of a base: how many values it holds.
    #[prost(uint64, tag = "3")]
    pub(in crate::store) number: u64,
    /// Of the beginning of a segment: how far the second copy of each frame is from the first.
    #[prost(uint64, tag = "4")]
    pub(in crate::store) capacity: u64,
    /// What the store holds after the record or before the segment.
    #[prost(message, optional, tag = "5")]
    pub(in crate::store) status: Option<Status>,
    /// What a record changes, what a base holds.
    #[prost(message, repeated, tag = "6")]
    pub(in crate::store) entries: Vec<Entry>,
    /// The entries of a base, compressed: an encoded [`Entries`]. Empty in bases of older versions, and in a frame that was
    /// read.
    #[prost(bytes = "vec", tag = "7")]
    pub(in crate::store) packed: Vec<u8>,
    /// How many entries are compressed.
    #[prost(uint64, tag = "8")]
    pub(in crate::store) packed_count: u64,
}

/// Entries that are compressed together.
#[derive(Clone, PartialEq, prost::Message)]
struct Entries {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

/// A frame whose checksum is right, and whose entries are not decoded.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::store) struct Outline {
    #[prost(enumeration = "FrameKind", tag = "1")]
    pub(in crate::store) kind: i32,
    #[prost(uint64, tag = "2")]
    pub(in crate::store) sequence: u64,
    #[prost(uint64, tag = "3")]
    pub(in crate::store) number: u64,
    /// Each an encoded [`Entry`], a part of what was read.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    entries: Vec<Bytes>,
    /// See [`Frame`].
    #[prost(bytes = "bytes", tag = "7")]
    packed: Bytes,
    #[prost(uint64, tag = "8")]
    pub(in crate::store) packed_count: u64,
}

impl Outline {
    /// How many entries the frame has.
    pub(in crate::store) fn count(&self) -> u64 {
        self.entries.len() as u64 + self.packed_count
    }

    /// The entries; none if they are not what this version knows.
    pub(in crate::store) fn entries(self) -> Option<Vec<Entry>> {
        if !self.packed.is_empty() {
            return resolve(unpack(&self.packed)?);
        }
        let decoded = self.entries.into_iter().map(prost::Message::decode);
        resolve(decoded.collect::<Result<_, _>>().ok()?)
    }

    /// The next frame of a file that is read in order; none at its end and where it is damaged.
    pub(in crate::store) fn read(from: &mut impl Read) -> io::Result<Option<Outline>> {
        let mut head = [0; HEAD];
        if !fill(from, &mut head)? {
            return Ok(None);
        }
        let Some((length, sum)) = lengths(&head) else {
            return Ok(None);
        };
        let mut message = Vec::new();
        let padded = padded(HEAD + length) - HEAD;
        from.take(padded as u64).read_to_end(&mut message)?;
        message.truncate(length);
        if message.len() < length || checksum(&message) != sum {
            return Ok(None);
        }
        Ok(prost::Message::decode(Bytes::from(message)).ok())
    }
}

/// The entries of a frame that were compressed; none if they are not what this version knows.
fn unpack(packed: &[u8]) -> Option<Vec<Entry>> {
    let bytes = packed::unpack(packed)?;
    let entries: Entries = prost::Message::decode(bytes.as_slice()).ok()?;
    Some(entries.entries)
}

/// Puts the values in that have a place; none if a place is not there.
fn resolve(mut entries: Vec<Entry>) -> Option<Vec<Entry>> {
    for at in 0..entries.len() {
        let Some(within) = entries.get(at)?.within else {
            continue;
        };
        let source = entries.get(usize::try_from(within.entry).ok()?)?;
        let from = usize::try_from(within.offset).ok()?;
        let until = from.checked_add(usize::try_from(within.length).ok()?)?;
        let value = source.value.as_ref().filter(|_| source.within.is_none())?;
        let value = value.get(from..until)?.to_vec();
        entries.get_mut(at)?.value = Some(value);
    }
    Some(entries)
}

impl Frame {
    /// Some of the values of a base.
    pub(in crate::store) fn of_base(number: u64, entries: Vec<Entry>) -> Frame {
        let packed_count = entries.len() as u64;
        let entries = prost::Message::encode_to_vec(&Entries { entries });
        Frame {
            kind: FrameKind::BaseEntries.into(),
            number,
            packed: packed::pack(&entries),
            packed_count,
            ..Frame::default()
        }
    }

    /// As it is written.
    pub(in crate::store) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes()
    }

    /// As it is written. Values that have a place are left out, and are back afterwards.
    pub(in crate::store) fn bytes(&mut self) -> Vec<u8> {
        use prost::Message;
        let mut left_out = Vec::new();
        for entry in self.entries.iter_mut().filter(|e| e.within.is_some()) {
            left_out.push(entry.value.take());
        }
        let message = self.encode_to_vec();
        let placed = self.entries.iter_mut().filter(|e| e.within.is_some());
        for (entry, value) in placed.zip(left_out) {
            entry.value = value;
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(padded(HEAD + message.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum(&message).to_le_bytes());
        bytes.extend_from_slice(&message);
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    /// The frame that begins at a place, and where the next one would; none if it is not whole.
    pub(in crate::store) fn at(bytes: &[u8], place: usize) -> Option<(Frame, usize)> {
        let rest = bytes.get(place..)?;
        let (head, rest) = rest.split_at_checked(HEAD)?;
        let (length, sum) = lengths(head)?;
        let frame = decode(rest.get(..length)?, sum)?;
        Some((frame, place + padded(HEAD + length)))
    }

    /// The whole frames from a place on, each with its place, whatever is between them.
    pub(in crate::store) fn scan(
        bytes: &[u8],
        from: usize,
    ) -> impl Iterator<Item = (usize, Frame)> + '_ {
        let mut place = padded(from);
        std::iter::from_fn(move || {
            while place + HEAD <= bytes.len() {
                // Most of a segment is a hole.
                if bytes.get(place..place + BLOCK).is_some_and(is_zero) {
                    place += BLOCK;
                    continue;
                }
                let begins = place;
                match Frame::at(bytes, begins) {
                    Some((frame, next)) => {
                        place = next;
                        return Some((begins, frame));
                    }
                    None => place += ALIGN,
                }
            }
            None
        })
    }
}

/// Whether there is nothing but zeros.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    bytes
        .chunks(BLOCK)
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn decode(message: &[u8], sum: u32) -> Option<Frame> {
    use prost::Message;
    let mut frame = (checksum(message) == sum)
        .then(|| Frame::decode(message).ok())
        .flatten()?;
    let entries = match frame.packed.is_empty() {
        true => std::mem::take(&mut frame.entries),
        false => unpack(&std::mem::take(&mut frame.packed))?,
    };
    frame.packed_count = 0;
    frame.entries = resolve(entries)?;
    Some(frame)
}

fn lengths(head: &[u8]) -> Option<(usize, u32)> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (*magic == MAGIC && length <= LONGEST).then_some((length, u32::from_le_bytes(*sum)))
}

/// Covers the length, too, so that a shorter or longer message of the same beginning does not pass.
fn checksum(message: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(u32::try_from(message.len()).unwrap_or(0));
    sum.update(message);
    sum.finalize()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64) -> Frame {
        let entry = Entry {
            key: b"l1".to_vec(),
            value: Some(vec![7; 100]),
            within: None,
        };
        Frame {
            kind: FrameKind::Record.into(),
            sequence,
            entries: vec![entry],
            ..Frame::default()
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_a_frame_unreadable_and_the_next_one_is_found() {
        let (one, two) = (frame(1).into_bytes(), frame(2).into_bytes());
        let message = HEAD + prost::Message::encoded_len(&frame(1));
        for bit in 0..message * 8 {
            let mut bytes = [one.clone(), two.clone()].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::at(&bytes, 0), None, "bit {bit}");
            let found: Vec<_> = Frame::scan(&bytes, 0).collect();
            assert_eq!(found, [(one.len(), frame(2))], "bit {bit}");
        }
    }

    #[test]
    fn frames_are_read_in_order_up_to_the_end() {
        let bytes = [frame(1).into_bytes(), frame(2).into_bytes()].concat();
        let mut from = bytes.as_slice();
        for sequence in [1, 2] {
            let outline = Outline::read(&mut from).unwrap().unwrap();
            assert_eq!((outline.sequence, outline.count()), (sequence, 1));
            assert_eq!(outline.entries(), Some(frame(sequence).entries));
        }
        assert_eq!(Outline::read(&mut from).unwrap(), None);
    }

    #[test]
    fn values_of_a_base_are_compressed_and_those_of_older_bases_are_read_too() {
        let entries: Vec<Entry> = (0..9).flat_map(|_| frame(1).entries).collect();
        let older = Frame {
            kind: FrameKind::BaseEntries.into(),
            number: 7,
            entries: entries.clone(),
            ..Frame::default()
        };
        let (packed, older) = (Frame::of_base(7, entries.clone()), older.into_bytes());
        let packed = packed.into_bytes();
        assert!(packed.len() * 4 < older.len(), "{} bytes", packed.len());
        for bytes in [packed, older] {
            let (frame, _) = Frame::at(&bytes, 0).unwrap();
            assert_eq!((frame.number, &frame.entries), (7, &entries));
            let outline = Outline::read(&mut bytes.as_slice()).unwrap().unwrap();
            assert_eq!((outline.number, outline.count()), (7, 9));
            assert_eq!(outline.entries(), Some(entries.clone()));
        }
    }

    #[test]
    fn a_value_within_another_one_is_written_once_and_read_whole() {
        let whole = Entry {
            key: b"e1".to_vec(),
            value: Some((0..200).collect()),
            within: None,
        };
        let part = |offset, length| Entry {
            key: b"l1".to_vec(),
            value: Some((20..120).collect()),
            within: Some(Within {
                entry: 0,
                offset,
                length,
            }),
        };
        let of = |part: &Entry| Frame {
            entries: vec![whole.clone(), part.clone()],
            ..frame(1)
        };
        let right = of(&part(20, 100));
        let bytes = right.clone().into_bytes();
        assert!(bytes.len() < 300, "{}", bytes.len());
        assert_eq!(Frame::at(&bytes, 0).map(|(frame, _)| frame), Some(right));
        let outline = Outline::read(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(outline.entries().unwrap()[1], part(20, 100));
        for (offset, length) in [(150, 100), (0, 201), (u32::MAX, u32::MAX)] {
            let bytes = of(&part(offset, length)).into_bytes();
            assert_eq!(Frame::at(&bytes, 0), None, "{offset} {length}");
        }
    }
}
