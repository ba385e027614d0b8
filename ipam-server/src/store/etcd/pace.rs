//! Whose turn it is among servers that append all the time: turns go round, in the order of the servers' names. Without turns, each
//! append would make all servers decide at once, all but one of them for nothing, and a server with a shorter way to etcd's leader
//! would overtake the others again and again.
//!
//! A turn is a courtesy: a server that appends out of turn is as right as any other one, since the transaction decides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::head;

/// The shortest and the longest time that a server has for its turn.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);
/// How many turns long a server counts as one that appends all the time, behind an append of it.
const RIVAL_TURNS: u32 = 10;
/// Each so many appends, a server leaves its turn to one that the others do not know yet, since it was never first.
const SPARE: u32 = 8;

/// What is known of the last appends.
#[derive(Debug)]
pub(super) struct Pace {
    /// This server's name: random, for each process.
    pub(super) own: String,
    /// When other servers appended last, as this one saw it.
    rivals: BTreeMap<String, Instant>,
    /// Who appended last, and when.
    last: Option<(String, Instant)>,
    /// How many groups this server has appended.
    appended: u32,
    /// How long a server has for its turn: twice the time of this server's last append, since deciding takes time, too.
    turn: Duration,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace {
            own: head::mark(),
            rivals: BTreeMap::new(),
            last: None,
            appended: 0,
            turn: SHORTEST,
        }
    }

    /// Takes note that this server has appended.
    pub(super) fn add_own(&mut self, now: Instant, took: Duration) {
        self.turn = (took * 2).clamp(SHORTEST, LONGEST);
        self.appended = self.appended.wrapping_add(1);
        self.last = Some((self.own.clone(), now));
    }

    /// Takes note of a group that another server has appended.
    pub(super) fn add_other(&mut self, writer: &str, now: Instant) {
        if writer == self.own {
            return;
        }
        let window = self.window();
        self.rivals
            .retain(|_, at| now.saturating_duration_since(*at) < window);
        self.rivals.insert(writer.to_owned(), now);
        self.last = Some((writer.to_owned(), now));
    }

    /// How long a server counts as a rival; nobody waits longer for its turn.
    pub(super) fn window(&self) -> Duration {
        self.turn * RIVAL_TURNS
    }

    /// How long to wait for this server's turn; none: it is now. Each rival between the last server and this one has a turn.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let (last, at) = self.last.as_ref()?;
        let window = self.window();
        let rivals = self.rivals.iter();
        let rivals = rivals.filter(|(_, at)| now.saturating_duration_since(**at) < window);
        let rivals: Vec<&str> = rivals.map(|(name, _)| name.as_str()).collect();
        let (last, own) = (last.as_str(), self.own.as_str());
        let is_between = |name: &&&str| match last < own {
            true => **name > last && **name < own,
            false => **name > last || **name < own,
        };
        let mut turns = rivals.iter().filter(is_between).count();
        if last != own && self.appended % SPARE == SPARE - 1 {
            turns += rivals.len();
        }
        let until = *at + self.turn * u32::try_from(turns).unwrap_or(RIVAL_TURNS);
        let pause = until.saturating_duration_since(now);
        (!pause.is_zero()).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(4);

    fn pace(own: &str) -> Pace {
        Pace {
            own: own.to_owned(),
            turn: TURN,
            ..Pace::new()
        }
    }

    #[test]
    fn turns_go_round_among_those_that_append_all_the_time() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut pace = pace("b");
        pace.add_own(begin, TURN / 2);
        assert_eq!(pace.pause(after(0)), None, "nobody else appends");
        pace.add_other("c", after(1));
        pace.add_other("a", after(2));
        assert_eq!(pace.pause(after(2)), None, "b is next to a");
        pace.add_other("c", after(3));
        assert_eq!(pace.pause(after(3)), Some(TURN), "a comes first");
        assert_eq!(pace.pause(after(7)), None, "a had its time");
        pace.add_own(after(8), TURN / 2);
        assert_eq!(pace.pause(after(8)), Some(TURN * 2), "c and a come first");
        pace.add_other("c", after(9));
        assert_eq!(pace.pause(after(9)), Some(TURN), "a comes first");
        pace.add_own(after(60), TURN / 2);
        assert_eq!(pace.pause(after(60)), None, "the others have ended");
    }

    #[test]
    fn a_turn_is_neither_very_short_nor_long_and_the_own_group_is_no_rival() {
        let begin = Instant::now();
        let mut pace = pace("b");
        pace.add_other("a", begin);
        pace.add_other("b", begin);
        assert_eq!(pace.pause(begin), None, "b is still next to a");
        pace.add_own(begin, Duration::from_secs(2));
        assert_eq!(pace.pause(begin), Some(LONGEST));
        pace.add_own(begin, Duration::ZERO);
        assert_eq!(pace.pause(begin), Some(SHORTEST));
    }

    #[test]
    fn now_and_then_a_turn_is_left_to_a_server_that_was_never_first() {
        let begin = Instant::now();
        let mut pace = pace("b");
        let left = (0..SPARE * 2).filter(|_| {
            pace.add_own(begin, TURN / 2);
            pace.add_other("a", begin);
            pace.pause(begin).is_some()
        });
        assert_eq!(left.count(), 2);
    }
}
