//! The journal beside sled's files: what was acknowledged, and what the store holds, where no fault of sled can take it
//! along.
//!
//! A commit is one record, appended and fdatasynced once; sled is changed after that and never synced. Between two syncs
//! sled writes over segments and removes blobs whose successors a power cut can take away, so a checkpoint of sled's files
//! would not hold until the next one. They are an index that is made anew when it is not right, and what counts is this:
//!
//! ```text
//! base-N      all values, compressed, written beside the commits when segment N began
//! journal-N   records, one for each commit; each states counts, the last revision and a sum of all values
//! journal-M   the segments behind it
//! ipam-server.store  says that there is a store, and how many segments were begun
//! ```
//!
//! A segment that is full is followed by the next one. When the segments behind the base are as long as half of it, a new
//! base is written, and what came before it is removed: the files stay within a multiple of what the store holds.

mod base;
mod frame;
mod mark;
mod segment;
mod status;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub(super) use base::Writer as BaseWriter;
pub(super) use frame::{Entry, Frame, FrameKind, Within};
pub(super) use mark::Mark;
pub(super) use status::Status;

use segment::Segment;

/// Something of the journal is gone.
#[derive(Debug)]
pub(super) struct Hole {
    /// What is missing where, as a sentence without its end.
    pub(super) what: String,
}

/// A journal that was read whole.
#[derive(Debug)]
pub(super) struct Found {
    folder: PathBuf,
    base: u64,
    base_bytes: u64,
    /// The segments that count, each with the record that its records end with.
    segments: Vec<(u64, u64)>,
    segment_bytes: u64,
    /// The last segment.
    last: Option<segment::Content>,
    /// The record behind which the base needs the journal.
    pub(super) begins: u64,
    /// The last record.
    pub(super) sequence: u64,
    /// What the store holds after it.
    pub(super) status: Status,
    /// Whether the end of a commit that nobody was answered for was left out.
    pub(super) torn: bool,
}

