//! Whether a log explains a history.

use std::collections::BTreeMap;

use super::log::Log;
use super::{Answer, Call, History};

/// So many sentences are enough.
const MOST: usize = 20;

pub(super) fn violations(history: &History) -> Vec<String> {
    let mut violations = Vec::new();
    let Some(first) = history.watched.first() else {
        return vec!["nobody watched".to_owned()];
    };
    let log = Log::replay(first, &mut violations);
    for (number, other) in history.watched.iter().enumerate().skip(1) {
        if other != first {
            violations.push(format!("watcher {number} saw another log than watcher 0"));
        }
    }
    let placed: Vec<Placed<'_>> = history
        .calls
        .iter()
        .filter_map(|call| Placed::of(call, &log, &mut violations))
        .collect();
    order(&placed, &mut violations);
    reads(history, &placed, &log, &mut violations);
    ends(history, &log, &mut violations);
    violations.truncate(MOST);
    violations
}

/// A change that was acknowledged, and where it is in the log: one of several at the first and at the last one.
struct Placed<'a> {
    call: &'a Call,
    first: u64,
    last: u64,
}

impl Placed<'_> {
    fn of<'a>(call: &'a Call, log: &Log, violations: &mut Vec<String>) -> Option<Placed<'a>> {
        let revisions: Vec<Option<u64>> = match &call.answer {
            Answer::Read(..) => return None,
            Answer::Released(id) => vec![log.ended(id)],
            Answer::Updated(turn) => vec![log.turn(turn)],
            Answer::Allocated(leases) => {
                let made = leases.iter().map(|lease| {
                    let (revision, made) = log.made(&lease.id)?;
                    let is_same = (&made.ipv4, &made.ipv6) == (&lease.ipv4, &lease.ipv6);
                    is_same.then_some(revision)
                });
                made.collect()
            }
        };
        let revisions: Option<Vec<u64>> = revisions.into_iter().collect();
        let Some(revisions) = revisions.filter(|revisions| !revisions.is_empty()) else {
            violations.push(format!(
                "an acknowledged change is not in the log: {:?}",
                call.answer
            ));
            return None;
        };
        Some(Placed {
            call,
            first: *revisions.iter().min()?,
            last: *revisions.iter().max()?,
        })
    }
}

/// The revision up to which everything was acknowledged before a time.
struct Acknowledged(Vec<(u64, u64)>);

impl Acknowledged {
    fn of(placed: &[Placed<'_>]) -> Acknowledged {
        let mut ends: Vec<(u64, u64)> = placed
            .iter()
            .map(|one| (one.call.ended, one.last))
            .collect();
        ends.sort_unstable();
        let mut most = 0;
        for (_, revision) in &mut ends {
            most = most.max(*revision);
            *revision = most;
        }
        Acknowledged(ends)
    }

    fn before(&self, time: u64) -> u64 {
        let count = self.0.partition_point(|(ended, _)| *ended < time);
        let last = count.checked_sub(1).and_then(|at| self.0.get(at));
        last.map_or(0, |(_, revision)| *revision)
    }
}

/// What was acknowledged before a change was asked for is before it in the log.
fn order(placed: &[Placed<'_>], violations: &mut Vec<String>) {
    let acknowledged = Acknowledged::of(placed);
    for one in placed {
        let before = acknowledged.before(one.call.began);
        if one.first <= before {
            violations.push(format!(
                "revision {} was asked for when revision {before} had been acknowledged",
                one.first
            ));
        }
    }
}

/// A read is of a state that was there between its beginning and its end: not older than what was acknowledged before, not newer than
/// what was asked for later.
fn reads(history: &History, placed: &[Placed<'_>], log: &Log, violations: &mut Vec<String>) {
    let acknowledged = Acknowledged::of(placed);
    let mut asked: BTreeMap<u64, u64> = BTreeMap::new();
    let mut begins: Vec<(u64, u64)> = placed
        .iter()
        .map(|one| (one.call.began, one.first))
        .collect();
    begins.sort_unstable();
    let mut least = log.last + 1;
    for (began, revision) in begins.into_iter().rev() {
        least = least.min(revision);
        asked.insert(began, least);
    }
    for call in &history.calls {
        let Answer::Read(id, found) = &call.answer else {
            continue;
        };
        let from = acknowledged.before(call.began);
        let later = asked.range(call.ended + 1..).next();
        let to = later.map_or(log.last, |(_, revision)| revision - 1);
        if !log.was(id, found.as_deref(), (from, to.max(from))) {
            violations.push(format!(
                "lease {id} was read as it was at no revision from {from} to {to}"
            ));
        }
    }
}

/// At the end each server lists what the log says.
fn ends(history: &History, log: &Log, violations: &mut Vec<String>) {
    let expected: BTreeMap<_, _> = log.leases().map(|lease| (&lease.id, lease)).collect();
    for (number, listed) in history.listed.iter().enumerate() {
        let listed: BTreeMap<_, _> = listed.iter().map(|lease| (&lease.id, lease)).collect();
        if listed != expected {
            violations.push(format!(
                "server {number} lists {} leases at the end, which are not the {} of the log",
                listed.len(),
                expected.len()
            ));
        }
    }
}
