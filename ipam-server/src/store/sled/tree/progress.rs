//! How far sled's tree follows: the changes that it does not hold yet, and when they are put in.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::super::StoreError;
use super::super::super::journal::Entry;

/// With so many bytes of keys and values that wait, an append waits too; so many are put in at once at a start.
pub(in super::super) const MOST_BYTES: usize = 8 << 20;

/// With so many bytes that wait, they are put in: some hundreds of changes, of which most blocks of events are complete. With four
/// times as many, a processor was busy with them for so long that the slowest hundredth of all Allocates took twice as long.
const ENOUGH_BYTES: usize = 256 << 10;

/// After so long they are put in, however few they are: a start after a kill -9 puts in what was not.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The last value of each key that some groups change; none: it is removed.
pub(in super::super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// How far a tree follows.
pub(super) struct Progress {
    /// The last group that was handed over, and the last one that is in the tree.
    handed: u64,
    applied: u64,
    /// What is put in now, and what waits.
    under_way: Arc<Changes>,
    waiting: Changes,
    /// Of what waits.
    bytes: usize,
    /// When the first of what waits was handed over.
    since: Option<Instant>,
    /// The last group that a reader waits for.
    wanted: u64,
    /// Nothing more is handed over.
    is_closing: bool,
    /// Why the tree follows no more.
    failed: Option<StoreError>,
}

impl Progress {
    /// That of a tree that holds everything up to group `number`.
    pub(super) fn at(number: u64) -> Progress {
        Progress {
            handed: number,
            applied: number,
            under_way: Arc::default(),
            waiting: Changes::new(),
            bytes: 0,
            since: None,
            wanted: number,
            is_closing: false,
            failed: None,
        }
    }

    /// Begins anew with a tree that holds everything up to group `number`.
    pub(super) fn restart(&mut self, number: u64) {
        *self = Progress {
            is_closing: self.is_closing,
            ..Progress::at(number)
        };
    }

    /// The last group that was handed over.
    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    /// Whether the tree holds everything up to group `number`.
    pub(super) fn has(&self, number: u64) -> bool {
        self.applied >= number
    }

    /// Whether an append has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES && self.failed.is_none()
    }

    /// Adds what group `number` changes; whether it is the first of what waits.
    pub(super) fn add(&mut self, number: u64, entries: Vec<Entry>, now: Instant) -> bool {
        self.handed = number;
        self.bytes += entries.iter().map(bytes_of).sum::<usize>();
        let changes = entries.into_iter().map(|entry| (entry.key, entry.value));
        self.waiting.extend(changes);
        self.since.replace(self.since.unwrap_or(now)).is_none()
    }

    /// A reader waits for everything that was handed over; returns the last group of it.
    pub(super) fn want_all(&mut self) -> u64 {
        self.wanted = self.handed;
        self.handed
    }

    /// The last group that a reader waited for.
    #[cfg(test)]
    pub(super) fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Nothing more is handed over.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether nothing more is to be put in.
    pub(super) fn has_ended(&self) -> bool {
        self.is_closing && !self.has_work()
    }

    /// Whether something is to be put in, now or later.
    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty() && self.failed.is_none()
    }

    /// How long what waits is still left to gather; zero: it is put in now.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let is_due = self.is_closing || self.wanted > self.applied || self.bytes >= ENOUGH_BYTES;
        match self.since {
            Some(since) if !is_due => LONGEST_WAIT.saturating_sub(now.duration_since(since)),
            _ => Duration::ZERO,
        }
    }

    /// What waits, from now on under way; and the last group of it.
    pub(super) fn take(&mut self) -> (u64, Arc<Changes>) {
        self.under_way = Arc::new(std::mem::take(&mut self.waiting));
        self.bytes = 0;
        self.since = None;
        (self.handed, self.under_way.clone())
    }

    /// What was under way, up to group `number`, is in the tree.
    pub(super) fn put_in(&mut self, number: u64) {
        self.applied = number;
        self.under_way = Arc::default();
    }

    /// The tree follows no more.
    pub(super) fn fail(&mut self, error: StoreError) {
        self.failed = Some(error);
    }

    /// Why the tree follows no more.
    pub(super) fn failed(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }

    /// Why not everything that was handed over is or will be in the tree.
    pub(super) fn failure(&self) -> Option<&StoreError> {
        self.failed().filter(|_| !self.has(self.handed))
    }

    /// What a key has once everything is in the tree; none: what the tree has.
    pub(super) fn value(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let waiting = self.waiting.get(key);
        waiting.or_else(|| self.under_way.get(key)).cloned()
    }

    /// Whether something that is not in the tree yet is about these keys.
    pub(super) fn is_about(&self, keys: RangeInclusive<&[u8]>) -> bool {
        let keys = (Bound::Included(*keys.start()), Bound::Included(*keys.end()));
        let has = |changes: &Changes| changes.range::<[u8], _>(keys).next().is_some();
        has(&self.waiting) || has(&self.under_way)
    }
}

/// Bytes of a change.
pub(in super::super) fn bytes_of(entry: &Entry) -> usize {
    entry.key.len() + entry.value.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_gather_until_they_are_enough_or_old_or_wanted() {
        let begin = Instant::now();
        let half = LONGEST_WAIT / 2;
        let waiting = || Progress {
            handed: 2,
            bytes: 10,
            since: Some(begin),
            ..Progress::at(1)
        };
        let cases = [
            ("few and young", waiting(), half),
            ("nothing", Progress::at(1), Duration::ZERO),
            (
                "wanted before",
                Progress {
                    wanted: 1,
                    ..waiting()
                },
                half,
            ),
            (
                "wanted",
                Progress {
                    wanted: 2,
                    ..waiting()
                },
                Duration::ZERO,
            ),
            (
                "enough",
                Progress {
                    bytes: ENOUGH_BYTES,
                    ..waiting()
                },
                Duration::ZERO,
            ),
            (
                "the last ones",
                Progress {
                    is_closing: true,
                    ..waiting()
                },
                Duration::ZERO,
            ),
        ];
        for (case, progress, expected) in cases {
            assert_eq!(progress.pause(begin + half), expected, "{case}");
        }
        assert!(waiting().pause(begin + LONGEST_WAIT).is_zero());
    }
}
