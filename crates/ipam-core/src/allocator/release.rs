//! The ends of leases: Release, ReleaseAttachment, ReleaseUnlisted, expiry; and Renew, which puts one off.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::draft::{Draft, not_found};
use crate::error::Error;
use crate::event::EventType;
use crate::keys::attachment_key;
use crate::lease::{Lease, LeaseId, LeaseState, Owner};
use crate::request::Inventory;

/// Leases that one group ends because of their time: more wait for the next group.
const ENDS: usize = 1024;

impl Draft<'_> {
    /// Ends a lease; generation 0 is any.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`], also for one in quarantine; [`Error::Stale`].
    pub fn release(&mut self, id: LeaseId, generation: u64) -> Result<Arc<Lease>, Error> {
        let lease = self.existing_lease(id)?;
        if !lease.is_active() || !self.reaches(&lease) {
            return Err(not_found(id));
        }
        check_generation(&lease, generation)?;
        self.end(lease.clone(), EventType::Released)?;
        Ok(lease)
    }

    /// Ends the lease of an attachment, if there is one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn release_attachment(&mut self, attachment: &Owner) -> Result<Option<Arc<Lease>>, Error> {
        let lease = self.held_by_attachment(attachment)?;
        // A lease of another node is answered as none.
        let lease = lease.filter(|lease| self.reaches_attachment(lease));
        if let Some(lease) = &lease {
            self.end(lease.clone(), EventType::Released)?;
        }
        Ok(lease)
    }

    /// The active lease of an attachment.
    pub(super) fn held_by_attachment(&self, owner: &Owner) -> Result<Option<Arc<Lease>>, Error> {
        let key = attachment_key(owner);
        for id in self.state.by_attachment.with(key) {
            let lease = self
                .lease(id)?
                .filter(|lease| lease.is_active() && lease.owner().is_same_attachment(owner));
            if lease.is_some() {
                return Ok(lease);
            }
        }
        Ok(None)
    }

    /// Ends the leases that an inventory misses. `candidates` are leases that were so a
    /// moment ago: each is checked again here.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn release_unlisted(
        &mut self,
        inventory: &Inventory,
        candidates: &[LeaseId],
    ) -> Result<Vec<Arc<Lease>>, Error> {
        let mut leases = Vec::new();
        for &id in candidates {
            let Some(lease) = self.lease(id)? else {
                continue;
            };
            if inventory.misses(&lease) && self.reaches(&lease) {
                self.end(lease.clone(), EventType::Reclaimed)?;
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    /// Makes a lease last longer; generation 0 is any.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`], [`Error::LeaseExpired`], [`Error::Stale`].
    pub fn renew(
        &mut self,
        id: LeaseId,
        generation: u64,
        ttl: Option<Duration>,
    ) -> Result<Arc<Lease>, Error> {
        let before = self.existing_lease(id)?;
        if !self.reaches(&before) {
            return Err(not_found(id));
        }
        let now = self.now.as_millisecond();
        let record = self.state.leases.get(&id);
        if record.is_none_or(|record| record.is_quarantined || record.until <= now) {
            return Err(Error::LeaseExpired { id: id.to_string() });
        }
        check_generation(&before, generation)?;
        let (_, pool) = self.pool_named(&before.pool)?;
        let after = Arc::new(Lease {
            renew_time: Some(self.now),
            expire_time: self.expiry(&pool.pool, before.owner(), ttl),
            generation: before.generation + 1,
            ..(*before).clone()
        });
        self.put_lease(EventType::Updated, id, Some(before), Some(after.clone()))?;
        Ok(after)
    }

    /// Ends what has had its time: leases that expire, quarantines that are over, the wait of a restored store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn end_due(&mut self) -> Result<(), Error> {
        self.set_server();
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
            match lease.is_active() {
                true => self.end(lease, EventType::Expired)?,
                false => self.put_lease(EventType::Freed, id, Some(lease), None)?,
            }
        }
        Ok(())
    }

    /// Ends an active lease: into quarantine if its pool has one, else at once.
    pub(super) fn end(&mut self, lease: Arc<Lease>, why: EventType) -> Result<(), Error> {
        let pool = self.state.pool(&lease.pool);
        let quarantine = pool.map(|(_, pool)| pool.pool.quarantine());
        let quarantine = quarantine.filter(|quarantine| !quarantine.is_zero());
        let after = quarantine.map(|quarantine| {
            let until = SignedDuration::try_from(quarantine).ok();
            let until = until.and_then(|quarantine| self.now.checked_add(quarantine).ok());
            Arc::new(Lease {
                state: LeaseState::Quarantined,
                generation: lease.generation + 1,
                expire_time: None,
                quarantine_until: Some(until.unwrap_or(Timestamp::MAX)),
                ..(*lease).clone()
            })
        });
        self.put_lease(why, lease.id, Some(lease), after)
    }
}

fn check_generation(lease: &Lease, wanted: u64) -> Result<(), Error> {
    if wanted == 0 || wanted == lease.generation {
        return Ok(());
    }
    Err(Error::Stale {
        subject: format!("lease {}", lease.id),
        what: "generation",
        present: lease.generation.to_string(),
        given: wanted.to_string(),
    })
}
