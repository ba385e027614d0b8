//! A store that is not where its callers saw it: restored from a backup, or lost and begun anew. It has another identity
//! then, so that each node reports what its records hold, and makes no new lease before the nodes that its leases name
//! have done so, for a limited time.

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::draft::Draft;
use crate::error::Error;
use crate::log::{Origin, StoreMark};

/// Nodes that an error names at most.
const NAMED: usize = 3;
/// Bytes of a node's name that an error shows.
const SHOWN: usize = 40;

/// A name for a store, which no other one has.
pub fn new_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// A key that nobody guesses, for [`Origin::secret`].
///
/// # Errors
/// If the system has no random numbers.
pub fn new_secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    Ok(hexadecimal(&bytes))
}

/// See [`StoreMark::proof`].
fn proof(origin: &Origin, id: &str, revision: u64) -> String {
    /// Bytes of a proof.
    const LENGTH: usize = 16;
    let key = hmac::Key::new(hmac::HMAC_SHA256, origin.secret.as_bytes());
    let tag = hmac::sign(&key, format!("{id}/{revision}").as_bytes());
    hexadecimal(tag.as_ref().get(..LENGTH).unwrap_or_default())
}

fn hexadecimal(bytes: &[u8]) -> String {
    // Made for each answer: without a text of its own for each byte.
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Whether a caller has reported to this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has, or keeps no records.
    Yes,
    /// It has. It says that it saw a later revision, and cannot prove it.
    Unproved {
        /// The store's revision.
        revision: u64,
        /// What the caller says.
        seen: u64,
    },
    /// It saw another store.
    No,
    /// It saw a later revision of this store: the store was restored, and is another one from now on.
    Restored {
        /// The store's revision.
        revision: u64,
        /// What the caller saw.
        seen: u64,
    },
}

impl Known {
    /// Whether the caller need not report.
    pub fn is_known(&self) -> bool {
        matches!(self, Known::Yes | Known::Unproved { .. })
    }
}

impl Draft<'_> {
    /// The store as it is now.
    pub fn store_mark(&self) -> StoreMark {
        let (origin, revision) = (&self.state.origin, self.state.revision);
        StoreMark {
            id: origin.id.clone(),
            revision,
            proof: proof(origin, &origin.id, revision),
        }
    }

    /// Whether a caller has reported to this store; always, if it keeps no records. A caller who saw a later revision of
    /// it proves that it was restored: from then on it is another one. Of a node, the store's own proof is needed: a node
    /// must not stop the leases of all others by a number.
    pub fn know(&mut self, known: Option<&StoreMark>) -> Known {
        let Some(known) = known else {
            return Known::Yes;
        };
        if known.id != self.state.origin.id {
            return Known::No;
        }
        let (revision, seen) = (self.state.revision, known.revision);
        if seen <= revision {
            return Known::Yes;
        }
        let expected = proof(&self.state.origin, &known.id, seen);
        if self.node.is_some() && known.proof != expected {
            return Known::Unproved { revision, seen };
        }
        let nodes = self.state.nodes.clone();
        self.restored(nodes);
        Known::Restored { revision, seen }
    }

    /// Makes the store another one and waits for the reports of `nodes`. While it waits it keeps its identity and
    /// waits for more.
    pub(super) fn restored(&mut self, nodes: impl IntoIterator<Item = String>) {
        let mut origin = self.state.origin.clone();
        if origin.awaited.is_empty() {
            origin = Origin {
                id: new_id(),
                ..settled(origin)
            };
        }
        if self.state.restore_wait > 0 {
            let silent = nodes
                .into_iter()
                .filter(|node| !node.is_empty() && !origin.heard.contains(node));
            let silent: Vec<_> = silent.collect();
            origin.awaited.extend(silent);
            origin.until = self
                .now
                .as_millisecond()
                .saturating_add(self.state.restore_wait);
        }
        self.set_origin(origin);
    }

    /// A node has reported all that its records hold.
    pub fn heard(&mut self, node: &str) {
        let mut origin = self.state.origin.clone();
        if origin.awaited.is_empty() {
            return;
        }
        origin.awaited.remove(node);
        origin.heard.insert(node.to_owned());
        self.set_origin(origin);
    }

    /// Ends the wait when its time is over.
    pub(super) fn end_waiting(&mut self) {
        let origin = &self.state.origin;
        if origin.awaited.is_empty() || self.now.as_millisecond() < origin.until {
            return;
        }
        let origin = settled(origin.clone());
        self.set_origin(origin);
    }

    /// Whether a new lease may be made.
    ///
    /// # Errors
    /// [`Error::Restored`] as long as the store waits.
    pub(super) fn check_heard(&self) -> Result<(), Error> {
        let origin = &self.state.origin;
        let left = origin.until.saturating_sub(self.now.as_millisecond());
        if origin.awaited.is_empty() || left <= 0 {
            return Ok(());
        }
        Err(Error::Restored {
            nodes: names(origin),
            seconds: u64::try_from(left).unwrap_or_default().div_ceil(1000),
        })
    }
}

/// A store that waits for nobody.
fn settled(origin: Origin) -> Origin {
    Origin {
        id: origin.id,
        lease_offset: origin.lease_offset,
        secret: origin.secret,
        ..Origin::default()
    }
}

/// The awaited nodes, for people: a few by name, the others counted.
pub fn names(origin: &Origin) -> String {
    let short = |name: &String| name.chars().take(SHOWN).collect::<String>();
    let mut names: Vec<_> = origin.awaited.iter().take(NAMED).map(short).collect();
    let more = origin.awaited.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}
