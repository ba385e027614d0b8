//! What one pod may ask of a node, and how long one call may take: checked before the first plugin runs, so that no tenant fills
//! the memory of a process of root, or holds a call until the kubelet gives it up (after two minutes).

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::diagnosis::Explain;

/// Networks that the annotation of a pod may name.
pub const NETWORKS: usize = 64;
/// Bytes of the text of a NetworkAttachmentDefinition.
pub const NAD_BYTES: usize = 64 << 10;
/// Bytes of a plan: of all that the plugins of a pod are given.
pub const PLAN_BYTES: usize = 4 << 20;
/// NetworkAttachmentDefinitions that the API server is asked for at the same time.
pub const GETS_AT_ONCE: usize = 8;
/// Bytes of a record: what may be written. What was written is read whatever its size.
pub const RECORD_BYTES: usize = 64 << 20;

/// When the time of this process's call is over.
static DEADLINE: OnceLock<Instant> = OnceLock::new();

/// The call of this process has so much time from now on; only the first call counts.
pub fn begin(total: Duration) {
    // A second one is of the same process: it has what is left.
    let _ = DEADLINE.set(Instant::now() + total);
}

/// When the time is over; none without [`begin`].
pub fn deadline() -> Option<Instant> {
    DEADLINE.get().copied()
}

/// How much of the time is left; without [`begin`], for ever.
pub fn left() -> Duration {
    DEADLINE.get().map_or(Duration::MAX, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    })
}

/// A network is too large to be used.
#[derive(Debug, thiserror::Error)]
#[error("its configuration has {bytes} bytes, and at most {NAD_BYTES} are allowed")]
pub struct TooLarge {
    /// Its bytes.
    pub bytes: usize,
}

impl Explain for TooLarge {
    fn remedy(&self) -> Option<String> {
        Some("make it shorter".to_owned())
    }
}

/// Checks the text of a network.
///
/// # Errors
/// [`TooLarge`].
pub fn check_text(text: &str) -> Result<(), TooLarge> {
    let bytes = text.len();
    match bytes > NAD_BYTES {
        true => Err(TooLarge { bytes }),
        false => Ok(()),
    }
}

/// How many bytes the plan has, as JSON.
pub fn bytes_of(plan: &impl Serialize) -> usize {
    let mut counted = Count(0);
    // Counting cannot fail, and what cannot be written as JSON is found when the record is written.
    let _ = serde_json::to_writer(&mut counted, plan);
    counted.0
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_last_size_that_is_allowed() {
        for (bytes, is_allowed) in [(0, true), (NAD_BYTES, true), (NAD_BYTES + 1, false)] {
            assert_eq!(
                check_text(&" ".repeat(bytes)).is_ok(),
                is_allowed,
                "{bytes}"
            );
        }
    }

    #[test]
    fn a_plan_is_as_large_as_its_json() {
        assert_eq!(bytes_of(&["a", "b\n"]), r#"["a","b\n"]"#.len());
    }
}