impl Found {
    /// Gives `visit` all values of the base.
    pub(super) fn base<E: From<Hole>>(
        &self,
        visit: impl FnMut(Vec<Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut visit = visit;
        let undecoded = || Hole {
            what: format!("a value of base {} cannot be decoded", self.base),
        };
        base::read(&self.folder, self.base, |outline| {
            visit(outline.entries().ok_or_else(undecoded)?)
        })
        .map(drop)
    }

    /// Gives `visit` the number and the changes of each record behind `after`, in order.
    pub(super) fn records<E: From<Hole>>(
        &self,
        after: u64,
        mut visit: impl FnMut(u64, Vec<Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        for &(number, until) in self.segments.iter().filter(|(_, until)| *until > after) {
            let mut result = Ok(());
            segment::read(&self.folder, number, until, |frame| {
                if frame.sequence > after && result.is_ok() {
                    result = visit(frame.sequence, frame.entries);
                }
            })?;
            result?;
        }
        Ok(())
    }

    /// Bytes of base and records.
    pub(super) fn bytes(&self) -> u64 {
        self.base_bytes + self.segment_bytes
    }
}

/// Whether a folder holds segments, or a mark that says that there were some.
pub(super) fn exists(folder: &Path) -> io::Result<bool> {
    Ok(!segment::list(folder)?.is_empty() || matches!(mark(folder), Mark::Journal(_)))
}

/// What the mark of a folder says.
pub(super) fn mark(folder: &Path) -> Mark {
    mark::read(folder)
}

/// Reads the journal of a folder and changes nothing.
///
/// # Errors
/// A [`Hole`] if not everything is there that a store needs.
pub(super) fn read(folder: &Path) -> Result<Found, Hole> {
    let of = |error: io::Error| Hole {
        what: format!("the folder: {error}"),
    };
    let (bases, segments) = (
        base::list(folder).map_err(of)?,
        segment::list(folder).map_err(of)?,
    );
    let mut hole = Hole {
        what: "its base is gone".into(),
    };
    let newest = segments.last().copied().unwrap_or(0);
    if let Mark::Journal(begun) = mark::read(folder)
        && begun > newest
    {
        return Err(Hole {
            what: format!("its last segment is {newest}, and {begun} were begun"),
        });
    }
    for &number in bases.iter().rev() {
        match read_from(folder, number, &segments) {
            Ok(found) => return Ok(found),
            Err(error) => hole = error,
        }
    }
    Err(hole)
}

fn read_from(folder: &Path, base: u64, segments: &[u64]) -> Result<Found, Hole> {
    let segments: Vec<u64> = segments.iter().copied().filter(|&n| n >= base).collect();
    let expected = base..;
    if segments.is_empty() || !segments.iter().copied().eq(expected.take(segments.len())) {
        return Err(Hole {
            what: format!("of the segments behind base {base} there are only {segments:?}"),
        });
    }
    // A base is about as long as the segments behind it.
    let (content, read) = std::thread::scope(|scope| {
        let content = scope.spawn(|| base::read(folder, base, |_| Ok::<(), Hole>(())));
        let read = read_segments(folder, base, &segments);
        (content.join(), read)
    });
    let content = content.map_err(|_| Hole {
        what: format!("reading base {base} panicked"),
    })??;
    let (mut found, until) = read?;
    if until != content.begins || content.needs > found.sequence {
        return Err(Hole {
            what: format!(
                "base {base} needs records {} to {}, not {until} to {}",
                content.begins, content.needs, found.sequence
            ),
        });
    }
    found.base_bytes = content.bytes;
    found.begins = content.begins;
    Ok(found)
}

/// Reads the segments behind a base; returns the record behind which the first one begins, too.
fn read_segments(folder: &Path, base: u64, segments: &[u64]) -> Result<(Found, u64), Hole> {
    let mut found = Found {
        folder: folder.to_owned(),
        base,
        base_bytes: 0,
        segments: Vec::new(),
        segment_bytes: 0,
        last: None,
        begins: 0,
        sequence: 0,
        status: Status::default(),
        torn: false,
    };
    // From the last one back: where a segment begins says where the records of the one before end.
    let mut until = u64::MAX;
    for (at, &number) in segments.iter().enumerate().rev() {
        let content = segment::read(folder, number, until, |_| {})?;
        if at + 1 == segments.len() {
            found.sequence = content.sequence;
            found.status = content.status;
            found.torn = content.torn;
            found.last = Some(content);
        } else if content.sequence != until {
            return Err(Hole {
                what: format!("records {} to {until} are gone", content.sequence + 1),
            });
        }
        found.segments.push((number, content.sequence));
        found.segment_bytes += content.bytes;
        until = content.begins;
    }
    found.segments.reverse();
    Ok((found, until))
}

/// What a store held at last, if the end of its journal is whole.
pub(super) fn tail(folder: &Path) -> Option<Status> {
    let newest = segment::list(folder).ok()?.last().copied()?;
    if let Mark::Journal(begun) = mark::read(folder)
        && begun > newest
    {
        return None;
    }
    let content = segment::read(folder, newest, u64::MAX, |_| {}).ok()?;
    Some(content.status)
}

/// All whole frames of a folder, whatever else is damaged: bases first, then segments, in order of number.
pub(super) fn scan(folder: &Path, mut visit: impl FnMut(Frame)) -> io::Result<()> {
    for number in base::list(folder)? {
        let bytes = base::bytes(folder, number)?;
        Frame::scan(&bytes, 0).for_each(|(_, frame)| visit(frame));
    }
    for number in segment::list(folder)? {
        let bytes = segment::bytes(folder, number)?;
        Frame::scan(&bytes, 0).for_each(|(_, frame)| visit(frame));
    }
    Ok(())
}

/// A journal that is written to.
pub(super) struct Journal {
    folder: PathBuf,
    segment: Segment,
    /// The record that was acknowledged last, and what the store holds after it.
    pub(super) sequence: u64,
    pub(super) status: Status,
    /// An append failed: the segment takes nothing more.
    broken: bool,
    base_bytes: u64,
    /// Bytes of the segments behind the base before this one.
    earlier: u64,
    /// With so many bytes behind the base a new one is due.
    due: u64,
}

impl Journal {
    /// Begins the journal of a store: to be called once a base with number 1 holds all that `status` says.
    pub(super) fn begin(folder: &Path, status: Status, base_bytes: u64) -> io::Result<Journal> {
        let journal = Journal {
            folder: folder.to_owned(),
            segment: Segment::create(folder, 1, 0, status, 0)?,
            sequence: 0,
            status,
            broken: false,
            base_bytes,
            earlier: 0,
            due: due(base_bytes),
        };
        mark::write(folder, 1)?;
        Ok(journal)
    }

    /// Goes on with a journal; in a new segment if the last one is torn.
    pub(super) fn go_on(found: &Found) -> io::Result<Journal> {
        let folder = &found.folder;
        base::remove_unfinished(folder);
        let last = found.segments.last().map_or(0, |(number, _)| *number);
        let (segment, earlier) = match &found.last {
            Some(content) if !found.torn => (
                Segment::reopen(folder, last, content)?,
                found.segment_bytes - content.bytes,
            ),
            _ => (
                Segment::create(folder, last + 1, found.sequence, found.status, 0)?,
                found.segment_bytes,
            ),
        };
        if mark::read(folder) != Mark::Journal(segment.number) {
            mark::write(folder, segment.number)?;
        }
        let journal = Journal {
            folder: folder.clone(),
            segment,
            sequence: found.sequence,
            status: found.status,
            broken: false,
            base_bytes: found.base_bytes,
            earlier,
            due: due(found.base_bytes),
        };
        journal.remove_before(found.base);
        Ok(journal)
    }

    /// Makes the next record durable, and hands its entries back.
    ///
    /// # Errors
    /// Any error leaves it open whether a later opening finds the record; [`Journal::void`] puts that right.
    pub(super) fn append(&mut self, entries: Vec<Entry>, status: Status) -> io::Result<Vec<Entry>> {
        if self.broken {
            return Err(io::Error::other("an append failed before"));
        }
        let mut record = Frame {
            kind: FrameKind::Record.into(),
            sequence: self.sequence + 1,
            status: Some(status),
            entries,
            ..Frame::default()
        };
        let bytes = record.bytes();
        if !self.segment.has_room(bytes.len()) {
            self.next_segment(bytes.len())?;
        }
        self.broken = true;
        self.segment.append(&bytes)?;
        self.broken = false;
        self.sequence += 1;
        self.status = status;
        Ok(record.entries)
    }

    /// As if the last append had failed when its record was written.
    #[cfg(test)]
    pub(super) fn roll_back(&mut self, before: Status) {
        self.broken = true;
        self.sequence -= 1;
        self.status = before;
    }

    /// Makes sure that nothing behind the last acknowledged record counts, and takes appends again.
    pub(super) fn void(&mut self) -> io::Result<()> {
        if self.broken {
            self.segment.check()?;
            self.next_segment(0)?;
            self.broken = false;
        }
        Ok(())
    }

    fn next_segment(&mut self, record: usize) -> io::Result<()> {
        // Once the next one may be there, nothing that is appended to this one counts.
        let was_broken = std::mem::replace(&mut self.broken, true);
        let next = Segment::create(
            &self.folder,
            self.segment.number + 1,
            self.sequence,
            self.status,
            record,
        )?;
        mark::write(&self.folder, next.number)?;
        self.earlier += self.segment.bytes();
        self.segment = next;
        self.broken = was_broken;
        Ok(())
    }

    /// The number and the beginning of a base that is due, if one is: a new segment begins for it.
    pub(super) fn base_due(&mut self) -> io::Result<Option<(u64, u64)>> {
        let behind = self.earlier + self.segment.bytes();
        if self.broken || behind < self.due {
            return Ok(None);
        }
        self.next_segment(0)?;
        // Should it fail, the next one is due a segment later.
        self.due = behind + segment::CAPACITY;
        Ok(Some((self.segment.number, self.sequence)))
    }

    /// A base is there: what came before it goes.
    pub(super) fn has_base(&mut self, number: u64, bytes: u64) {
        self.base_bytes = bytes;
        self.earlier = 0;
        self.due = due(bytes);
        self.remove_before(number);
    }

    fn remove_before(&self, base: u64) {
        let segments = segment::list(&self.folder).unwrap_or_default();
        let bases = base::list(&self.folder).unwrap_or_default();
        // Segments first: a base without its segments is passed over, segments without a base are not.
        let segments = segments.into_iter().filter(|&number| number < base);
        let bases = bases.into_iter().filter(|&number| number < base);
        let removed = segments
            .map(|number| segment::remove(&self.folder, number))
            .chain(bases.map(|number| base::remove(&self.folder, number)));
        for error in removed.filter_map(Result::err) {
            tracing::warn!(%error, "an old file of the journal cannot be removed");
        }
    }
}

fn due(base_bytes: u64) -> u64 {
    segment::CAPACITY.max(base_bytes / 2)
}

/// Removes a base that was not finished.
pub(super) fn remove_unfinished(folder: &Path) {
    base::remove_unfinished(folder);
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The numbers of the files with this prefix, in order.
fn numbered(folder: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
