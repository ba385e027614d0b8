//! Whose turn it is among servers that append all the time: the one that was first last time lets the others be first once.
//! Without this, a server with a shorter way to etcd's leader would overtake the others again and again.

use std::time::{Duration, Instant};

/// How long a server counts as appending beside this one.
const RIVAL: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_millis(10);

/// What is known of the last appends.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When this server was first, and how long the append took.
    won: Option<(Instant, Duration)>,
    /// When groups of other servers were seen.
    rival: Option<Instant>,
}

impl Pace {
    /// This server has appended.
    pub(super) fn won(&mut self, now: Instant, took: Duration) {
        self.won = Some((now, took));
    }

    /// Another server was first.
    pub(super) fn lost(&mut self, now: Instant) {
        self.won = None;
        self.rival = Some(now);
    }

    /// How long to wait before the next append: about as long as one of another server takes, if this one has just been
    /// first and others append too.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let (at, took) = self.won?;
        let rival = self.rival?;
        let took = took.min(LONGEST);
        let is_next = now.duration_since(at) < took;
        (is_next && now.duration_since(rival) < RIVAL).then_some(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_first_waits_only_right_behind_its_turn_and_only_beside_others() {
        let (now, took) = (Instant::now(), Duration::from_millis(4));
        let after = |millis| now + Duration::from_millis(millis);
        let mut pace = Pace::default();
        pace.won(now, took);
        assert_eq!(pace.pause(after(1)), None, "nobody else appends");
        pace.lost(now);
        assert_eq!(pace.pause(after(1)), None, "it is this one's turn");
        pace.won(now, took);
        assert_eq!(pace.pause(after(1)), Some(took));
        assert_eq!(pace.pause(after(5)), None, "the others had their time");
        pace.won(after(2_000), took);
        assert_eq!(pace.pause(after(2_001)), None, "the others have ended");
        pace.lost(after(2_002));
        pace.won(after(2_003), Duration::from_secs(2));
        assert_eq!(pace.pause(after(2_004)), Some(LONGEST));
    }
}
