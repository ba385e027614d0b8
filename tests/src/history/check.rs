//! Whether a log explains a history.

use std::collections::{BTreeMap, BTreeSet};

use super::log::Log;
use super::{Answer, Call, History};

pub(super) fn violations(history: &History) -> Vec<String> {
    let mut violations = Vec::new();
    let Some(first) = history.watched.first() else {
        return vec!["nobody watched".to_owned()];
    };
    let log = Log::replay(first, history.from, &mut violations);
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
    once(history, &mut violations);
    order(&placed, &mut violations);
    reads(history, &placed, &log, &mut violations);
    ends(history, &log, &mut violations);
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
                    let is_same = (&made.ipv4, &made.ipv6, &made.owner)
                        == (&lease.ipv4, &lease.ipv6, &lease.owner);
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
        let (first, last) = (*revisions.iter().min()?, *revisions.iter().max()?);
        if last - first + 1 != revisions.len() as u64 {
            violations.push(format!(
                "a batch was not made at once, but from revision {first} to {last}"
            ));
        }
        Some(Placed { call, first, last })
    }
}

/// No lease is the answer to two allocations: each one is for an attachment of its own.
fn once(history: &History, violations: &mut Vec<String>) {
    let mut answered = BTreeSet::new();
    for call in &history.calls {
        let Answer::Allocated(leases) = &call.answer else {
            continue;
        };
        for lease in leases {
            if !answered.insert(&lease.id) {
                violations.push(format!("lease {} was answered to two callers", lease.id));
            }
        }
    }
}

/// The revision up to which everything was seen before a time: acknowledged, or read.
struct Seen(Vec<(u64, u64)>);

impl Seen {
    /// Of calls' ends, each with the revision that the caller saw.
    fn of(ends: impl Iterator<Item = (u64, u64)>) -> Seen {
        let mut ends: Vec<(u64, u64)> = ends.collect();
        ends.sort_unstable();
        let mut most = 0;
        for (_, revision) in &mut ends {
            most = most.max(*revision);
            *revision = most;
        }
        Seen(ends)
    }

    fn before(&self, time: u64) -> u64 {
        let count = self.0.partition_point(|(ended, _)| *ended < time);
        let last = count.checked_sub(1).and_then(|at| self.0.get(at));
        last.map_or(0, |(_, revision)| *revision)
    }
}

fn acknowledged(placed: &[Placed<'_>]) -> impl Iterator<Item = (u64, u64)> {
    placed.iter().map(|one| (one.call.ended, one.last))
}

/// What was acknowledged before a change was asked for is before it in the log.
fn order(placed: &[Placed<'_>], violations: &mut Vec<String>) {
    let seen = Seen::of(acknowledged(placed));
    for one in placed {
        let before = seen.before(one.call.began);
        if one.first <= before {
            violations.push(format!(
                "revision {} was asked for when revision {before} had been acknowledged",
                one.first
            ));
        }
    }
}

/// A read is of a state that was there between its beginning and its end: not older than what was acknowledged or read before, not
/// newer than what was asked for later.
fn reads(history: &History, placed: &[Placed<'_>], log: &Log, violations: &mut Vec<String>) {
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
    // When each read ended, and the revision that it saw at least, by what is known of those before it.
    let look = |seen: &Seen, violations: &mut Vec<String>| -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for call in &history.calls {
            let Answer::Read(id, lease) = &call.answer else {
                continue;
            };
            let from = seen.before(call.began).max(history.from);
            let later = asked.range(call.ended + 1..).next();
            let to = later.map_or(log.last, |(_, revision)| revision - 1);
            match log.was(id, lease.as_deref(), (from, to.max(from))) {
                Some(revision) => found.push((call.ended, revision)),
                None => violations.push(format!(
                    "lease {id} was read as it was at no revision from {from} to {to}"
                )),
            }
        }
        found
    };
    let seen = Seen::of(acknowledged(placed));
    let mut alone = Vec::new();
    let read = look(&seen, &mut alone);
    if alone.is_empty() {
        look(&Seen::of(acknowledged(placed).chain(read)), violations);
    } else {
        violations.append(&mut alone);
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
