//! What time it is, behind a trait so that a test can set it.

use jiff::Timestamp;

/// A source of wall-clock time. It may step back; whoever decides by it copes.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
