//! What is left alone for longer and longer: each time the pause is twice as long as before, up to a longest one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Until when each is left alone, and how long that is.
#[derive(Debug)]
pub(super) struct Pauses<K> {
    first: Duration,
    longest: Duration,
    until: BTreeMap<K, (Instant, Duration)>,
}

impl<K: Ord> Pauses<K> {
    /// Nothing is left alone yet.
    pub(super) fn new(first: Duration, longest: Duration) -> Pauses<K> {
        Pauses {
            first,
            longest,
            until: BTreeMap::new(),
        }
    }

    /// Whether its pause is over, if it has one.
    pub(super) fn is_due(&self, key: &K, now: Instant) -> bool {
        self.until.get(key).is_none_or(|(until, _)| now >= *until)
    }

    /// Begins its next pause.
    pub(super) fn begin(&mut self, key: K, now: Instant) {
        let before = self.until.get(&key).map(|(_, pause)| *pause * 2);
        let pause = before.unwrap_or(self.first).min(self.longest);
        self.until.insert(key, (now + pause, pause));
    }

    /// Forgets those that are not `wanted` any more: they begin anew.
    pub(super) fn retain(&mut self, wanted: impl Fn(&K) -> bool) {
        self.until.retain(|key, _| wanted(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_each_has_its_own() {
        let second = Duration::from_secs(1);
        let (start, mut pauses) = (Instant::now(), Pauses::new(second, 10 * second));
        let mut tries = Vec::new();
        for after in 0..40 {
            let now = start + after * second;
            assert!(pauses.is_due(&"other", now), "{after}");
            if pauses.is_due(&"one", now) {
                pauses.begin("one", now);
                tries.push(after);
            }
        }
        assert_eq!(tries, [0, 1, 3, 7, 15, 25, 35]);
        pauses.retain(|key| *key != "one");
        let now = start + 40 * second;
        assert!(pauses.is_due(&"one", now));
        pauses.begin("one", now);
        assert!(pauses.is_due(&"one", now + second));
    }
}
