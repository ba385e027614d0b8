//! ReportHeld: leases of attachments that live on a node, made as the node's records have them.

use std::sync::Arc;

use super::choose::Choice;
use super::draft::Draft;
use super::state::PoolId;
use crate::error::Error;
use crate::event::EventType;
use crate::family::{Family, number};
use crate::lease::{Lease, Owner};
use crate::request::{Attachments, Wish};

/// Conflicts that an outcome describes.
const DETAILS: usize = 100;

/// What an attachment has: the request of its Allocate, and the addresses that came of it.
#[derive(Clone, Debug)]
pub struct ReportedLease {
    /// As it asked.
    pub asked: Wish,
    /// The same with the addresses that it has.
    pub has: Wish,
}

/// What became of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptOutcome {
    /// Leases that were made.
    pub adopted: u64,
    /// Attachments that had their lease.
    pub unchanged: u64,
    /// Attachments that cannot have one.
    pub conflicts: u64,
    /// Those of which no pool exists.
    pub missing_pools: u64,
    /// Why they cannot, a sentence each: the first ones.
    pub details: Vec<String>,
}

impl AdoptOutcome {
    /// Counts what cannot be adopted, and says why.
    pub fn add_conflict(&mut self, owner: &Owner, error: &Error) {
        self.conflicts += 1;
        self.missing_pools += u64::from(matches!(error, Error::PoolNotFound { .. }));
        if self.details.len() < DETAILS {
            let Owner {
                network,
                ifname,
                namespace,
                pod,
                ..
            } = owner;
            let detail = format!("pod {namespace}/{pod}, network {network} ({ifname}): {error}");
            self.details.push(detail);
        }
    }

    /// Adds what became of another part of the report.
    pub fn add(&mut self, more: AdoptOutcome) {
        self.adopted += more.adopted;
        self.unchanged += more.unchanged;
        self.conflicts += more.conflicts;
        self.missing_pools += more.missing_pools;
        self.details.extend(more.details);
        self.details.truncate(DETAILS);
    }
}

/// Who reports, and all that it has.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// The node.
    pub node: &'a str,
    /// All attachments of the report.
    pub attachments: &'a Attachments,
}

