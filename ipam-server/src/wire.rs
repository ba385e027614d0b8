//! The edge between `ipam.v1` and the domain: messages of calls and of stores are decoded into the types of `ipam-core`, and
//! encoded again.
//!
//! What this server stores has one form only: `decode` and `encode` of a stored message are the reverse of each other, byte for
//! byte. Requests are checked besides, with all that is wrong in them ([`problems`]).

pub mod answer;
pub mod event;
pub mod import;
pub mod lease;
pub mod pool;
pub mod problems;
pub mod request;
pub mod reservation;
#[cfg(test)]
mod tests;
pub mod time;

use std::sync::Arc;

/// A stored message that is not of the form that this server writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    /// The field, and what is wrong with it.
    pub what: String,
}

impl Malformed {
    /// A field with a value that cannot be.
    pub(crate) fn field(field: &str, value: impl std::fmt::Debug) -> Malformed {
        Malformed {
            what: format!("{field} is {value:?}"),
        }
    }
}

/// A text that is shared; the empty one takes no memory.
pub(crate) fn shared(text: String) -> Arc<str> {
    match text.is_empty() {
        true => Arc::default(),
        false => text.into(),
    }
}
