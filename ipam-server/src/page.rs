//! How much one answer holds: a page ends by count or by size.

use prost::Message;

use crate::error::Error;

/// Entries of a page if the request does not say.
const DEFAULT: usize = 100;
/// Entries of a page at most.
const MOST: usize = 1000;

/// Bytes of the entries of an answer, unless the first entry alone is larger: half of what gRPC clients take in a message
/// by default (4 MiB, grpc's `max_receive_message_length`).
pub const BYTES: usize = 2 << 20;

/// The entries of one answer, limited by count and by size.
#[derive(Debug)]
pub struct Page<M> {
    entries: Vec<M>,
    bytes: usize,
    size: usize,
}

impl<M: Message> Page<M> {
    /// An empty page for up to `size` entries.
    pub fn new(size: usize) -> Page<M> {
        Page {
            entries: Vec::new(),
            bytes: 0,
            size,
        }
    }

    /// Adds an entry; gives it back if the page has no room for it.
    ///
    /// # Errors
    /// The entry.
    pub fn push(&mut self, entry: M) -> Result<(), M> {
        let bytes = entry.encoded_len();
        let fits = self.entries.is_empty() || self.bytes + bytes <= BYTES;
        if self.entries.len() >= self.size || !fits {
            return Err(entry);
        }
        self.bytes += bytes;
        self.entries.push(entry);
        Ok(())
    }

    /// Adds an entry, or leaves it out if the page has no room for it.
    pub fn fill(&mut self, entry: M) {
        let _ = self.push(entry);
    }

    /// Entries that still fit by count.
    pub fn room(&self) -> usize {
        self.size - self.entries.len()
    }

    /// The entries.
    pub fn into_entries(self) -> Vec<M> {
        self.entries
    }

    /// The first page of `entries`, and whether there are more.
    pub fn of(size: usize, entries: impl IntoIterator<Item = M>) -> (Vec<M>, bool) {
        let mut page = Page::new(size);
        let is_cut = entries.into_iter().any(|entry| page.push(entry).is_err());
        (page.entries, is_cut)
    }
}

/// How many entries a page has.
///
/// # Errors
/// Of `page_size`, for a negative size.
pub fn size(page_size: i32) -> Result<usize, Error> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT),
        Ok(size) => Ok(size.min(MOST)),
        Err(_) => Err(Error::field("page_size", "must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_by_count_or_by_size_and_holds_one_entry_at_least() {
        let lease = |bytes: usize| proto::ipam::v1::Lease {
            id: "x".repeat(bytes),
            ..Default::default()
        };
        for (size, bytes, entries, expected, is_cut) in [
            (3, 10, 3, 3, false),
            (3, 10, 4, 3, true),
            (3, BYTES / 2, 3, 1, true),
            (3, BYTES / 3, 3, 2, true),
            (3, BYTES * 2, 2, 1, true),
            (3, BYTES * 2, 1, 1, false),
            (3, 10, 0, 0, false),
        ] {
            let (page, cut) = Page::of(size, (0..entries).map(|_| lease(bytes)));
            assert_eq!(
                (page.len(), cut),
                (expected, is_cut),
                "{size} {bytes} {entries}"
            );
        }
    }
}
