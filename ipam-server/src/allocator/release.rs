//! The ends of leases: Release, ReleaseAttachment, ReleaseUnlisted, expiry; and Renew, which puts one off.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use proto::ipam::v1::{self as ipam, EventType};

use super::draft::{Draft, SERVER};
use super::state::State;
use crate::error::Error;
use crate::lease::{attachment_key, timestamp};
use crate::pool::Problems;
use crate::store::LeaseId;

/// Leases that one group ends because of their time: more wait for the next group.
const ENDS: usize = 1024;

impl Draft<'_> {
    /// Ends a lease by id.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`], also for one in quarantine; [`Error::Stale`].
    pub fn release(
        &mut self,
        request: &ipam::ReleaseRequest,
    ) -> Result<ipam::ReleaseResponse, Error> {
        let (id, lease) = self.by_id(&request.id)?;
        if lease.state() != ipam::lease::State::Active || !self.reaches(&lease) {
            return Err(Error::LeaseNotFound {
                id: request.id.clone(),
            });
        }
        check_generation(&lease, request.generation)?;
        self.end(id, lease.clone(), EventType::Released)?;
        Ok(ipam::ReleaseResponse { lease: Some(lease) })
    }

    /// Ends the lease of an attachment, if there is one.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] if a name is empty.
    pub fn release_attachment(
        &mut self,
        request: &ipam::ReleaseAttachmentRequest,
    ) -> Result<ipam::ReleaseAttachmentResponse, Error> {
        let mut problems = Problems::default();
        for (field, value) in [
            ("network", &request.network),
            ("container_id", &request.container_id),
            ("ifname", &request.ifname),
        ] {
            if value.is_empty() {
                problems.add(field, "must not be empty");
            }
        }
        problems.into_result()?;
        let lease = self.held_by_attachment(&ipam::Owner {
            network: request.network.clone(),
            container_id: request.container_id.clone(),
            ifname: request.ifname.clone(),
            ..Default::default()
        })?;
        // A lease of another node is answered as none.
        let lease = lease.filter(|lease| self.reaches_attachment(lease));
        if let Some(lease) = &lease {
            let (id, _) = self.by_id(&lease.id)?;
            self.end(id, lease.clone(), EventType::Released)?;
        }
        Ok(ipam::ReleaseAttachmentResponse { lease })
    }

    /// The active lease of an attachment.
    pub(super) fn held_by_attachment(
        &self,
        owner: &ipam::Owner,
    ) -> Result<Option<ipam::Lease>, Error> {
        let key = attachment_key(&owner.network, &owner.container_id, &owner.ifname);
        for id in State::with_key(&self.state.by_attachment, key) {
            let lease = self.lease(id)?.filter(|lease| {
                let there = lease.owner.as_ref();
                lease.state() == ipam::lease::State::Active
                    && there.is_some_and(|there| same_attachment(there, owner))
            });
            if lease.is_some() {
                return Ok(lease);
            }
        }
        Ok(None)
    }

    /// Ends the leases of a network on a node that are not listed. `candidates` are leases that were so a
    /// moment ago: each is looked at again here.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] if network or node is empty.
    pub fn release_unlisted(
        &mut self,
        request: &ipam::ReleaseUnlistedRequest,
        candidates: &[LeaseId],
    ) -> Result<Vec<ipam::Lease>, Error> {
        let listed = listed(&request.attachments);
        let mut leases = Vec::new();
        for &id in candidates {
            let Some(lease) = self.lease(id)? else {
                continue;
            };
            let is_unlisted = is_unlisted(&lease, &request.network, &request.node, &listed);
            if is_unlisted && self.reaches(&lease) {
                self.end(id, lease.clone(), EventType::Reclaimed)?;
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    /// Makes a lease last longer.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`], [`Error::LeaseExpired`], [`Error::Stale`].
    pub fn renew(&mut self, request: &ipam::RenewRequest) -> Result<ipam::Lease, Error> {
        let mut problems = Problems::default();
        let ttl = request
            .ttl
            .as_ref()
            .map(|ttl| problems.duration("ttl", Some(ttl)));
        problems.into_result()?;
        let (id, before) = self.by_id(&request.id)?;
        if !self.reaches(&before) {
            return Err(Error::LeaseNotFound {
                id: request.id.clone(),
            });
        }
        let now = self.now.as_millisecond();
        let ended = self
            .state
            .leases
            .get(&id)
            .is_none_or(|held| held.quarantined || held.until <= now);
        if ended {
            return Err(Error::LeaseExpired {
                id: request.id.clone(),
            });
        }
        check_generation(&before, request.generation)?;
        let (_, state) = self
            .state
            .pool(&before.pool)
            .ok_or_else(|| Error::PoolNotFound {
                pool: before.pool.clone(),
            })?;
        let mut after = before.clone();
        after.renew_time = Some(timestamp(self.now));
        let owner = before.owner.clone().unwrap_or_default();
        after.expire_time = self
            .expiry(state, &owner, ttl.filter(|ttl| !ttl.is_zero()))
            .map(timestamp);
        after.generation += 1;
        self.put_lease(EventType::Updated, id, Some(before), Some(after.clone()))?;
        Ok(after)
    }

    /// Ends what has had its time: leases that expire, quarantines that are over, the wait of a restored store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn end_due(&mut self) -> Result<(), Error> {
        self.set_caller(SERVER, None);
        self.end_waiting();
        let now = self.now.as_millisecond();
        let due: Vec<_> = self
            .state
            .deadlines
            .range(..=(now, LeaseId(u64::MAX)))
            .take(ENDS)
            .copied()
            .collect();
        for (_, id) in due {
            let Some(lease) = self.lease(id)? else {
                continue;
            };
            if lease.state() == ipam::lease::State::Active {
                self.end(id, lease, EventType::Expired)?;
            } else {
                self.put_lease(EventType::Freed, id, Some(lease), None)?;
            }
        }
        Ok(())
    }

    /// Ends an active lease: into quarantine if its pool has one, else at once.
    pub(super) fn end(
        &mut self,
        id: LeaseId,
        lease: ipam::Lease,
        why: EventType,
    ) -> Result<(), Error> {
        let rest = self
            .state
            .pool(&lease.pool)
            .map(|(_, state)| state.pool.quarantine)
            .unwrap_or_default();
        let after = (!rest.is_zero()).then(|| {
            let mut after = lease.clone();
            after.set_state(ipam::lease::State::Quarantined);
            after.generation += 1;
            after.expire_time = None;
            let until = SignedDuration::try_from(rest)
                .ok()
                .and_then(|rest| self.now.checked_add(rest).ok())
                .unwrap_or(Timestamp::MAX);
            after.quarantine_until_time = Some(timestamp(until));
            after
        });
        self.put_lease(why, id, Some(lease), after)
    }

    pub(super) fn by_id(&self, text: &str) -> Result<(LeaseId, ipam::Lease), Error> {
        let not_found = || Error::LeaseNotFound {
            id: text.to_owned(),
        };
        let id: LeaseId = text.parse().map_err(|()| not_found())?;
        let lease = self.lease(id)?.ok_or_else(not_found)?;
        Ok((id, lease))
    }
}

/// Whether two owners are the same attachment.
pub(super) fn same_attachment(one: &ipam::Owner, two: &ipam::Owner) -> bool {
    one.network == two.network && one.container_id == two.container_id && one.ifname == two.ifname
}

fn check_generation(lease: &ipam::Lease, given: u64) -> Result<(), Error> {
    if given == 0 || given == lease.generation {
        return Ok(());
    }
    Err(Error::Stale {
        subject: format!("lease {}", lease.id),
        what: "generation",
        present: lease.generation.to_string(),
        given: given.to_string(),
    })
}

/// Attachments as a set of container and interface.
pub(crate) fn listed(attachments: &[ipam::Attachment]) -> HashSet<(&str, &str)> {
    attachments
        .iter()
        .map(|at| (at.container_id.as_str(), at.ifname.as_str()))
        .collect()
}

/// Whether a lease is an active attachment of the network on the node (empty: of any) that is not listed.
pub(crate) fn is_unlisted(
    lease: &ipam::Lease,
    network: &str,
    node: &str,
    listed: &HashSet<(&str, &str)>,
) -> bool {
    let Some(owner) = &lease.owner else {
        return false;
    };
    lease.state() == ipam::lease::State::Active
        && !owner.container_id.is_empty()
        && (network.is_empty() || owner.network == network)
        && (node.is_empty() || owner.node.eq_ignore_ascii_case(node))
        && !listed.contains(&(owner.container_id.as_str(), owner.ifname.as_str()))
}
