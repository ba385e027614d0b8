//! What journal and base are made of: frames, each with a length and a checksum of its own, so that a reader finds
//! the next whole frame behind a damage.

use std::io::{self, Read};

use super::status::Status;

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
}

impl Frame {
    /// As it is written.
    pub(in crate::store) fn to_bytes(&self) -> Vec<u8> {
        use prost::Message;
        let message = self.encode_to_vec();
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

    /// The next frame of a file that is read in order; none at its end and where it is damaged.
    pub(in crate::store) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
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
        Ok(message
            .get(..length)
            .and_then(|message| decode(message, sum)))
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
    (checksum(message) == sum)
        .then(|| Frame::decode(message).ok())
        .flatten()
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
        let (one, two) = (frame(1).to_bytes(), frame(2).to_bytes());
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
        let bytes = [frame(1).to_bytes(), frame(2).to_bytes()].concat();
        let mut from = bytes.as_slice();
        for sequence in [1, 2] {
            assert_eq!(Frame::read(&mut from).unwrap(), Some(frame(sequence)));
        }
        assert_eq!(Frame::read(&mut from).unwrap(), None);
    }
}
