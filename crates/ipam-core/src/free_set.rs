//! The free addresses of one family of a pool, as intervals: what an operation costs depends on how many
//! gaps there are, never on how long a prefix is.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of addresses, kept as disjoint intervals that do not touch. An address is its number, 32 bits of it
/// for IPv4. All operations but [`FreeSet::intervals`] and [`FreeSet::nth`] take O(log n) of the number of intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreeSet {
    /// First to last address.
    intervals: BTreeMap<u128, u128>,
    /// Number of addresses less one would fit; an IPv6 /0 is refused by the pool.
    count: u128,
}

impl FreeSet {
    /// The empty set.
    pub fn new() -> FreeSet {
        FreeSet::default()
    }

    /// How many addresses it holds.
    pub fn count(&self) -> u128 {
        self.count
    }

    /// Whether it holds `address`.
    pub fn contains(&self, address: u128) -> bool {
        self.interval_of(address).is_some()
    }

    /// The lowest address.
    pub fn first(&self) -> Option<u128> {
        self.intervals.first_key_value().map(|(&first, _)| first)
    }

    /// The lowest address from `from` on.
    pub fn first_from(&self, from: u128) -> Option<u128> {
        if self.contains(from) {
            return Some(from);
        }
        self.intervals.range(from..).next().map(|(&first, _)| first)
    }

    /// The lowest address from `from` on, else the lowest of all.
    pub fn first_from_wrapping(&self, from: u128) -> Option<u128> {
        self.first_from(from).or_else(|| self.first())
    }

    /// The address that has `n` lower ones. Takes O(n) of the number of intervals.
    pub fn nth(&self, n: u128) -> Option<u128> {
        let mut before = 0;
        for (&first, &last) in &self.intervals {
            let here = last - first;
            if n - before <= here {
                return Some(first + (n - before));
            }
            before += here + 1;
        }
        None
    }

    /// Takes one address out; false if it was not there.
    pub fn remove(&mut self, address: u128) -> bool {
        let Some((first, last)) = self.interval_of(address) else {
            return false;
        };
        self.intervals.remove(&first);
        if first < address {
            self.intervals.insert(first, address - 1);
        }
        if address < last {
            self.intervals.insert(address + 1, last);
        }
        self.count -= 1;
        true
    }

    /// Puts one address in; false if it was there.
    pub fn add(&mut self, address: u128) -> bool {
        let before = self.intervals.range(..=address).next_back();
        let mut first = address;
        if let Some((&start, &end)) = before {
            if end >= address {
                return false;
            }
            if end.checked_add(1) == Some(address) {
                first = start;
            }
        }
        let mut last = address;
        if let Some(next) = address.checked_add(1)
            && let Some(end) = self.intervals.remove(&next)
        {
            last = end;
        }
        self.intervals.insert(first, last);
        self.count += 1;
        true
    }

    /// Puts all addresses of `range` in, those that are there already too.
    pub fn add_range(&mut self, range: RangeInclusive<u128>) {
        let (start, end) = range.into_inner();
        if start > end {
            return;
        }
        self.remove_range(start..=end);
        let mut first = start;
        let mut last = end;
        if let Some((&before, &before_end)) = self.intervals.range(..start).next_back()
            && before_end.checked_add(1) == Some(start)
        {
            first = before;
        }
        if let Some(next) = end.checked_add(1)
            && let Some(after_end) = self.intervals.remove(&next)
        {
            last = after_end;
        }
        self.intervals.insert(first, last);
        self.count += end - start + 1;
    }

    /// Takes all addresses of `range` out, as far as they are there.
    pub fn remove_range(&mut self, range: RangeInclusive<u128>) {
        let (start, end) = range.into_inner();
        while let Some((&first, &last)) = self.intervals.range(..=end).next_back() {
            if last < start {
                return;
            }
            self.intervals.remove(&first);
            let (cut_first, cut_last) = (first.max(start), last.min(end));
            self.count -= cut_last - cut_first + 1;
            if last > end {
                self.intervals.insert(end + 1, last);
            }
            if first < start {
                self.intervals.insert(first, start - 1);
                return;
            }
        }
    }

    /// The intervals, in order.
    pub fn intervals(&self) -> impl Iterator<Item = RangeInclusive<u128>> + '_ {
        self.intervals.iter().map(|(&first, &last)| first..=last)
    }

    fn interval_of(&self, address: u128) -> Option<(u128, u128)> {
        let (&first, &last) = self.intervals.range(..=address).next_back()?;
        (last >= address).then_some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Give(u8),
        Take(u8),
        GiveRange(u8, u8),
        TakeRange(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Give),
            any::<u8>().prop_map(Step::Take),
            any::<(u8, u8)>().prop_map(|(a, b)| Step::GiveRange(a.min(b), a.max(b))),
            any::<(u8, u8)>().prop_map(|(a, b)| Step::TakeRange(a.min(b), a.max(b))),
        ]
    }

    /// The addresses of the model, at the low and at the high end of all numbers.
    fn at(low: bool, small: u8) -> u128 {
        if low {
            u128::from(small)
        } else {
            u128::MAX - 255 + u128::from(small)
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_at_both_ends_of_the_numbers(
            steps in proptest::collection::vec(step(), 0..200),
            low in any::<bool>(),
            from in any::<u8>(),
            n in any::<u8>(),
        ) {
            let mut set = FreeSet::new();
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Give(a) => prop_assert_eq!(set.add(at(low, a)), model.insert(at(low, a))),
                    Step::Take(a) => prop_assert_eq!(set.remove(at(low, a)), model.remove(&at(low, a))),
                    Step::GiveRange(a, b) => {
                        set.add_range(at(low, a)..=at(low, b));
                        model.extend((a..=b).map(|small| at(low, small)));
                    }
                    Step::TakeRange(a, b) => {
                        set.remove_range(at(low, a)..=at(low, b));
                        model.retain(|&n| n < at(low, a) || n > at(low, b));
                    }
                }
                prop_assert_eq!(set.count(), model.len() as u128);
            }
            let all: Vec<u128> = set.intervals().flatten().collect();
            prop_assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
            let from = at(low, from);
            prop_assert_eq!(set.first_from(from), model.range(from..).next().copied());
            prop_assert_eq!(set.first(), model.first().copied());
            let n = usize::from(n);
            prop_assert_eq!(set.nth(n as u128), model.iter().nth(n).copied());
            let ends: Vec<_> = set.intervals().map(RangeInclusive::into_inner).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "touching: {:?}", ends);
        }
    }

    #[test]
    fn a_whole_ipv6_prefix_costs_one_interval() {
        let mut set = FreeSet::new();
        let first = 0xfd00_u128 << 112;
        set.add_range(first..=first + ((1 << 96) - 1));
        assert!(set.remove(first + 5));
        assert_eq!(set.intervals().count(), 2);
        assert_eq!(set.count(), (1 << 96) - 1);
    }
}
