//! CheckConsistency: what is remembered against the leases that are stored, in small steps, so that the decisions of
//! everybody else go on in between. Each step reads a part that no other step reads, and all of it at once.

mod lease;

use std::collections::BTreeMap;
use std::ops::Bound;

use super::deleted::DELETED;
use super::draft::Draft;
use super::state::{FamilyUse, PoolId};
use crate::error::Error;
use crate::family::Family;
use crate::lease::LeaseId;

/// Leases that one step reads: a few milliseconds.
const PAGE: usize = 1000;

/// What a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
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
    /// Leases that were read.
    pub leases: u64,
    /// Pools of which the last address was read.
    pub pools: u64,
    /// What does not agree, a sentence each.
    pub problems: Vec<String>,
    /// What the next step reads; none: this was the last one.
    pub next: Option<Cursor>,
}

impl Draft<'_> {
    /// Where a check begins.
    pub fn check_begin(&self) -> Cursor {
        let newest = self.state.revision;
        Cursor::Leases {
            after: LeaseId(0),
            until: LeaseId(newest.saturating_add(self.state.origin.lease_offset)),
        }
    }

    /// Compares a part. To be called while nothing of a group is decided.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn check(&self, cursor: Cursor) -> Result<Step, Error> {
        match cursor {
            Cursor::Leases { after, until } => self.check_leases(after, until),
            Cursor::Addresses { pool, family, from } => {
                Ok(self.check_addresses(pool, family, from))
            }
            Cursor::History { after, until } => self.check_history(after, until),
        }
    }

    fn check_leases(&self, after: LeaseId, until: LeaseId) -> Result<Step, Error> {
        let page = self.store.leases(after, PAGE)?;
        let is_full = page.len() == PAGE;
        let mut step = Step::default();
        let stored = page.into_iter().map(|lease| (lease.id, lease));
        let mut stored: BTreeMap<_, _> = stored.collect();
        let end = match stored.keys().next_back() {
            Some(&last) if is_full && last < until => last,
            _ => until,
        };
        stored.retain(|id, _| *id <= end);
        step.leases = stored.len() as u64;
        let range = (Bound::Excluded(after), Bound::Included(end));
        let remembered = (after < end).then(|| self.state.leases.range(range));
        for (id, record) in remembered.into_iter().flatten() {
            let problem = match stored.remove(&id).map(|lease| self.state.record_of(&lease)) {
                None => Some("is remembered, but not stored".to_owned()),
                Some(Ok(stored)) if stored == *record => lease::unindexed(self.state, id, record),
                Some(Ok(_)) => Some("is not remembered as it is stored".to_owned()),
                Some(Err(error)) => Some(error.to_string()),
            };
            step.problems
                .extend(problem.map(|problem| format!("lease {id}: {problem}")));
        }
        let forgotten = stored.keys();
        step.problems
            .extend(forgotten.map(|id| format!("lease {id}: is stored, but not remembered")));
        step.next = Some(match end < until {
            true => Cursor::Leases { after: end, until },
            false => self.first_pool_behind(Bound::Unbounded),
        });
        Ok(step)
    }

    /// The first addresses of the next pool; behind the last pool, the history.
    fn first_pool_behind(&self, last: Bound<PoolId>) -> Cursor {
        let behind = (last, Bound::Excluded(DELETED));
        match self.state.pools.range(behind).next() {
            Some((&pool, _)) => beginning(pool, Family::V4),
            None => Cursor::History {
                after: self.state.oldest_revision.saturating_sub(1),
                until: self.state.revision,
            },
        }
    }

    fn check_addresses(&self, id: PoolId, family: Family, from: u128) -> Step {
        let mut step = Step::default();
        let pool = self.state.pools.get(&id);
        if let Some(addresses) = pool.and_then(|pool| pool.family(family)) {
            let name = pool.map_or("", |pool| &pool.pool.name);
            let mut last = None;
            for (number, holder) in addresses.held.range(from..).take(PAGE) {
                let record = self.state.leases.get(holder);
                let is_right = record.is_some_and(|record| {
                    record.pool == id && record.number(family) == Some(number)
                });
                if !is_right {
                    let address = addresses.subnet.address(number);
                    let problem = format!("pool {name}: {address} is not held by lease {holder}");
                    step.problems.push(problem);
                }
                last = Some(number);
            }
            let rest = last.and_then(|last| last.checked_add(1));
            let has_more = |from: &u128| addresses.held.range(*from..).next().is_some();
            if let Some(from) = rest.filter(has_more) {
                step.next = Some(Cursor::Addresses {
                    pool: id,
                    family,
                    from,
                });
                return step;
            }
            let quarantined = pool.into_iter().flat_map(|pool| &pool.quarantined);
            let quarantined = quarantined.filter(|(_, id)| {
                let record = self.state.leases.get(id);
                record.is_some_and(|record| record.number(family).is_some())
            });
            let quarantined = quarantined.count() as u128;
            check_counts(name, addresses, quarantined, &mut step.problems);
        }
        step.next = Some(match family {
            Family::V4 => beginning(id, Family::V6),
            Family::V6 => {
                step.pools = 1;
                self.first_pool_behind(Bound::Excluded(id))
            }
        });
        step
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
        let is_full = page.len() == PAGE;
        for event in page.iter().filter(|event| event.revision <= until) {
            missing(last + 1, event.revision - 1);
            last = event.revision;
        }
        if !is_full || last >= until {
            missing(last + 1, until);
        } else {
            step.next = Some(Cursor::History { after: last, until });
        }
        Ok(step)
    }
}

fn beginning(pool: PoolId, family: Family) -> Cursor {
    Cursor::Addresses {
        pool,
        family,
        from: 0,
    }
}

fn check_counts(pool: &str, addresses: &FamilyUse, quarantined: u128, problems: &mut Vec<String>) {
    let family = addresses.subnet.family;
    if quarantined != addresses.quarantined {
        let counted = addresses.quarantined;
        problems.push(format!(
            "pool {pool}: {quarantined} {family} addresses are in quarantine, {counted} are counted"
        ));
    }
    let reserved = addresses
        .reserved
        .keys()
        .filter(|number| !addresses.held.contains_key(number))
        .count();
    let sum = addresses.free.count() + (addresses.held.len() + reserved) as u128;
    let capacity = addresses.subnet.leasable.count();
    if sum != capacity {
        problems.push(format!(
            "pool {pool}: {sum} of {capacity} {family} addresses are accounted for"
        ));
    }
}
