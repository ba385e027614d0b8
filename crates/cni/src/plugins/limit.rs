//! How long plugins may work.

use std::time::{Duration, Instant};

/// How long a plugin may work: each call for so long, and all of them until an end. Copied along a chain of calls, of which
/// each gets a deadline when it begins.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit {
    per_call: Duration,
    end: Option<Instant>,
}

/// In place of a deadline that is too late for the clock: more than any call takes.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl TimeLimit {
    /// Each call may take so long.
    pub fn per_call(per_call: Duration) -> TimeLimit {
        TimeLimit {
            per_call,
            end: None,
        }
    }

    /// The same, and no call may go on after `end`.
    #[must_use]
    pub fn until(self, end: Instant) -> TimeLimit {
        TimeLimit {
            end: Some(end),
            ..self
        }
    }

    /// The deadline of a call that begins now.
    pub fn deadline(&self) -> Instant {
        let now = Instant::now();
        let alone = now.checked_add(self.per_call).unwrap_or(now + YEAR);
        self.end.map_or(alone, |end| alone.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_the_nearer_of_the_calls_and_the_end() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let now = Instant::now();
        let end = now + Duration::from_secs(60);
        let alone = TimeLimit::per_call(second).deadline();
        assert!(alone >= now + second && alone < end);
        assert_eq!(TimeLimit::per_call(hour).until(end).deadline(), end);
        assert!(TimeLimit::per_call(second).until(end).deadline() < end);
        assert_eq!(TimeLimit::per_call(hour).until(now).deadline(), now);
        assert!(TimeLimit::per_call(Duration::MAX).deadline() > now + hour);
    }
}
