//! The log that the watchers saw, and what it says of each revision.

use std::collections::BTreeMap;

use proto::ipam::v1::subject::Subject;
use proto::ipam::v1::{Event, Lease};

/// A log, replayed.
#[derive(Default)]
pub(super) struct Log {
    /// What each lease was from a revision on; none: it was gone.
    leases: BTreeMap<String, Vec<(u64, Option<Lease>)>>,
    /// Which revision gave the pool a value of the label.
    turns: BTreeMap<String, u64>,
    /// Who holds an address.
    held: BTreeMap<String, String>,
    pub(super) last: u64,
}

impl Log {
    /// Replays events behind a revision; what is wrong with them is added to `violations`.
    pub(super) fn replay(events: &[Event], from: u64, violations: &mut Vec<String>) -> Log {
        let mut log = Log {
            last: from,
            ..Log::default()
        };
        for event in events {
            if event.revision != log.last + 1 {
                violations.push(format!(
                    "a watcher saw revision {} behind {}",
                    event.revision, log.last
                ));
            }
            log.last = event.revision;
            let side = |side: &Option<proto::ipam::v1::Subject>| side.as_ref()?.subject.clone();
            match (side(&event.before), side(&event.after)) {
                (before, Some(Subject::Lease(after))) => {
                    log.change(event.revision, lease(before), Some(after), violations);
                }
                (Some(Subject::Lease(before)), None) => {
                    log.change(event.revision, Some(before), None, violations);
                }
                (_, Some(Subject::Pool(pool))) => {
                    if let Some(turn) = pool.labels.get("turn") {
                        // A server that was silent may do once more what another one did.
                        log.turns.entry(turn.clone()).or_insert(event.revision);
                    }
                }
                _ => {}
            }
        }
        log
    }

    fn change(
        &mut self,
        revision: u64,
        before: Option<Lease>,
        after: Option<Lease>,
        violations: &mut Vec<String>,
    ) {
        let Some(id) = after
            .as_ref()
            .or(before.as_ref())
            .map(|lease| lease.id.clone())
        else {
            return;
        };
        let states = self.leases.entry(id.clone()).or_default();
        let current = states.last().and_then(|(_, lease)| lease.clone());
        if current != before {
            violations.push(format!(
                "revision {revision} changes lease {id}, which was another one before it"
            ));
        }
        states.push((revision, after.clone()));
        for address in addresses(before.as_ref()) {
            self.held.remove(&address);
        }
        if let Some(lease) = &after
            && (lease.ipv4.is_empty() || lease.ipv6.is_empty())
        {
            violations.push(format!(
                "revision {revision} makes half a pair of lease {id}"
            ));
        }
        for address in addresses(after.as_ref()) {
            if let Some(other) = self.held.insert(address.clone(), id.clone()) {
                violations.push(format!(
                    "revision {revision} gives {address} to lease {id}, which lease {other} has"
                ));
            }
        }
    }

    /// The revision that made a lease, with what it made.
    pub(super) fn made(&self, id: &str) -> Option<(u64, &Lease)> {
        let (revision, lease) = self.leases.get(id)?.first()?;
        Some((*revision, lease.as_ref()?))
    }

    /// The revision that ended a lease.
    pub(super) fn ended(&self, id: &str) -> Option<u64> {
        let states = self.leases.get(id)?.iter();
        let mut ends = states.filter(|(_, lease)| {
            lease
                .as_ref()
                .is_none_or(|lease| lease.state() != proto::ipam::v1::lease::State::Active)
        });
        ends.next().map(|(revision, _)| *revision)
    }

    /// The revision that gave the pool a value of the label.
    pub(super) fn turn(&self, turn: &str) -> Option<u64> {
        self.turns.get(turn).copied()
    }

    /// The first revision of those between two, both included, at which a lease was this; a lease of none: at which there was no such
    /// lease.
    pub(super) fn was(&self, id: &str, lease: Option<&Lease>, between: (u64, u64)) -> Option<u64> {
        let (from, to) = between;
        let states = self.leases.get(id).map_or(&[][..], Vec::as_slice);
        let made = states.first().map_or(u64::MAX, |(revision, _)| *revision);
        if lease.is_none() && from < made {
            return Some(from);
        }
        let mut found = states
            .iter()
            .enumerate()
            .filter_map(|(at, (begins, state))| {
                let ends = states.get(at + 1).map_or(u64::MAX, |(next, _)| next - 1);
                let first = from.max(*begins);
                (state.as_ref() == lease && first <= to.min(ends)).then_some(first)
            });
        found.next()
    }

    /// What there is at the end.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        let last = self.leases.values().filter_map(|states| states.last());
        last.filter_map(|(_, lease)| lease.as_ref())
    }
}

fn lease(subject: Option<Subject>) -> Option<Lease> {
    match subject {
        Some(Subject::Lease(lease)) => Some(lease),
        _ => None,
    }
}

fn addresses(lease: Option<&Lease>) -> Vec<String> {
    let both = lease
        .into_iter()
        .flat_map(|lease| [&lease.ipv4, &lease.ipv6]);
    both.filter(|address| !address.is_empty())
        .cloned()
        .collect()
}
