//! What was found of a store, from whatever source, and what is missing in it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use prost::Message;
use proto::ipam::v1::{Event, ExportItem};

use super::{item, ranges};
use crate::store::journal::{self, Entry, Found, Frame, FrameKind, Hole, Status};
use crate::store::sled::{is_content, key_of, shown, value_of};

/// Values by key, each with the number of the commit that it is from at least; none: it was removed.
#[derive(Default)]
pub(in crate::store) struct Pile {
    values: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    /// Where the bases begin, by their numbers.
    bases: BTreeMap<u64, u64>,
    /// The newest that a record or segment states, and its commit.
    status: Option<(u64, Status)>,
}

impl Pile {
    /// What a whole journal holds.
    pub(super) fn of(found: &Found) -> Result<Pile, Hole> {
        let mut pile = Pile {
            status: Some((found.sequence, found.status)),
            ..Pile::default()
        };
        let mut put = |sequence, entries: Vec<Entry>| -> Result<(), Hole> {
            for Entry { key, value, .. } in entries {
                pile.put(key, sequence, value);
            }
            Ok(())
        };
        found.base(|entries| put(found.begins, entries))?;
        found.records(found.begins, put)?;
        Ok(pile)
    }

    /// What the whole frames of a folder hold.
    pub(super) fn scanned(folder: &Path) -> io::Result<Pile> {
        let mut pile = Pile::default();
        journal::scan(folder, |frame| pile.add(frame))?;
        Ok(pile)
    }

    /// Adds what a frame holds.
    pub(in crate::store) fn add(&mut self, frame: Frame) {
        let sequence = match frame.kind() {
            FrameKind::BaseBegin => {
                self.bases.insert(frame.number, frame.sequence);
                return;
            }
            FrameKind::BaseEntries => self.bases.get(&frame.number).copied().unwrap_or(0),
            FrameKind::Record | FrameKind::SegmentBegin => {
                if let Some(status) = frame.status
                    && self.status.is_none_or(|(known, _)| known <= frame.sequence)
                {
                    self.status = Some((frame.sequence, status));
                }
                frame.sequence
            }
            FrameKind::BaseEnd | FrameKind::Mark | FrameKind::Unknown => return,
        };
        for Entry { key, value, .. } in frame.entries {
            self.put(key, sequence, value);
        }
    }

    /// Adds a value that is from a commit at least; what is known from a later one stays.
    pub(in crate::store) fn put(&mut self, key: Vec<u8>, sequence: u64, value: Option<Vec<u8>>) {
        if !is_content(&key) {
            return;
        }
        let known = self.values.get(&key);
        if known.is_none_or(|(known, _)| *known <= sequence) {
            self.values.insert(key, (sequence, value));
        }
    }

    /// Lets the history decide what became of each pool, reservation and lease that it names.
    pub(super) fn settle(&mut self) {
        let mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for event in self.events() {
            let subject = |side: Option<proto::ipam::v1::Subject>| side.and_then(|s| s.subject);
            let (before, after) = (subject(event.before), subject(event.after));
            if let Some(key) = before.as_ref().or(after.as_ref()).and_then(key_of) {
                last.insert(key, after.as_ref().map(value_of));
            }
        }
        for (key, value) in last {
            self.values.insert(key, (u64::MAX, value));
        }
    }

    /// The whole events, in order.
    fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let from = vec![b'e'];
        let all = self.values.range(from..);
        all.take_while(|(key, _)| key.first() == Some(&b'e'))
            .filter_map(|(_, (_, value))| Event::decode(value.as_ref()?.as_slice()).ok())
    }

    /// The newest revision.
    pub(super) fn newest(&self) -> u64 {
        self.events().last().map_or(0, |event| event.revision)
    }

    /// The revisions that should be there and are not, as ranges.
    pub(super) fn missing(&self, tail: Option<Status>) -> Vec<(u64, u64)> {
        let status = tail.or(self.status.map(|(_, status)| status));
        let mut expected = status.map(|status| status.oldest);
        let mut missing = Vec::new();
        for event in self.events() {
            if let Some(expected) = expected
                && event.revision > expected
            {
                missing.push((expected, event.revision - 1));
            }
            expected = expected.max(Some(event.revision + 1));
        }
        if let (Some(expected), Some(status)) = (expected, status)
            && expected <= status.head
        {
            missing.push((expected, status.head));
        }
        missing
    }

    /// What is not as it was, a sentence each. `tail` is what the store held at last, if that is known.
    pub(super) fn lost(&self, tail: Option<Status>) -> Vec<String> {
        let mut lost = Vec::new();
        let mut found = Status::empty();
        for (key, (_, value)) in &self.values {
            let Some(value) = value else {
                continue;
            };
            let is_whole = match key.first() {
                Some(b'e') => Event::decode(value.as_slice()).is_ok(),
                Some(b'm') => true,
                _ => item(key, value).is_some(),
            };
            if !is_whole {
                lost.push(format!("the value of key {} cannot be decoded", shown(key)));
            }
            found.add(key, value);
        }
        found.oldest = self.events().next().map_or(1, |event| event.revision);
        found.head = self.newest();
        let missing = self.missing(tail);
        if !missing.is_empty() {
            let count: u64 = missing.iter().map(|(first, last)| last - first + 1).sum();
            let text = ranges(&missing);
            lost.push(format!("revisions {text} are missing ({count} changes)"));
        }
        let known = tail.or(self.status.map(|(_, status)| status));
        lost.extend(known.and_then(|known| known.difference(&found)));
        if found.events == 0 && found.pools + found.reservations + found.leases == 0 {
            lost.push("nothing could be read".to_owned());
        }
        lost
    }

    /// Gives the pools, then the reservations, then the leases.
    pub(super) fn visit(&self, mut visit: impl FnMut(ExportItem)) {
        for kind in *b"prl" {
            let all = self.values.range(vec![kind]..);
            for (key, (_, value)) in all.take_while(|(key, _)| key.first() == Some(&kind)) {
                let value = value.as_ref().and_then(|value| item(key, value));
                if let Some(item) = value {
                    visit(ExportItem { item: Some(item) });
                }
            }
        }
    }
}
