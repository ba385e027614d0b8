//! What time it is, behind a trait so that a test can set it.
//!
//! **The server's time never goes back and never stands still.** It begins with the clock of the machine, or with the time of
//! the last change in the store if that is later. From then on it goes forward with the monotonic clock, and jumps forward
//! with the clock of the machine. So a clock that steps back ends no lease early and keeps none for longer: leases and
//! quarantines last as many seconds as they should. As long as the server's time is ahead of the clock, the times that it
//! writes are ahead, too; a minute and more is logged, is the metric `ipam_clock_behind_seconds`, and is shown by /readyz.
//! A clock that steps forward by mistake ends leases that have an end: it cannot be distinguished from time that passed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A source of time that does not go back.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// A time that has been already: from now on it is later.
    fn has_been(&self, _time: Timestamp) {}
}

/// The clock of this machine, made monotonic.
#[derive(Debug)]
pub struct SystemClock(Mutex<Reading>);

/// A time of the server, and when it was read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Timestamp,
    at: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock(Mutex::new(Reading {
            time: Timestamp::now(),
            at: Instant::now(),
        }))
    }
}

impl SystemClock {
    /// How far the clock of the machine is behind the server's time.
    pub fn behind(&self) -> Duration {
        let now = self.now();
        let behind = now.duration_since(Timestamp::now());
        Duration::try_from(behind).unwrap_or_default()
    }

    fn read(&self, not_before: Timestamp) -> Timestamp {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        let time = later(last.time, at - last.at, Timestamp::now()).max(not_before);
        *last = Reading { time, at };
        time
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.read(Timestamp::MIN)
    }

    fn has_been(&self, time: Timestamp) {
        self.read(time);
    }
}

/// The time after `passed` since `last`, where the machine's clock says `wall`.
fn later(last: Timestamp, passed: Duration, wall: Timestamp) -> Timestamp {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    last.saturating_add(passed).unwrap_or(last).max(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: i64) -> Timestamp {
        Timestamp::from_second(number).unwrap()
    }

    #[test]
    fn time_goes_on_while_the_clock_is_behind_and_jumps_with_it() {
        let passed = Duration::from_secs(10);
        for (name, wall, expected) in [
            ("as it should", 1010, 1010),
            ("hours back", 1010 - 7200, 1010),
            ("stands still", 1000, 1010),
            ("an hour forward", 1000 + 3600, 4600),
        ] {
            let time = later(second(1000), passed, second(wall));
            assert_eq!(time, second(expected), "{name}");
        }
    }

    #[test]
    fn a_store_of_the_future_is_caught_up_with_and_shown_as_being_behind() {
        let clock = SystemClock::default();
        assert!(clock.behind() < Duration::from_secs(60));
        let future = Timestamp::now() + SignedDuration::from_hours(5);
        clock.has_been(future);
        let (first, behind) = (clock.now(), clock.behind());
        assert!(first >= future && clock.now() > first);
        let hours = Duration::from_secs(5 * 3600);
        assert!(behind <= hours && behind > hours - Duration::from_secs(600));
    }
}
