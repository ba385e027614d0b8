//! ReclaimOrphans: ends leases whose owners are gone, and never at first sight.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::draft::Draft;
use crate::error::Error;
use crate::event::EventType;
use crate::lease::{Lease, LeaseId};
use crate::request::Inventory;

/// The least time between two observations.
pub const LEAST_GRACE: Duration = Duration::from_secs(60);
/// Leases that one request ends at most.
const ENDS: usize = 1024;

/// What is to be reclaimed.
#[derive(Clone, Debug)]
pub struct Reclaim {
    /// What exists.
    pub inventory: Inventory,
    /// The time between two observations, at least [`LEAST_GRACE`].
    pub grace: Duration,
    /// Whether nothing is to change.
    pub validate_only: bool,
}

/// What was reclaimed.
#[derive(Clone, Debug, Default)]
pub struct Reclaimed {
    /// Leases that ended.
    pub reclaimed: Vec<Arc<Lease>>,
    /// Leases that were missed for the first time, or not long enough.
    pub suspected: Vec<Arc<Lease>>,
    /// Leases that would end, but for the size of the answer.
    pub pending: u64,
}

impl Draft<'_> {
    /// Ends the leases of `candidates` that are missed for the second time, at least the grace period after the
    /// first and unchanged in between; remembers those that are missed for the first time. No lease ends for which `has_room`
    /// says that the answer has no room.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn reclaim_orphans(
        &mut self,
        reclaim: &Reclaim,
        candidates: &[LeaseId],
        mut has_room: impl FnMut(&Lease) -> bool,
    ) -> Result<Reclaimed, Error> {
        let grace = i64::try_from(reclaim.grace.as_millis()).unwrap_or(i64::MAX);
        let now = self.now.as_millisecond();
        self.clear_suspects(reclaim, candidates)?;
        let mut answer = Reclaimed::default();
        for &id in candidates {
            let (Some(lease), Some(record)) = (self.lease(id)?, self.state.leases.get(&id)) else {
                continue;
            };
            if !reclaim.inventory.misses(&lease) {
                continue;
            }
            let generation = record.generation;
            let since = self.state.suspects.get(&id);
            let since = since.filter(|(suspected, _)| *suspected == generation);
            match since.map(|&(_, since)| since) {
                Some(since) if now - since < grace => answer.suspected.push(lease),
                Some(_) => {
                    let is_full = answer.pending > 0 || answer.reclaimed.len() >= ENDS;
                    if is_full || !has_room(&lease) {
                        answer.pending += 1;
                        continue;
                    }
                    answer.reclaimed.push(lease.clone());
                    self.end(lease, EventType::Reclaimed)?;
                }
                None => {
                    if !reclaim.validate_only {
                        self.state.suspects.insert(id, (generation, now));
                    }
                    answer.suspected.push(lease);
                }
            }
        }
        Ok(answer)
    }

    /// Forgets the suspects that were seen again.
    fn clear_suspects(&mut self, reclaim: &Reclaim, candidates: &[LeaseId]) -> Result<(), Error> {
        let missed: HashSet<LeaseId> = candidates.iter().copied().collect();
        let suspects = self.state.suspects.keys().copied();
        let seen: Vec<_> = suspects.filter(|id| !missed.contains(id)).collect();
        for id in seen {
            let lease = self.lease(id)?;
            let is_concerned = lease.is_none_or(|lease| reclaim.inventory.concerns(&lease));
            if is_concerned && !reclaim.validate_only {
                self.state.suspects.remove(&id);
            }
        }
        Ok(())
    }
}
