//! CheckConsistency: what is remembered against the leases that are stored, in small steps, so that the decisions of
//! everybody else go on in between. Each step looks at a part that no other step looks at, and at all of it at once.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::draft::{Draft, held};
use super::gone::GONE;
use super::state::{Half, Held, PoolId, State};
use crate::error::{Error, Family};
use crate::store::LeaseId;

/// Leases that one step looks at: a few milliseconds.
const PAGE: usize = 1000;

/// What a step looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Stored leases with a number above `after` and up to `until`, and what is remembered of them.
    Leases {
        /// The last one of the step before.
        after: LeaseId,
        /// The newest one when the check began.
        until: LeaseId,
    },
    /// Addresses of a pool from `from` on, and who holds them.
    Addresses {
        /// The pool.
        pool: PoolId,
        /// The family.
        family: Family,
        /// The first address.
        from: u128,
    },
    /// Revisions of the history above `after` and up to `until`.
    History {
        /// The last one of the step before.
        after: u64,
        /// The newest one when this part of the check began.
        until: u64,
    },
}

/// What a step found.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Leases that were looked at.
    pub leases: u64,
    /// Pools of which the last address was looked at.
    pub pools: u64,
    /// What does not agree, a sentence each.
    pub problems: Vec<String>,
    /// What the next step looks at; nothing: this was the last one.
    pub next: Option<Place>,
}

impl Draft<'_> {
    /// Where a check begins.
    pub fn check_begin(&self) -> Place {
        Place::Leases {
            after: LeaseId(0),
            until: self.newest_lease(),
        }
    }

    /// Compares a part. To be called while nothing of a group is decided.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn check(&self, place: Place) -> Result<Step, Error> {
        match place {
            Place::Leases { after, until } => self.check_leases(after, until),
            Place::Addresses { pool, family, from } => Ok(self.check_addresses(pool, family, from)),
            Place::History { after, until } => self.check_history(after, until),
        }
    }

    fn newest_lease(&self) -> LeaseId {
        let newest = self.state.revision;
        LeaseId(newest.saturating_add(self.state.origin.lease_offset))
    }

    fn check_leases(&self, after: LeaseId, until: LeaseId) -> Result<Step, Error> {
        let page = self.store.leases(after, PAGE)?;
        let whole = page.len() == PAGE;
        let mut step = Step::default();
        let mut stored = BTreeMap::new();
        for lease in page {
            match lease.id.parse::<LeaseId>() {
                Ok(id) => stored.insert(id, lease),
                Err(()) => {
                    let problem = format!("a stored lease has the id {:?}", lease.id);
                    step.problems.push(problem);
                    None
                }
            };
        }
        let end = match stored.keys().next_back() {
            Some(&last) if whole && last < until => last,
            _ => until,
        };
        stored.retain(|id, _| *id <= end);
        step.leases = stored.len() as u64;
        let range = (Bound::Excluded(after), Bound::Included(end));
        let remembered = (after < end).then(|| self.state.leases.range(range));
        for (id, remembered) in remembered.into_iter().flatten() {
            let problem = match stored.remove(id).map(|lease| held(self.state, &lease)) {
                None => Some("is remembered, but not stored".to_owned()),
                Some(Ok(stored)) if stored == *remembered => unindexed(self.state, *id, remembered),
                Some(Ok(_)) => Some("is not remembered as it is stored".to_owned()),
                Some(Err(error)) => Some(error.to_string()),
            };
            step.problems
                .extend(problem.map(|problem| format!("lease {id}: {problem}")));
        }
        let forgotten = stored.keys();
        step.problems
            .extend(forgotten.map(|id| format!("lease {id}: is stored, but not remembered")));
        step.next = if end < until {
            Some(Place::Leases { after: end, until })
        } else {
            let first = self.state.pools.keys().next();
            let first = first.filter(|pool| **pool != GONE);
            let first = first.map(|&pool| beginning(pool, Family::V4));
            first.or_else(|| Some(self.history()))
        };
        Ok(step)
    }

    fn check_addresses(&self, pool: PoolId, family: Family, from: u128) -> Step {
        let mut step = Step::default();
        let state = self.state.pools.get(&pool);
        if let Some(half) = state.and_then(|state| state.half(family)) {
            let name = state.map_or("", |state| state.pool.name());
            let mut last = None;
            for (&number, id) in half.held.range(from..).take(PAGE) {
                let holder = self.state.leases.get(id);
                let right = holder
                    .is_some_and(|held| held.pool == pool && held.number(family) == Some(number));
                if !right {
                    let address = half.subnet.address(number);
                    let problem = format!("pool {name}: {address} is not held by lease {id}");
                    step.problems.push(problem);
                }
                last = Some(number);
            }
            let rest = last.and_then(|last| last.checked_add(1));
            if let Some(from) = rest.filter(|&from| half.held.range(from..).next().is_some()) {
                step.next = Some(Place::Addresses { pool, family, from });
                return step;
            }
            let resting = state.into_iter().flat_map(|state| &state.resting);
            let resting = resting.filter(|(_, id)| {
                let held = self.state.leases.get(id);
                held.is_some_and(|held| held.number(family).is_some())
            });
            check_counts(name, half, resting.count() as u128, &mut step.problems);
        }
        step.next = match family {
            Family::V4 => Some(beginning(pool, Family::V6)),
            Family::V6 => {
                step.pools = 1;
                let behind = (Bound::Excluded(pool), Bound::Unbounded);
                let next = self.state.pools.range(behind).next();
                let next = next.filter(|(pool, _)| **pool != GONE);
                let next = next.map(|(&pool, _)| beginning(pool, Family::V4));
                next.or_else(|| Some(self.history()))
            }
        };
        step
    }

    fn history(&self) -> Place {
        Place::History {
            after: self.state.oldest_revision.saturating_sub(1),
            until: self.state.revision,
        }
    }

    /// Each revision that is kept has an event, the newest one too.
    fn check_history(&self, after: u64, until: u64) -> Result<Step, Error> {
        // What was forgotten since the step before is not missed.
        let mut last = after.max(self.state.oldest_revision.saturating_sub(1));
        let mut step = Step::default();
        let page = self.store.events(last, PAGE)?;
        let mut missing = |first: u64, last: u64| {
            if first <= last {
                let problem = format!("the history lacks revisions {first} to {last}");
                step.problems.push(problem);
            }
        };
        let whole = page.len() == PAGE;
        for event in page.iter().filter(|event| event.revision <= until) {
            missing(last + 1, event.revision - 1);
            last = event.revision;
        }
        if !whole || last >= until {
            missing(last + 1, until);
        } else {
            step.next = Some(Place::History { after: last, until });
        }
        Ok(step)
    }
}

