//! ReclaimOrphans: ends leases whose owners are gone, and never at first sight.

use std::collections::HashSet;

use proto::ipam::v1::{self as ipam, EventType};

use super::draft::Draft;
use super::release::{is_unlisted, listed};
use crate::error::Error;
use crate::page::Page;
use crate::pool::Problems;
use crate::store::LeaseId;

/// The least time between two observations.
const GRACE_MILLIS: i64 = 60_000;
/// Leases that one request ends at most.
const ENDS: usize = 1024;

impl Draft<'_> {
    /// Ends the leases of `candidates` that are missed for the second time, at least the grace period after the
    /// first and unchanged in between; remembers those that are missed for the first time.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] for a grace period that is too short.
    pub fn reclaim_orphans(
        &mut self,
        request: &ipam::ReclaimOrphansRequest,
        candidates: &[LeaseId],
    ) -> Result<ipam::ReclaimOrphansResponse, Error> {
        let grace = grace(request)?;
        let listed = listed(&request.attachments);
        let now = self.now.as_millisecond();
        let mut answer = ipam::ReclaimOrphansResponse::default();
        let (mut reclaimed, mut suspected) = (Page::new(ENDS), Page::new(usize::MAX));
        let missed: HashSet<LeaseId> = candidates.iter().copied().collect();
        // Who was seen again is no suspect any more.
        let cleared: Vec<_> = self
            .state
            .suspects
            .keys()
            .copied()
            .filter(|id| !missed.contains(id))
            .collect();
        for id in cleared {
            let lease = self.lease(id)?;
            let concerned = lease.as_ref().is_none_or(|lease| {
                is_unlisted(lease, &request.network, &request.node, &HashSet::new())
            });
            if concerned && !request.validate_only {
                self.state.suspects.remove(&id);
            }
        }
        for &id in candidates {
            let (Some(lease), Some(held)) = (self.lease(id)?, self.state.leases.get(&id).copied())
            else {
                continue;
            };
            if !is_unlisted(&lease, &request.network, &request.node, &listed) {
                continue;
            }
            match self.state.suspects.get(&id) {
                Some(&(generation, since)) if generation == held.generation => {
                    if now - since < grace {
                        answer.suspected_count += 1;
                        suspected.fill(lease);
                    } else if answer.pending_count > 0 || reclaimed.push(lease.clone()).is_err() {
                        answer.pending_count += 1;
                    } else {
                        self.end(id, lease, EventType::Reclaimed)?;
                    }
                }
                _ => {
                    if !request.validate_only {
                        self.state.suspects.insert(id, (held.generation, now));
                    }
                    answer.suspected_count += 1;
                    suspected.fill(lease);
                }
            }
        }
        answer.reclaimed = reclaimed.into_entries();
        answer.suspected = suspected.into_entries();
        Ok(answer)
    }
}

fn grace(request: &ipam::ReclaimOrphansRequest) -> Result<i64, Error> {
    let mut problems = Problems::default();
    let grace = problems.duration("grace", request.grace.as_ref());
    let millis = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    if request.grace.is_some() && millis < GRACE_MILLIS {
        problems.add("grace", "must be at least 60s");
    }
    problems.into_result()?;
    Ok(millis.max(GRACE_MILLIS))
}
