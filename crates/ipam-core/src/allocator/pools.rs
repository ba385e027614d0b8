//! Making, changing and removing pools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::state::{FamilyUse, PoolUse};
use crate::dense_map::DenseMap;
use crate::error::Error;
use crate::event::EventType;
use crate::family::Family;
use crate::free_set::FreeSet;
use crate::pool::{Pool, PoolState, Subnet, common};

/// A pool, and how many of its addresses are used for what.
#[derive(Clone, Debug)]
pub struct PoolUsage {
    /// As it is configured.
    pub pool: Arc<Pool>,
    /// Of its IPv4 addresses.
    pub ipv4: Option<Usage>,
    /// Of its IPv6 addresses.
    pub ipv6: Option<Usage>,
}

/// Numbers of addresses of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that may be leased: leased + reserved + quarantined + free.
    pub capacity: u128,
    /// In an active lease.
    pub leased: u128,
    /// Reserved and not leased.
    pub reserved: u128,
    /// Released and in quarantine.
    pub quarantined: u128,
    /// Can be leased now.
    pub free: u128,
}

impl Draft<'_> {
    /// Makes a pool; the same one again is success if the request is the same.
    ///
    /// # Errors
    /// [`Error::PoolExists`], [`Error::PoolOverlap`].
    pub fn create_pool(&mut self, pool: Pool, request_id: &str) -> Result<PoolUsage, Error> {
        if let Some((_, existing)) = self.state.pool(&pool.name) {
            if !request_id.is_empty() && existing.pool.has_configuration_of(&pool) {
                return Ok(existing.usage());
            }
            return Err(Error::PoolExists {
                pool: pool.name.as_ref().to_owned(),
            });
        }
        self.check_overlap(&pool)?;
        let pool = Arc::new(Pool {
            create_time: Some(self.now),
            update_time: Some(self.now),
            etag: self.next_revision().to_string(),
            ..pool
        });
        self.put_pool(EventType::Created, None, Some(pool.clone()))?;
        let (id, _) = self.pool_named(&pool.name)?;
        self.take_over(id)?;
        self.pool(id).map(PoolUse::usage)
    }

    fn check_overlap(&self, pool: &Pool) -> Result<(), Error> {
        let pools = self.state.pools.values().map(|other| &other.pool);
        let clash = pools
            .filter(|other| other.vrf == pool.vrf)
            .find_map(|other| {
                let family = Family::ALL.into_iter().find(|&family| {
                    let pair = pool.subnet(family).zip(other.subnet(family));
                    pair.is_some_and(|(one, two)| one.overlaps(two))
                })?;
                Some((other, family))
            });
        let Some((other, family)) = clash else {
            return Ok(());
        };
        let cidr = |pool: &Pool| pool.subnet(family).map(Subnet::cidr).unwrap_or_default();
        Err(Error::PoolOverlap {
            pool: pool.name.as_ref().to_owned(),
            cidr: cidr(pool),
            other: other.name.as_ref().to_owned(),
            other_cidr: cidr(other),
            vrf: pool.vrf.as_ref().to_owned(),
        })
    }

    /// One pool with its counts.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`].
    pub fn get_pool(&self, name: &str) -> Result<PoolUsage, Error> {
        self.pool_named(name).map(|(_, pool)| pool.usage())
    }

    /// All pools with their counts, by name.
    pub fn list_pools(&self) -> Vec<PoolUsage> {
        let ids = self.state.pool_ids.values();
        ids.filter_map(|id| self.state.pools.get(id))
            .map(PoolUse::usage)
            .collect()
    }

    /// Changes the configuration of a pool as `edit` says; an empty etag is any.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`], [`Error::Stale`], [`Error::PoolInUse`], those of `edit`.
    pub fn update_pool(
        &mut self,
        name: &str,
        etag: &str,
        edit: impl FnOnce(&Pool) -> Result<Pool, Error>,
    ) -> Result<PoolUsage, Error> {
        let (id, existing) = self.pool_named(name)?;
        check_etag(&existing.pool, etag)?;
        let before = existing.pool.clone();
        let after = edit(&before)?;
        if after.has_configuration_of(&before) {
            return Ok(existing.usage());
        }
        let after = self.stamped(after);
        self.put_pool(EventType::Updated, Some(before), Some(after))?;
        self.pool(id).map(PoolUse::usage)
    }

    /// Stops or allows new leases.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`].
    pub fn set_pool_state(&mut self, name: &str, state: PoolState) -> Result<PoolUsage, Error> {
        let (id, existing) = self.pool_named(name)?;
        if existing.pool.state == state {
            return Ok(existing.usage());
        }
        let before = existing.pool.clone();
        let after = self.stamped(Pool {
            state,
            ..(*before).clone()
        });
        self.put_pool(EventType::Updated, Some(before), Some(after))?;
        self.pool(id).map(PoolUse::usage)
    }

    /// A pool that is changed now.
    fn stamped(&self, pool: Pool) -> Arc<Pool> {
        Arc::new(Pool {
            update_time: Some(self.now),
            etag: self.next_revision().to_string(),
            ..pool
        })
    }

    /// Removes a pool without leases; addresses in quarantine stay so, also for a pool that is made anew. An empty etag is any.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`], [`Error::Stale`], [`Error::PoolInUse`].
    pub fn delete_pool(&mut self, name: &str, etag: &str) -> Result<(), Error> {
        let (_, existing) = self.pool_named(name)?;
        check_etag(&existing.pool, etag)?;
        let before = existing.pool.clone();
        if let Some(why) = self.users_of(existing)? {
            return Err(Error::PoolInUse {
                pool: name.to_owned(),
                why,
            });
        }
        self.put_pool(EventType::Deleted, Some(before), None)
    }

    /// Who uses a pool, so that it cannot be removed.
    fn users_of(&self, pool: &PoolUse) -> Result<Option<String>, Error> {
        let mut active = 0;
        let mut one = None;
        for addresses in [&pool.ipv4, &pool.ipv6].into_iter().flatten() {
            active = active.max(addresses.held.len() as u128 - addresses.quarantined);
            let found = addresses.held.values().find(|id| {
                let record = self.state.leases.get(id);
                record.is_some_and(|record| !record.is_quarantined)
            });
            one = one.or(found.copied());
        }
        if let Some(id) = one {
            let who = self.describe(id)?;
            return Ok(Some(format!(
                "it has {active} active leases, such as {who}; release them first"
            )));
        }
        let mut reservations = self.state.reservations.iter();
        let name = reservations.find(|(_, record)| record.reservation.pool == pool.pool.name);
        Ok(name.map(|(name, _)| format!("reservation {name} is in it; delete that first")))
    }
}

