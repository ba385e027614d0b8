//! Leases by a hash of what they are found by: pairs of a key and a lease's number, in order, 12 bytes each in a B-tree of runs. A
//! B-tree of single pairs pads each to 16 bytes, and its nodes have room for half as many again.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::lease::LeaseId;

/// The most pairs of a run.
const MOST: usize = 128;
/// A run grows by so many.
const STEP: usize = 8;

/// A key and a lease's number, big endian: the order of bytes is that of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair([u8; 12]);

impl Pair {
    const LOWEST: Pair = Pair([0; 12]);

    fn of(key: u32, id: LeaseId) -> Pair {
        let mut bytes = [0; 12];
        let (high, low) = bytes.split_at_mut(4);
        high.copy_from_slice(&key.to_be_bytes());
        low.copy_from_slice(&id.0.to_be_bytes());
        Pair(bytes)
    }

    fn key(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    fn id(self) -> LeaseId {
        let [_, _, _, _, id @ ..] = self.0;
        LeaseId(u64::from_be_bytes(id))
    }
}

/// Leases by keys. A key is a hash, of which several leases may have the same one; 0: the lease has none, and is not in it. All
/// operations but [`KeyIndex::of`] take O(log n), and [`KeyIndex::with`] as long as what it finds.
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    /// By a pair that is not above the first one of the run, and above all of the run before.
    runs: BTreeMap<Pair, Vec<Pair>>,
}

impl KeyIndex {
    /// Leases with their keys, in any order.
    pub fn of(pairs: impl Iterator<Item = (u32, LeaseId)>) -> KeyIndex {
        let pairs = pairs.filter(|(key, _)| *key != 0);
        let mut pairs: Vec<Pair> = pairs.map(|(key, id)| Pair::of(key, id)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        // With room for what comes.
        let runs = pairs.chunks(MOST * 3 / 4).filter_map(|run| {
            let first = *run.first()?;
            Some((first, run.to_vec()))
        });
        KeyIndex {
            runs: runs.collect(),
        }
    }

    /// Adds a lease.
    pub fn insert(&mut self, key: u32, id: LeaseId) {
        if key == 0 {
            return;
        }
        let pair = Pair::of(key, id);
        let Some((&begin, run)) = self.runs.range_mut(..=pair).next_back() else {
            // Below all others: the first run begins lower from now on.
            let mut run = self.runs.pop_first().map_or_else(Vec::new, |(_, run)| run);
            make_room(&mut run);
            run.insert(0, pair);
            self.runs.insert(Pair::LOWEST, run);
            return self.split(Pair::LOWEST);
        };
        if let Err(place) = run.binary_search(&pair) {
            make_room(run);
            run.insert(place, pair);
            self.split(begin);
        }
    }

    /// Makes two runs of one that is too long.
    fn split(&mut self, begin: Pair) {
        let Some(run) = self.runs.get_mut(&begin).filter(|run| run.len() > MOST) else {
            return;
        };
        let upper = run.split_off(run.len() / 2);
        run.shrink_to(run.len() + STEP);
        if let Some(first) = upper.first() {
            self.runs.insert(*first, upper);
        }
    }

    /// Takes a lease out.
    pub fn remove(&mut self, key: u32, id: LeaseId) {
        let pair = Pair::of(key, id);
        let Some((&begin, run)) = self.runs.range_mut(..=pair).next_back() else {
            return;
        };
        let Ok(place) = run.binary_search(&pair) else {
            return;
        };
        run.remove(place);
        if run.len() * 2 <= run.capacity() {
            run.shrink_to(run.len() + STEP);
        }
        if run.len() <= MOST / 4 {
            self.join(begin);
        }
    }

    /// Makes one run of a short one and the one above it, if both are short; an empty one goes.
    fn join(&mut self, begin: Pair) {
        let above = (Bound::Excluded(begin), Bound::Unbounded);
        let above = self.runs.range(above).next();
        let above = above.map(|(begin, run)| (*begin, run.len()));
        let Some(run) = self.runs.get_mut(&begin) else {
            return;
        };
        if run.is_empty() {
            self.runs.remove(&begin);
        } else if let Some((next, length)) = above
            && run.len() + length <= MOST / 2
            && let Some(upper) = self.runs.remove(&next)
            && let Some(run) = self.runs.get_mut(&begin)
        {
            run.reserve_exact(upper.len() + STEP);
            run.extend(upper);
        }
    }

    /// Whether a lease is found by a key.
    pub fn contains(&self, key: u32, id: LeaseId) -> bool {
        let pair = Pair::of(key, id);
        let run = self.runs.range(..=pair).next_back();
        run.is_some_and(|(_, run)| run.binary_search(&pair).is_ok())
    }

    /// The leases with a key, in order of number.
    pub fn with(&self, key: u32) -> impl Iterator<Item = LeaseId> + '_ {
        let (first, last) = (Pair::of(key, LeaseId(0)), Pair::of(key, LeaseId(u64::MAX)));
        let begin = self.runs.range(..=first).next_back();
        let begin = begin.map_or(Pair::LOWEST, |(begin, _)| *begin);
        let pairs = self.runs.range(begin..=last).flat_map(move |(_, run)| {
            let from = run.partition_point(|pair| *pair < first);
            run.iter()
                .skip(from)
                .take_while(move |pair| pair.key() == key)
        });
        pairs.map(|pair| pair.id())
    }
}

