//! Who asks for a decision, and what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use ipam_core::lease::Lease;

/// Who asks, and until when an answer is of use.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// For the history: role and identity.
    pub actor: Arc<str>,
    /// When the caller gives up.
    pub deadline: Option<Instant>,
    /// The node whose leases are reached; none: all leases are.
    pub node: Option<Arc<str>>,
    /// Whether few leases at once are ended only.
    pub is_bounded: bool,
}

impl Caller {
    /// Whether a lease is reached.
    pub fn reaches(&self, lease: &Lease) -> bool {
        lease.is_of_node(self.node.as_deref())
    }
}

/// Whether what a command decides is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It becomes durable.
    Keep,
    /// The answer says what would become of it; nothing changes.
    Validate,
}

impl Mode {
    /// That of a request's `validate_only`.
    pub fn of(validate_only: bool) -> Mode {
        match validate_only {
            true => Mode::Validate,
            false => Mode::Keep,
        }
    }

    /// Whether something may change.
    pub fn keeps(self) -> bool {
        self == Mode::Keep
    }
}
