//! What a store holds, in a few numbers that each commit brings up to date: what is read back is compared with them.

/// Counts and a sum of everything. The sum does not depend on the order, so that a commit only adds and subtracts
/// what it changes.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(in crate::store) struct Status {
    /// The last revision; 0: none.
    #[prost(uint64, tag = "1")]
    pub(in crate::store) head: u64,
    /// The oldest revision of the history.
    #[prost(uint64, tag = "2")]
    pub(in crate::store) oldest: u64,
    #[prost(uint64, tag = "3")]
    pub(in crate::store) pools: u64,
    #[prost(uint64, tag = "4")]
    pub(in crate::store) reservations: u64,
    #[prost(uint64, tag = "5")]
    pub(in crate::store) leases: u64,
    #[prost(uint64, tag = "6")]
    pub(in crate::store) events: u64,
    /// The sum of a hash of each key with its value, modulo 2^64.
    #[prost(fixed64, tag = "7")]
    pub(in crate::store) digest: u64,
    /// How many bytes keys and values have.
    #[prost(uint64, tag = "8")]
    pub(in crate::store) bytes: u64,
}

impl Status {
    /// That of a store without anything.
    pub(in crate::store) fn empty() -> Status {
        Status {
            oldest: 1,
            ..Status::default()
        }
    }

    /// Adds a value.
    pub(in crate::store) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.digest = self.digest.wrapping_add(hash(key, value));
        self.bytes = self.bytes.wrapping_add((key.len() + value.len()) as u64);
        if let Some(count) = self.count(key) {
            *count = count.wrapping_add(1);
        }
    }

    /// Adds the values that another one counts; the history stays.
    pub(in crate::store) fn add_all(&mut self, other: &Status) {
        self.digest = self.digest.wrapping_add(other.digest);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.pools = self.pools.wrapping_add(other.pools);
        self.reservations = self.reservations.wrapping_add(other.reservations);
        self.leases = self.leases.wrapping_add(other.leases);
        self.events = self.events.wrapping_add(other.events);
    }

    /// Removes a value.
    pub(in crate::store) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.digest = self.digest.wrapping_sub(hash(key, value));
        self.bytes = self.bytes.wrapping_sub((key.len() + value.len()) as u64);
        if let Some(count) = self.count(key) {
            *count = count.wrapping_sub(1);
        }
    }

    fn count(&mut self, key: &[u8]) -> Option<&mut u64> {
        match key.first()? {
            b'p' => Some(&mut self.pools),
            b'r' => Some(&mut self.reservations),
            b'l' => Some(&mut self.leases),
            b'e' => Some(&mut self.events),
            _ => None,
        }
    }

    /// In what `found` differs, as a sentence; none if it does not.
    pub(in crate::store) fn difference(&self, found: &Status) -> Option<String> {
        let counts = [
            ("pools", found.pools, self.pools),
            ("reservations", found.reservations, self.reservations),
            ("leases", found.leases, self.leases),
            ("events", found.events, self.events),
        ];
        let wrong: Vec<_> = counts
            .iter()
            .filter(|(_, found, expected)| found != expected)
            .map(|(what, found, expected)| format!("{found} of {expected} {what}"))
            .collect();
        if !wrong.is_empty() {
            return Some(format!("it holds {}", wrong.join(", ")));
        }
        if (found.oldest, found.head) != (self.oldest, self.head) {
            return Some(format!(
                "its history is of revisions {} to {}, not {} to {}",
                found.oldest, found.head, self.oldest, self.head
            ));
        }
        (found.digest != self.digest).then(|| "a value is not the one that was written".to_owned())
    }
}

/// Of 64 bits, against damage and not against malice: words are mixed in by rotation and multiplication, and the end
/// is that of SplitMix64 (Steele, Lea, Flood 2014), so that sums of hashes do not cancel out.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (key.len() as u64).wrapping_mul(MULTIPLIER) ^ value.len() as u64;
    for bytes in [key, value] {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_leaves_what_was_before() {
        let mut status = Status::empty();
        status.add(b"l1", b"one");
        let before = status;
        status.add(b"l2", b"two");
        assert_eq!(
            before.difference(&status).unwrap(),
            "it holds 2 of 1 leases"
        );
        status.subtract(b"l2", b"two");
        assert_eq!(status, before);
    }

    #[test]
    fn two_values_that_are_exchanged_or_old_are_noticed() {
        let of = |one: &[u8], two: &[u8]| {
            let mut status = Status::empty();
            status.add(b"l1", one);
            status.add(b"l2", two);
            status
        };
        let right = of(b"a", b"b");
        assert!(right.difference(&of(b"b", b"a")).is_some());
        assert!(right.difference(&of(b"a", b"a")).is_some());
        assert_eq!(right.difference(&of(b"a", b"b")), None);
    }
}