fn make_room(run: &mut Vec<Pair>) {
    if run.len() == run.capacity() {
        run.reserve_exact(STEP);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_pairs_in_order(
            steps in proptest::collection::vec((1_u32..6, 0_u64..200, any::<bool>()), 0..1500),
            first in 0..1500_usize,
        ) {
            let mut model = BTreeSet::new();
            let (loaded, later) = steps.split_at(first.min(steps.len()));
            model.extend(loaded.iter().map(|(key, id, _)| (*key, LeaseId(*id))));
            let mut index = KeyIndex::of(model.iter().copied());
            for (key, id, is_added) in later {
                let id = LeaseId(*id);
                match is_added {
                    true => {
                        index.insert(*key, id);
                        model.insert((*key, id));
                    }
                    false => {
                        index.remove(*key, id);
                        model.remove(&(*key, id));
                    }
                }
                prop_assert_eq!(index.contains(*key, id), *is_added);
            }
            for key in 0..7 {
                let found: Vec<_> = index.with(key).collect();
                let expected = model.range((key, LeaseId(0))..=(key, LeaseId(u64::MAX)));
                let expected: Vec<_> = expected.map(|(_, id)| *id).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert!(index.runs.values().all(|run| !run.is_empty() && run.len() <= MOST));
        }
    }

    #[test]
    fn a_lease_without_a_key_is_not_in_it() {
        let mut index = KeyIndex::of([(0, LeaseId(1))].into_iter());
        index.insert(0, LeaseId(2));
        index.remove(0, LeaseId(1));
        assert_eq!(index.with(0).count(), 0);
        assert!(index.runs.is_empty());
    }

    #[test]
    fn a_pair_takes_little_more_than_its_own_bytes() {
        let mut index = KeyIndex::default();
        let count = 100_000;
        for number in 0..count {
            // Keys are hashes: in no order.
            index.insert(
                (number as u32).wrapping_mul(0x9E37_79B1).max(1),
                LeaseId(number),
            );
        }
        let room = |index: &KeyIndex| -> usize { index.runs.values().map(Vec::capacity).sum() };
        let pairs = usize::try_from(count).unwrap();
        assert!(room(&index) < pairs * 11 / 10, "{}", room(&index));
        assert!(index.runs.len() < pairs / 64 * 2, "{}", index.runs.len());
        let key = |number: u64| (number as u32).wrapping_mul(0x9E37_79B1).max(1);
        for number in (0..count).filter(|number| number % 20 != 0) {
            index.remove(key(number), LeaseId(number));
        }
        assert!(room(&index) < pairs / 20 * 2, "{}", room(&index));
        assert!(index.runs.len() < pairs / 20 / 8, "{}", index.runs.len());
        for number in 0..count {
            index.remove(key(number), LeaseId(number));
        }
        assert!(index.runs.is_empty());
    }
}
