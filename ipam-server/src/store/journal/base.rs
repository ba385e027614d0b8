//! A base: all values, as they were at some moment after the record that it names. With the records behind that one it
//! is the whole store.
//!
//! It is written beside commits, so a value in it may be newer than its beginning; the records that changed it are in
//! the journal, and putting them once more changes nothing.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use super::frame::{Entry, Frame, FrameKind, Outline};
use super::{Hole, numbered, sync_folder};

/// A name that no reader takes for a base.
const UNDER_WAY: &str = "base.tmp";
const PREFIX: &str = "base-";
/// Bytes of values in a frame, before they are compressed: a damaged block costs few of them.
const FRAME: usize = 16 << 10;

/// A base that is written.
pub(in crate::store) struct Writer {
    number: u64,
    file: BufWriter<File>,
    entries: Vec<Entry>,
    pending: usize,
    count: u64,
    written: u64,
}

impl Writer {
    /// Begins one that needs the records behind `sequence`.
    pub(in crate::store) fn create(
        folder: &Path,
        number: u64,
        sequence: u64,
    ) -> io::Result<Writer> {
        let mut writer = Writer {
            number,
            file: BufWriter::new(File::create(folder.join(UNDER_WAY))?),
            entries: Vec::new(),
            pending: 0,
            count: 0,
            written: 0,
        };
        writer.frame(Frame {
            kind: FrameKind::BaseBegin.into(),
            sequence,
            number,
            ..Frame::default()
        })?;
        Ok(writer)
    }

    fn frame(&mut self, frame: Frame) -> io::Result<()> {
        let bytes = frame.into_bytes();
        self.written += bytes.len() as u64;
        self.file.write_all(&bytes)
    }

    /// Adds a value.
    pub(in crate::store) fn add(&mut self, key: Vec<u8>, value: Vec<u8>) -> io::Result<()> {
        self.count += 1;
        self.pending += key.len() + value.len();
        self.entries.push(Entry {
            key,
            value: Some(value),
            within: None,
        });
        if self.pending < FRAME {
            return Ok(());
        }
        self.entries_frame()
    }

    fn entries_frame(&mut self) -> io::Result<()> {
        self.pending = 0;
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return Ok(());
        }
        self.frame(Frame::of_base(self.number, entries))
    }

    /// Ends it: it is there under its name, and durable. `sequence` is a record that is not older than any value.
    /// Returns its length in bytes.
    pub(in crate::store) fn finish(mut self, folder: &Path, sequence: u64) -> io::Result<u64> {
        self.entries_frame()?;
        self.frame(Frame {
            kind: FrameKind::BaseEnd.into(),
            sequence,
            number: self.count,
            ..Frame::default()
        })?;
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(folder.join(UNDER_WAY), folder.join(name(self.number)))?;
        sync_folder(folder)?;
        Ok(self.written)
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}")
}

/// The numbers of all bases, in order.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    numbered(folder, PREFIX)
}

pub(super) fn remove(folder: &Path, number: u64) -> io::Result<()> {
    fs::remove_file(folder.join(name(number)))
}

/// Removes what a kill left of one that was written.
pub(super) fn remove_unfinished(folder: &Path) {
    // There is none, or it is in the way of nothing.
    let _ = fs::remove_file(folder.join(UNDER_WAY));
}

pub(super) fn bytes(folder: &Path, number: u64) -> io::Result<Vec<u8>> {
    fs::read(folder.join(name(number)))
}

/// What a base says of itself.
pub(super) struct Content {
    /// The record behind which the journal is needed.
    pub(super) begins: u64,
    /// The record up to which it is needed.
    pub(super) needs: u64,
    pub(super) bytes: u64,
}

/// Reads a base; `visit` gets the frames with its values. An error of `visit` ends it.
pub(super) fn read<E: From<Hole>>(
    folder: &Path,
    number: u64,
    mut visit: impl FnMut(Outline) -> Result<(), E>,
) -> Result<Content, E> {
    let hole = |what: String| Hole {
        what: format!("{}: {what}", name(number)),
    };
    let of = |error: io::Error| hole(error.to_string());
    let file = File::open(folder.join(name(number))).map_err(of)?;
    let bytes = file.metadata().map_err(of)?.len();
    let mut from = BufReader::with_capacity(1 << 20, file);
    let begin = Outline::read(&mut from).map_err(of)?;
    let begin = begin
        .filter(|frame| frame.kind() == FrameKind::BaseBegin && frame.number == number)
        .ok_or_else(|| hole("its beginning is damaged".into()))?;
    let mut count = 0;
    loop {
        let frame = Outline::read(&mut from).map_err(of)?;
        let frame = frame.ok_or_else(|| hole(format!("it is damaged behind value {count}")))?;
        match frame.kind() {
            FrameKind::BaseEntries if frame.number == number => {
                count += frame.count();
                visit(frame)?;
            }
            FrameKind::BaseEnd if frame.number == count => {
                return Ok(Content {
                    begins: begin.sequence,
                    needs: frame.sequence,
                    bytes,
                });
            }
            _ => return Err(hole(format!("it holds {count} values, not all")).into()),
        }
    }
}
