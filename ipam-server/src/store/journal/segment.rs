//! One file of the journal: a beginning, then a record for each commit, everything twice.
//!
//! The second copy of each frame lies `capacity` bytes behind the first, and one fdatasync covers both. A power cut can
//! tear the last record, which nobody was answered for, in both places; a damage of the disk hits one of them. So a
//! record of which a copy is whole counts, and a torn end is never mistaken for a damaged one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::frame::{Frame, FrameKind, is_zero};
use super::status::Status;
use super::{Hole, numbered, sync_folder};

/// Bytes of the first copies in a segment.
pub(super) const CAPACITY: u64 = 4 << 20;
/// Bytes of zeros that are written at once.
const AHEAD: usize = 256 << 10;
/// A name that no reader takes for a segment.
const UNDER_WAY: &str = "journal.tmp";
const PREFIX: &str = "journal-";

/// A segment that is written to.
pub(super) struct Segment {
    pub(super) number: u64,
    path: PathBuf,
    file: File,
    capacity: u64,
    /// Where the next record goes.
    end: u64,
    /// Up to where zeros were written.
    zeroed: u64,
}

impl Segment {
    /// Makes a segment, which is there with its beginning or not at all. One of the same number is replaced.
    pub(super) fn create(
        folder: &Path,
        number: u64,
        sequence: u64,
        status: Status,
        record: usize,
    ) -> io::Result<Segment> {
        let begin = |capacity| Frame {
            kind: FrameKind::SegmentBegin.into(),
            sequence,
            number,
            capacity,
            status: Some(status),
            ..Frame::default()
        };
        // A record that is longer than a segment gets a segment of its own.
        let needed = begin(u64::MAX).into_bytes().len() + record;
        let capacity = CAPACITY.max((needed as u64).next_multiple_of(4096));
        let bytes = begin(capacity).into_bytes();
        let under_way = folder.join(UNDER_WAY);
        let file = File::create(&under_way)?;
        file.write_all_at(&bytes, 0)?;
        file.write_all_at(&bytes, capacity)?;
        file.sync_all()?;
        let path = folder.join(name(number));
        fs::rename(&under_way, &path)?;
        sync_folder(folder)?;
        Ok(Segment {
            number,
            path,
            file,
            capacity,
            end: bytes.len() as u64,
            zeroed: 0,
        })
    }

    /// Goes on with a segment that was read and is not torn.
    pub(super) fn reopen(folder: &Path, number: u64, content: &Content) -> io::Result<Segment> {
        let path = folder.join(name(number));
        Ok(Segment {
            number,
            file: File::options().write(true).open(&path)?,
            path,
            capacity: content.capacity,
            end: content.bytes,
            zeroed: 0,
        })
    }

    /// Whether a record of this length fits.
    pub(super) fn has_room(&self, record: usize) -> bool {
        self.end + record as u64 <= self.capacity
    }

    /// Appends a record and makes it durable, in the file that the next start reads. After an error the segment takes
    /// nothing more.
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        self.make_room(self.end + record.len() as u64);
        self.file.write_all_at(record, self.end)?;
        self.file.write_all_at(record, self.capacity + self.end)?;
        self.file.sync_data()?;
        self.check()?;
        self.end += record.len() as u64;
        Ok(())
    }

    /// Checks that the file is in its place: what is written to one that somebody removed is lost at the next start.
    pub(super) fn check(&self) -> io::Result<()> {
        let in_place = fs::metadata(&self.path).is_ok_and(|found| {
            let own = self.file.metadata();
            own.is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        });
        if in_place {
            return Ok(());
        }
        let what = format!(
            "{} was removed or replaced while the server runs; put it back, or export now",
            self.path.display()
        );
        Err(io::Error::new(io::ErrorKind::NotFound, what))
    }

    /// Writes zeros where the next records go, so that making a record durable changes no more than its own blocks: a
    /// file system writes what it knows of a file with each fdatasync for which the file has grown.
    fn make_room(&mut self, end: u64) {
        if end <= self.zeroed {
            return;
        }
        let zeros = vec![0; AHEAD];
        let from = self.end.max(self.zeroed);
        let until = (end + AHEAD as u64).min(self.capacity);
        let mut place = from;
        while place < until {
            let length = zeros
                .len()
                .min(usize::try_from(until - place).unwrap_or(AHEAD));
            for copy in [place, self.capacity + place] {
                // Without room for zeros there may be some for the record.
                if self.file.write_all_at(&zeros[..length], copy).is_err() {
                    return;
                }
            }
            place += length as u64;
            self.zeroed = place;
        }
    }

    /// Bytes of its first copies.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

