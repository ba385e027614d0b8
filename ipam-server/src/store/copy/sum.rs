//! What a store holds, as counts and a checksum: SHA-256 over the messages of everything in its order.

use ipam_core::lease::LeaseId;
use ipam_core::log::{Store, StoreError};
use prost::Message;
use ring::digest::{Context, SHA256};

use super::GROUP;
use crate::store::origin;
use crate::wire::{event, lease, pool, reservation};

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many pools.
    pub pools: u64,
    /// How many reservations.
    pub reservations: u64,
    /// How many leases.
    pub leases: u64,
    /// How many events of the history are kept.
    pub events: u64,
    /// Of the last change.
    pub revision: u64,
    /// Of the oldest event that is kept.
    pub oldest_revision: u64,
    /// Of everything, hexadecimal.
    pub checksum: String,
}

/// Adds messages to a checksum.
struct Adding {
    context: Context,
    buffer: Vec<u8>,
}

impl Adding {
    fn add(&mut self, kind: u8, message: &impl Message) {
        self.buffer.clear();
        // A vector always has room.
        let _ = message.encode(&mut self.buffer);
        let buffer = std::mem::take(&mut self.buffer);
        self.add_bytes(kind, &buffer);
        self.buffer = buffer;
    }

    fn add_bytes(&mut self, kind: u8, bytes: &[u8]) {
        self.context.update(&[kind]);
        self.context.update(&(bytes.len() as u64).to_be_bytes());
        self.context.update(bytes);
    }
}

impl Sum {
    /// Reads everything.
    ///
    /// # Errors
    /// As every read of the store.
    pub(super) fn of(store: &dyn Store) -> Result<Sum, StoreError> {
        let mut adding = Adding {
            context: Context::new(&SHA256),
            buffer: Vec::new(),
        };
        let extent = store.extent()?;
        let (pools, reservations) = (store.pools()?, store.reservations()?);
        let mut sum = Sum {
            pools: pools.len() as u64,
            reservations: reservations.len() as u64,
            leases: 0,
            events: 0,
            revision: extent.revision,
            oldest_revision: extent.oldest_revision,
            checksum: String::new(),
        };
        for one in pools {
            adding.add(b'p', &pool::encode(one));
        }
        for one in reservations {
            adding.add(b'r', &reservation::encode(one));
        }
        let mut after = LeaseId(0);
        loop {
            let page = store.leases(after, GROUP)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            sum.leases += page.len() as u64;
            for one in page {
                adding.add(b'l', &lease::encode(one));
            }
        }
        let mut after = extent.oldest_revision.saturating_sub(1);
        loop {
            let page = store.events(after, GROUP)?;
            let Some(last) = page.last() else { break };
            after = last.revision;
            sum.events += page.len() as u64;
            for one in page {
                adding.add(b'e', &event::encode(one));
            }
        }
        if let Some(found) = store.origin()? {
            adding.add_bytes(b'o', &origin::encode(&found));
        }
        let digest = adding.context.finish();
        sum.checksum = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(sum)
    }

    /// What another sum has different, for a person.
    pub(super) fn difference(&self, other: &Sum) -> String {
        let counts = |sum: &Sum| {
            [
                ("pools", sum.pools),
                ("reservations", sum.reservations),
                ("leases", sum.leases),
                ("events", sum.events),
                ("revision", sum.revision),
                ("oldest revision", sum.oldest_revision),
            ]
        };
        let both = counts(self).into_iter().zip(counts(other));
        let mut different = both.filter(|(own, other)| own != other);
        match different.next() {
            Some(((what, own), (_, other))) => format!("{what}: {other} and not {own}"),
            None => format!("checksum {} and not {}", other.checksum, self.checksum),
        }
    }
}
