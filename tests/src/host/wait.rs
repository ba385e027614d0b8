//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(10);

/// Looks at a condition until it gives something, and gives that.
///
/// # Panics
/// When it gives nothing within `patience`, naming `what`.
#[track_caller]
pub fn wait_until<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {patience:?}");
        thread::sleep(STEP);
    }
}