fn beginning(pool: PoolId, family: Family) -> Place {
    Place::Addresses {
        pool,
        family,
        from: 0,
    }
}

/// What of a lease is not where it would be looked for.
fn unindexed(state: &State, id: LeaseId, held: &Held) -> Option<String> {
    let keys = [
        (&state.by_attachment, held.keys.attachment, "attachment"),
        (&state.by_request, held.keys.request, "request id"),
        (&state.by_pod, held.keys.pod, "pod"),
        (&state.by_mac, held.keys.mac, "MAC"),
    ];
    let lost = keys
        .iter()
        .find(|(set, key, _)| *key != 0 && !set.contains(&(*key, id)));
    if let Some((.., what)) = lost {
        return Some(format!("is not found by its {what}"));
    }
    if held.until != i64::MAX && !state.deadlines.contains(&(held.until, id)) {
        return Some("has an end that would be missed".to_owned());
    }
    let of = (held.pool, held.keys.namespace);
    if of.1 != 0 && !held.quarantined && !state.by_namespace.contains_key(&of) {
        return Some("is not counted for its namespace".to_owned());
    }
    let pool = state.pools.get(&held.pool)?;
    if held.quarantined && !pool.resting.contains(&(held.until, id)) {
        return Some("is not among those that rest".to_owned());
    }
    [Family::V4, Family::V6].into_iter().find_map(|family| {
        let number = held.number(family)?;
        let half = pool.half(family)?;
        let address = half.subnet.address(number);
        match half.held.get(&number) {
            Some(&holder) if holder == id => half
                .free
                .contains(number)
                .then(|| format!("its address {address} counts as free")),
            Some(other) => Some(format!("lease {other} has its address {address}, too")),
            None => Some(format!("its address {address} counts as nobody's")),
        }
    })
}

fn check_counts(pool: &str, half: &Half, resting: u128, problems: &mut Vec<String>) {
    let family = half.subnet.family;
    if resting != half.quarantined {
        let counted = half.quarantined;
        problems.push(format!(
            "pool {pool}: {resting} {family} addresses rest, {counted} are counted"
        ));
    }
    let kept = half
        .reserved
        .keys()
        .filter(|number| !half.held.contains_key(number))
        .count();
    let sum = half.free.count() + (half.held.len() + kept) as u128;
    let capacity = half.subnet.leasable.count();
    if sum != capacity {
        problems.push(format!(
            "pool {pool}: {sum} of {capacity} {family} addresses are accounted for"
        ));
    }
}

#[cfg(test)]
mod tests;