impl Draft<'_> {
    /// Makes the leases that do not exist.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn adopt(
        &mut self,
        reporter: Reporter<'_>,
        leases: &[ReportedLease],
    ) -> Result<AdoptOutcome, Error> {
        let mut answer = AdoptOutcome::default();
        for lease in leases {
            match self.try_part(|draft| draft.adopt_one(reporter, lease)) {
                Ok(true) => answer.adopted += 1,
                Ok(false) => answer.unchanged += 1,
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => answer.add_conflict(&lease.has.owner, &error),
            }
        }
        Ok(answer)
    }

    /// Whether a lease was made; false: the attachment has it.
    fn adopt_one(
        &mut self,
        reporter: Reporter<'_>,
        reported: &ReportedLease,
    ) -> Result<bool, Error> {
        let has = &reported.has;
        if let Some(lease) = self.held_by_attachment(&has.owner)? {
            self.check_reported(reporter.node, has, &lease)?;
            self.keep_unended(lease, reported.asked.ttl.is_some())?;
            return Ok(false);
        }
        // A store that waits for this node's report takes what the node's records hold; else it may be no more than what
        // Allocate would lease.
        let is_awaited = self.state.origin.awaited.contains(reporter.node);
        let pool = self.pool_with(has)?;
        for family in Family::ALL {
            self.evict(reporter, pool, family, has)?;
        }
        if !is_awaited {
            self.check_quota(pool, &has.owner.namespace)?;
        }
        let id = self.next_lease();
        let choice = Choice {
            ipv4: has.address(Family::V4).map(number),
            ipv6: has.address(Family::V6).map(number),
        };
        let lease = self.new_lease(id, self.pool(pool)?, &reported.asked, choice);
        self.put_lease(EventType::Created, id, None, Some(Arc::new(lease)))?;
        Ok(true)
    }

    /// Whether the lease of an attachment is as its node reports it.
    fn check_reported(&self, node: &str, has: &Wish, lease: &Lease) -> Result<(), Error> {
        if !self.reaches_attachment(lease) {
            return Err(Error::OtherNode {
                node: node.to_owned(),
                what: "an attachment",
            });
        }
        let mut reported = has.requested.ips.iter();
        match reported.all(|&ip| lease.address(Family::of(ip)) == Some(ip)) {
            true => Ok(()),
            false => Err(Error::RequestMismatch {
                id: lease.id.to_string(),
                difference: "addresses".to_owned(),
            }),
        }
    }

    /// The first pool of a request that is open to it and has all its addresses.
    fn pool_with(&self, has: &Wish) -> Result<PoolId, Error> {
        let names = &has.requested.pools;
        let mut pools = names
            .iter()
            .filter_map(|name| self.state.pool(name))
            .filter(|(_, pool)| pool.pool.is_open_to(&has.owner.namespace))
            .peekable();
        if let (None, Some(pool)) = (pools.peek(), names.first()) {
            let pool = pool.clone();
            return Err(Error::PoolNotFound { pool });
        }
        let ips = &has.requested.ips;
        let fits = pools.find(|(_, pool)| {
            ips.iter().all(|&ip| {
                let addresses = pool.family(Family::of(ip));
                addresses.is_some_and(|addresses| addresses.subnet.leasable.contains(number(ip)))
            })
        });
        match (fits, ips.first()) {
            (Some((id, _)), _) => Ok(id),
            (None, Some(&address)) => Err(Error::AddressNotInPool {
                address,
                pools: names.clone(),
            }),
            (None, None) => Err(Error::field("ips", "must not be empty")),
        }
    }

    /// Ends a lease that has an address of the reported one, if it is in quarantine or its attachment does not exist any more.
    fn evict(
        &mut self,
        reporter: Reporter<'_>,
        id: PoolId,
        family: Family,
        has: &Wish,
    ) -> Result<(), Error> {
        let pool = self.pool(id)?;
        let (Some(addresses), Some(address)) = (pool.family(family), has.address(family)) else {
            return Ok(());
        };
        let name = || pool.pool.name.as_ref().to_owned();
        if let Some(reservation) = addresses.reserved.get(&number(address))
            && self
                .reservation_for(id, has)
                .is_none_or(|own| own.reservation.name != *reservation)
        {
            return Err(Error::AddressReserved {
                address,
                pool: name(),
                why: self.why_reserved(reservation),
            });
        }
        let Some(&holder) = addresses.held.get(&number(address)) else {
            return Ok(());
        };
        let Some(lease) = self.lease(holder)? else {
            return Ok(());
        };
        let is_awaited = self.state.origin.awaited.contains(reporter.node);
        let why = if !lease.is_active() && (is_awaited || self.reaches(&lease)) {
            // It is in quarantine, but was leased again meanwhile.
            EventType::Freed
        } else if reporter.misses(&lease) {
            EventType::Reclaimed
        } else {
            return Err(Error::AddressInUse {
                address,
                pool: lease.pool.as_ref().to_owned(),
                holder: self.describe(holder)?,
            });
        };
        self.put_lease(why, holder, Some(lease), None)
    }

    /// Takes the end from a lease that a node's record holds and whose request named none: older servers gave it that of the
    /// pool, which nobody renews.
    fn keep_unended(&mut self, lease: Arc<Lease>, has_ttl: bool) -> Result<(), Error> {
        if has_ttl || lease.expire_time.is_none() {
            return Ok(());
        }
        let after = Lease {
            expire_time: None,
            generation: lease.generation + 1,
            ..(*lease).clone()
        };
        self.put_lease(
            EventType::Updated,
            lease.id,
            Some(lease),
            Some(Arc::new(after)),
        )
    }
}

impl Reporter<'_> {
    /// Whether a lease is of an attachment of the reporting node that does not exist any more.
    fn misses(&self, lease: &Lease) -> bool {
        let owner = lease.owner();
        !owner.container_id.is_empty()
            && owner.is_on(self.node)
            && !self.attachments.contains(owner)
    }
}
