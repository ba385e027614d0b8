//! A map by numbers most of which follow on one another, as those of leases and of leased addresses do: a B-tree of runs of
//! 64 numbers, each with the values of those that it has. A value costs its own size and little more, where a B-tree that
//! grows at its end leaves almost half of its nodes empty.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Bound, RangeBounds};

/// Numbers of a run: the bits of [`Run::present`].
const SPAN: u128 = 64;

/// What a map is by.
pub trait Key: Copy {
    /// Its number; the order of numbers is that of keys.
    fn number(self) -> u128;
    /// The key of a number that a key had.
    fn of(number: u128) -> Self;
}

impl Key for u128 {
    fn number(self) -> u128 {
        self
    }

    fn of(number: u128) -> u128 {
        number
    }
}

/// The values of up to 64 neighbouring numbers.
#[derive(Clone)]
struct Run<V> {
    /// Bit n: the n-th number has a value.
    present: u64,
    /// In order of number.
    values: Vec<V>,
}

impl<V> Run<V> {
    fn has(&self, place: u32) -> bool {
        self.present & (1 << place) != 0
    }

    /// Where the value of a place is, or would be.
    fn index(&self, place: u32) -> usize {
        (self.present & ((1 << place) - 1)).count_ones() as usize
    }

    fn get(&self, place: u32) -> Option<&V> {
        self.has(place)
            .then(|| self.values.get(self.index(place)))?
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut V> {
        let index = self.index(place);
        self.has(place).then(|| self.values.get_mut(index))?
    }

    fn insert(&mut self, place: u32, value: V) -> Option<V> {
        if let Some(found) = self.get_mut(place) {
            return Some(std::mem::replace(found, value));
        }
        // Most runs become full, and the others hold no more than twice what they need.
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(self.values.len().max(1));
        }
        self.values.insert(self.index(place), value);
        self.present |= 1 << place;
        None
    }

    fn remove(&mut self, place: u32) -> Option<V> {
        let index = self.index(place);
        let removed = self.has(place).then(|| self.values.remove(index))?;
        self.present &= !(1 << place);
        if self.values.len() * 4 <= self.values.capacity() {
            self.values.shrink_to(self.values.len() * 2);
        }
        Some(removed)
    }

    /// The places that have a value, in order.
    fn places(&self) -> impl Iterator<Item = u32> + use<V> {
        let present = self.present;
        (0..u64::BITS).filter(move |place| present & (1 << place) != 0)
    }
}

/// A map, in order of number. All operations but iterations take O(log n).
#[derive(Clone)]
pub struct DenseMap<K, V> {
    runs: BTreeMap<u128, Run<V>>,
    len: usize,
    key: std::marker::PhantomData<K>,
}

/// The run of a number, and its place in it.
fn place(number: u128) -> (u128, u32) {
    // Below 64.
    (number / SPAN, (number % SPAN) as u32)
}

impl<K: Key, V> DenseMap<K, V> {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let (run, place) = place(key.number());
        self.runs.get(&run)?.get(place)
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (run, place) = place(key.number());
        self.runs.get_mut(&run)?.get_mut(place)
    }

    /// Whether a key has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value in; returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (run, place) = place(key.number());
        let run = self.runs.entry(run).or_insert_with(|| Run {
            present: 0,
            values: Vec::new(),
        });
        let before = run.insert(place, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (number, place) = place(key.number());
        let run = self.runs.get_mut(&number)?;
        let removed = run.remove(place)?;
        if run.values.is_empty() {
            self.runs.remove(&number);
        }
        self.len -= 1;
        Some(removed)
    }

    /// The values of some keys, in order.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (K, &V)> {
        let first = match keys.start_bound() {
            Bound::Included(key) => Some(key.number()),
            Bound::Excluded(key) => key.number().checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let last = match keys.end_bound() {
            Bound::Included(key) => Some(key.number()),
            Bound::Excluded(key) => key.number().checked_sub(1),
            Bound::Unbounded => Some(u128::MAX),
        };
        let wanted = first.zip(last).filter(|(first, last)| first <= last);
        wanted.into_iter().flat_map(move |(first, last)| {
            let runs = self.runs.range(first / SPAN..=last / SPAN);
            let all = runs.flat_map(|(run, values)| {
                let keys = values
                    .places()
                    .map(move |place| run * SPAN + u128::from(place));
                keys.zip(&values.values)
            });
            all.skip_while(move |(number, _)| *number < first)
                .take_while(move |(number, _)| *number <= last)
                .map(|(number, value)| (K::of(number), value))
        })
    }

    /// All keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.range(..)
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in order of key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.runs.values().flat_map(|run| &run.values)
    }

    /// All values, to change.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.runs.values_mut().flat_map(|run| &mut run.values)
    }
}

impl<K, V> Default for DenseMap<K, V> {
    fn default() -> DenseMap<K, V> {
        DenseMap {
            runs: BTreeMap::new(),
            len: 0,
            key: std::marker::PhantomData,
        }
    }
}

impl<K: Key, V> FromIterator<(K, V)> for DenseMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(values: I) -> DenseMap<K, V> {
        let mut map = DenseMap::default();
        for (key, value) in values {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Key + Debug, V: Debug> Debug for DenseMap<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers at the low and at the high end of all.
    fn number() -> impl Strategy<Value = u128> {
        (0_u128..300, any::<bool>()).prop_map(|(small, low)| match low {
            true => small,
            false => u128::MAX - small,
        })
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order_of_number(
            steps in proptest::collection::vec((number(), proptest::option::of(any::<u8>())), 0..300),
            from in number(),
            until in number(),
        ) {
            let (mut map, mut model) = (DenseMap::default(), BTreeMap::new());
            for (number, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(number, value), model.insert(number, value)),
                    None => prop_assert_eq!(map.remove(&number), model.remove(&number)),
                }
                prop_assert_eq!(map.get(&number), model.get(&number));
                prop_assert_eq!(map.len(), model.len());
            }
            let all: Vec<_> = map.iter().map(|(number, value)| (number, *value)).collect();
            let expected: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(&all, &expected);
            let copy: DenseMap<u128, u8> = expected.into_iter().collect();
            prop_assert!(copy.iter().eq(map.iter()) && copy.len() == map.len());
            let found = |bounds: (Bound<u128>, Bound<u128>)| -> Vec<u128> {
                map.range(bounds).map(|(number, _)| number).collect()
            };
            let wanted = |is_in: &dyn Fn(u128) -> bool| -> Vec<u128> {
                model.keys().copied().filter(|number| is_in(*number)).collect()
            };
            use Bound::{Excluded, Included, Unbounded};
            prop_assert_eq!(found((Included(from), Included(until))), wanted(&|n| n >= from && n <= until));
            prop_assert_eq!(found((Excluded(from), Excluded(until))), wanted(&|n| n > from && n < until));
            prop_assert_eq!(found((Included(from), Unbounded)), wanted(&|n| n >= from));
        }
    }

    #[test]
    fn it_takes_no_more_room_than_its_values_need() {
        let mut map: DenseMap<u128, u64> = (0..1000_u128).map(|number| (number, 7)).collect();
        let room = |map: &DenseMap<u128, u64>| -> usize {
            map.runs.values().map(|run| run.values.capacity()).sum()
        };
        assert!(room(&map) <= 1024, "{}", room(&map));
        for number in (0..1000).filter(|number| number % 64 != 0) {
            map.remove(&number);
        }
        assert!(room(&map) <= 4 * map.len(), "{}", room(&map));
        for number in 0..1000 {
            map.remove(&number);
        }
        assert!(map.is_empty() && map.runs.is_empty());
    }
}