/// The numbers of all segments, in order.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    numbered(folder, PREFIX)
}

pub(super) fn remove(folder: &Path, number: u64) -> io::Result<()> {
    fs::remove_file(folder.join(name(number)))
}

pub(super) fn bytes(folder: &Path, number: u64) -> io::Result<Vec<u8>> {
    fs::read(folder.join(name(number)))
}

/// What a segment holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// How far second copies are from the first.
    pub(super) capacity: u64,
    /// The record before its first one.
    pub(super) begins: u64,
    /// Its last record, and what the store holds after it.
    pub(super) sequence: u64,
    pub(super) status: Status,
    /// Bytes of its first copies.
    pub(super) bytes: u64,
    /// Whether something that nobody was answered for lies behind it.
    pub(super) torn: bool,
}

/// Reads a segment; `visit` gets its records up to the one with the number `until`, in order.
pub(super) fn read(
    folder: &Path,
    number: u64,
    until: u64,
    mut visit: impl FnMut(Frame),
) -> Result<Content, Hole> {
    let hole = |what: String| Hole {
        what: format!("{}: {what}", name(number)),
    };
    let bytes = bytes(folder, number).map_err(|error| hole(error.to_string()))?;
    let is_begin =
        |frame: &Frame| frame.kind() == FrameKind::SegmentBegin && frame.number == number;
    let first = Frame::scan(&bytes, 0).find(|(_, frame)| is_begin(frame));
    let (_, begin) = first.ok_or_else(|| hole("its beginning is gone".into()))?;
    let capacity = usize::try_from(begin.capacity).unwrap_or(usize::MAX);
    let mut content = Content {
        capacity: begin.capacity,
        begins: begin.sequence,
        sequence: begin.sequence,
        status: begin.status.unwrap_or_default(),
        bytes: 0,
        torn: false,
    };
    let mut place = begin.into_bytes().len();
    // Both beginnings were durable before the segment had its name.
    let least = capacity.saturating_add(place);
    if bytes.len() < least {
        return Err(hole(format!(
            "it was cut off: it has {} of at least {least} bytes",
            bytes.len()
        )));
    }
    loop {
        let wanted = content.sequence + 1;
        let copies = [place, capacity.saturating_add(place)];
        let is_next = |frame: &Frame| frame.kind() == FrameKind::Record && frame.sequence == wanted;
        let next = copies
            .iter()
            .filter(|_| place < capacity && wanted <= until)
            .find_map(|&copy| {
                Frame::at(&bytes, copy)
                    .filter(|(frame, _)| is_next(frame))
                    .map(|(frame, next)| (frame, next - copy))
            });
        let Some((frame, length)) = next else {
            break;
        };
        content.sequence = wanted;
        content.status = frame.status.unwrap_or_default();
        place += length;
        visit(frame);
    }
    content.bytes = place as u64;
    if content.sequence < until {
        let rest = |from: usize| bytes.get(from.min(bytes.len())..).unwrap_or_default();
        let behind = Frame::scan(&bytes, place).find(|(_, frame)| {
            frame.kind() == FrameKind::Record && frame.sequence > content.sequence
        });
        if let Some((_, frame)) = behind {
            let what = format!(
                "records {} to {} are damaged",
                content.sequence + 1,
                frame.sequence.saturating_sub(1)
            );
            return Err(hole(what));
        }
        let first = rest(place);
        let first = first.get(..capacity - place.min(capacity)).unwrap_or(first);
        content.torn = !is_zero(first) || !is_zero(rest(capacity.saturating_add(place)));
    }
    Ok(content)
}
