//! Whose turn it is among servers that append all the time: turns go round, in the order of the servers' names. Without this, all
//! of them would decide behind each append, and all decisions but one would be for nothing; and a server with a shorter way to etcd's
//! leader would overtake the others again and again.
//!
//! A turn is a courtesy. Who appends out of turn is as right as everybody else: the transaction decides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::head;

/// How long a server counts as appending all the time behind an append: some rounds of turns.
const RIVAL: Duration = Duration::from_millis(50);
/// The shortest and the longest time that a server has for its turn.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(10);

/// What is known of the last appends.
#[derive(Debug)]
pub(super) struct Pace {
    /// This server's name: random, for each process.
    pub(super) own: String,
    /// When other servers appended last, as this one saw it.
    rivals: BTreeMap<String, Instant>,
    /// Who appended last, and when.
    last: Option<(String, Instant)>,
    /// How long a server has for its turn: twice the time of this server's last append, since deciding takes time, too.
    turn: Duration,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace {
            own: head::mark(),
            rivals: BTreeMap::new(),
            last: None,
            turn: LONGEST,
        }
    }

    /// This server has appended.
    pub(super) fn appended(&mut self, now: Instant, took: Duration) {
        self.turn = (took * 2).clamp(SHORTEST, LONGEST);
        self.last = Some((self.own.clone(), now));
    }

    /// A group of another server was seen.
    pub(super) fn saw(&mut self, writer: &str, now: Instant) {
        if writer == self.own {
            return;
        }
        self.rivals.retain(|_, at| is_recent(*at, now));
        self.rivals.insert(writer.to_owned(), now);
        self.last = Some((writer.to_owned(), now));
    }

    /// How long to wait for this server's turn; none: it is now. Each server between the last one and this one has a turn's time.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let (last, at) = self.last.as_ref()?;
        let recent = self.rivals.iter().filter(|(_, at)| is_recent(**at, now));
        let rivals: Vec<&str> = recent.map(|(name, _)| name.as_str()).collect();
        let (last, own) = (last.as_str(), self.own.as_str());
        let is_between = |name: &&&str| match last < own {
            true => **name > last && **name < own,
            false => **name > last || **name < own,
        };
        let before = rivals.iter().filter(is_between).count();
        let until = *at + self.turn * u32::try_from(before).unwrap_or(1);
        until
            .checked_duration_since(now)
            .filter(|pause| !pause.is_zero())
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < RIVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(own: &str) -> Pace {
        Pace {
            own: own.to_owned(),
            ..Pace::new()
        }
    }

    #[test]
    fn turns_go_round_among_those_that_append_all_the_time() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let turn = Duration::from_millis(4);
        let mut pace = pace("b");
        pace.appended(begin, turn / 2);
        assert_eq!(pace.pause(after(0)), None, "nobody else appends");
        pace.saw("c", after(1));
        pace.saw("a", after(2));
        assert_eq!(pace.pause(after(2)), None, "b is next to a");
        pace.saw("c", after(3));
        assert_eq!(pace.pause(after(3)), Some(turn), "a comes first");
        assert_eq!(pace.pause(after(7)), None, "a had its time");
        pace.appended(after(8), turn / 2);
        assert_eq!(pace.pause(after(8)), Some(turn * 2), "c and a come first");
        pace.saw("c", after(9));
        assert_eq!(pace.pause(after(9)), Some(turn), "a comes first");
        assert_eq!(pace.pause(after(59)), None, "the others have ended");
    }

    #[test]
    fn a_turn_is_neither_very_short_nor_long_and_the_own_group_is_no_rival() {
        let begin = Instant::now();
        let mut pace = pace("b");
        pace.saw("b", begin);
        assert_eq!(pace.pause(begin), None);
        pace.saw("a", begin);
        pace.appended(begin, Duration::from_secs(2));
        assert_eq!(pace.pause(begin), Some(LONGEST));
        pace.appended(begin, Duration::ZERO);
        assert_eq!(pace.pause(begin), Some(SHORTEST));
    }
}