/// A pool without leases.
pub(super) fn unused(pool: Arc<Pool>) -> PoolUse {
    let addresses = |subnet: &Option<Subnet>| {
        subnet.clone().map(|subnet| FamilyUse {
            free: subnet.leasable.clone(),
            held: DenseMap::default(),
            reserved: BTreeMap::new(),
            quarantined: 0,
            cursor: *subnet.all.start(),
            subnet,
        })
    };
    let (ipv4, ipv6) = (addresses(&pool.ipv4), addresses(&pool.ipv6));
    let pairs = match pool.is_aligned() {
        true => pairs(ipv4.as_ref(), ipv6.as_ref()),
        false => FreeSet::new(),
    };
    PoolUse {
        ipv4,
        ipv6,
        pairs,
        quarantined: BTreeSet::new(),
        pool,
    }
}

/// Offsets that are free in both families.
pub(super) fn pairs(ipv4: Option<&FamilyUse>, ipv6: Option<&FamilyUse>) -> FreeSet {
    match (ipv4, ipv6) {
        (Some(four), Some(six)) => common((&four.free, four.base()), (&six.free, six.base())),
        _ => FreeSet::new(),
    }
}

/// A pool with a new configuration, and what is held and reserved as before.
pub(super) fn refilled(pool: Arc<Pool>, before: &PoolUse) -> Result<PoolUse, Error> {
    let name = pool.name.as_ref().to_owned();
    let mut after = unused(pool);
    for family in Family::ALL {
        let (Some(addresses), Some(old)) = (after.family_mut(family), before.family(family)) else {
            continue;
        };
        let taken = || old.held.keys().chain(old.reserved.keys().copied());
        let leasable = &addresses.subnet.leasable;
        if let Some(left) = taken().find(|number| !leasable.contains(*number)) {
            let address = addresses.subnet.address(left);
            let by = match old.held.contains_key(&left) {
                true => "a lease",
                false => "a reservation",
            };
            let why = format!("{address} of {by} would not be in its ranges any more");
            return Err(Error::PoolInUse { pool: name, why });
        }
        for number in taken() {
            addresses.free.remove(number);
        }
        addresses.held = old.held.clone();
        addresses.reserved.clone_from(&old.reserved);
        addresses.quarantined = old.quarantined;
        addresses.cursor = old.cursor;
    }
    if after.pool.is_aligned() {
        after.pairs = pairs(after.ipv4.as_ref(), after.ipv6.as_ref());
    }
    after.quarantined.clone_from(&before.quarantined);
    Ok(after)
}

fn check_etag(pool: &Pool, wanted: &str) -> Result<(), Error> {
    if wanted.is_empty() || wanted == pool.etag {
        return Ok(());
    }
    Err(Error::Stale {
        subject: format!("pool {}", pool.name),
        what: "etag",
        present: pool.etag.clone(),
        given: wanted.to_owned(),
    })
}

impl PoolUse {
    /// The pool with its counts.
    pub(super) fn usage(&self) -> PoolUsage {
        PoolUsage {
            pool: self.pool.clone(),
            ipv4: self.ipv4.as_ref().map(FamilyUse::usage),
            ipv6: self.ipv6.as_ref().map(FamilyUse::usage),
        }
    }
}

impl FamilyUse {
    fn usage(&self) -> Usage {
        let held = self.held.len() as u128;
        let capacity = self.subnet.leasable.count();
        let free = self.free.count();
        Usage {
            capacity,
            leased: held - self.quarantined,
            reserved: capacity.saturating_sub(held + free),
            quarantined: self.quarantined,
            free,
        }
    }
}
