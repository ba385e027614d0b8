//! Making, changing and removing pools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::ipam::v1::{self as ipam, EventType};

use super::draft::Draft;
use super::state::{Half, PoolId, PoolState};
use crate::error::{Error, Family};
use crate::free_set::FreeSet;
use crate::lease::timestamp;
use crate::pool::{Pool, Subnet, common, fields};

impl Draft<'_> {
    /// Makes a pool; the same one again is success if the request is the same.
    ///
    /// # Errors
    /// [`Error::PoolExists`], [`Error::PoolOverlap`].
    pub fn create_pool(&mut self, mut pool: Pool, request_id: &str) -> Result<ipam::Pool, Error> {
        if let Some((_, there)) = self.state.pool(pool.name()) {
            if !request_id.is_empty() && same_configuration(&there.pool.message, &pool.message) {
                return Ok(shown(there));
            }
            return Err(Error::PoolExists {
                pool: pool.name().to_owned(),
            });
        }
        self.check_overlap(&pool)?;
        let now = Some(timestamp(self.now));
        pool.message.create_time = now;
        pool.message.update_time = now;
        pool.message.etag = self.next_revision().to_string();
        let name = pool.name().to_owned();
        self.put_pool(EventType::Created, None, Some(pool.message))?;
        let (id, _) = self.find(&name)?;
        self.take_over(id)?;
        self.pool(id).map(shown)
    }

    fn check_overlap(&self, pool: &Pool) -> Result<(), Error> {
        let clash = self
            .state
            .pools
            .values()
            .map(|state| &state.pool)
            .find_map(|other| {
                let family = [Family::V4, Family::V6].into_iter().find(|&family| {
                    let pair = pool.subnet(family).zip(other.subnet(family));
                    pair.is_some_and(|(one, two)| one.overlaps(two))
                })?;
                let other_vrf = &other.message.vrf;
                (*other_vrf == pool.message.vrf).then_some((other, family))
            });
        let Some((other, family)) = clash else {
            return Ok(());
        };
        let cidr = |pool: &Pool| pool.subnet(family).map(Subnet::cidr).unwrap_or_default();
        Err(Error::PoolOverlap {
            pool: pool.name().to_owned(),
            cidr: cidr(pool),
            other: other.name().to_owned(),
            other_cidr: cidr(other),
            vrf: pool.message.vrf.clone(),
        })
    }

    /// One pool with its counts.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`].
    pub fn get_pool(&self, name: &str) -> Result<ipam::Pool, Error> {
        self.find(name).map(|(_, state)| shown(state))
    }

    /// All pools with their counts, by name.
    pub fn list_pools(&self) -> Vec<ipam::Pool> {
        let ids = self.state.pool_ids.values();
        ids.filter_map(|id| self.state.pools.get(id))
            .map(shown)
            .collect()
    }

    /// Changes the configuration of a pool.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`], [`Error::Stale`], [`Error::InvalidFields`], [`Error::PoolInUse`].
    pub fn update_pool(
        &mut self,
        wanted: &ipam::Pool,
        mask: &[String],
    ) -> Result<ipam::Pool, Error> {
        let (id, state) = self.find(&wanted.name)?;
        check_etag(&state.pool, &wanted.etag)?;
        let before = &state.pool.message;
        let mut message = before.clone();
        fields::update(&mut message, wanted, mask)?;
        let mut pool = Pool::decode(message)?;
        if same_configuration(&pool.message, before) {
            return Ok(shown(state));
        }
        if pool.message.labels != before.labels {
            pool.check_plain()?;
        }
        let gateway = |subnet: &Option<ipam::Subnet>| subnet.as_ref().map(|at| at.gateway.clone());
        if gateway(&pool.message.ipv4) != gateway(&before.ipv4) {
            pool.check_sensible()?;
        }
        pool.message.update_time = Some(timestamp(self.now));
        pool.message.etag = self.next_revision().to_string();
        let before = state.pool.message.clone();
        self.put_pool(EventType::Updated, Some(before), Some(pool.message))?;
        self.pool(id).map(shown)
    }

    /// Stops or allows new leases.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`].
    pub fn cordon_pool(&mut self, name: &str, cordon: bool) -> Result<ipam::Pool, Error> {
        let (id, state) = self.find(name)?;
        if state.pool.is_cordoned() == cordon {
            return Ok(shown(state));
        }
        let before = state.pool.message.clone();
        let mut after = before.clone();
        after.set_state(if cordon {
            ipam::pool::State::Cordoned
        } else {
            ipam::pool::State::Active
        });
        after.update_time = Some(timestamp(self.now));
        after.etag = self.next_revision().to_string();
        self.put_pool(EventType::Updated, Some(before), Some(after))?;
        self.pool(id).map(shown)
    }

    /// Removes a pool without leases; what is in quarantine rests on, also for a pool that is made anew.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`], [`Error::Stale`], [`Error::PoolInUse`].
    pub fn delete_pool(&mut self, name: &str, etag: &str) -> Result<(), Error> {
        let (_, state) = self.find(name)?;
        check_etag(&state.pool, etag)?;
        let before = state.pool.message.clone();
        let held = self.held_by(state)?;
        if let Some(why) = held {
            return Err(Error::PoolInUse {
                pool: name.to_owned(),
                why,
            });
        }
        self.put_pool(EventType::Deleted, Some(before), None)
    }

    /// What is in the way of removing a pool.
    fn held_by(&self, state: &PoolState) -> Result<Option<String>, Error> {
        let mut active = 0;
        let mut one = None;
        for half in [&state.ipv4, &state.ipv6].into_iter().flatten() {
            active = active.max(half.held.len() as u128 - half.quarantined);
            let found = half.held.values().find(|id| {
                self.state
                    .leases
                    .get(id)
                    .is_some_and(|held| !held.quarantined)
            });
            one = one.or(found.copied());
        }
        if let Some(id) = one {
            let who = self.describe(id)?;
            return Ok(Some(format!(
                "it has {active} active leases, such as {who}; release them first"
            )));
        }
        let name = self
            .state
            .reservations
            .iter()
            .find(|(_, kept)| kept.message.pool == state.pool.name());
        Ok(name.map(|(name, _)| format!("reservation {name} is in it; delete that first")))
    }

    fn find(&self, name: &str) -> Result<(PoolId, &PoolState), Error> {
        self.state.pool(name).ok_or_else(|| Error::PoolNotFound {
            pool: name.to_owned(),
        })
    }
}

/// A pool that nobody holds anything of.
pub(super) fn empty(pool: Pool) -> PoolState {
    let half = |subnet: &Option<Subnet>| {
        subnet.clone().map(|subnet| Half {
            free: subnet.leasable.clone(),
            held: BTreeMap::new(),
            reserved: BTreeMap::new(),
            quarantined: 0,
            cursor: *subnet.all.start(),
            subnet,
        })
    };
    let (ipv4, ipv6) = (half(&pool.ipv4), half(&pool.ipv6));
    let pairs = if pool.aligned {
        pairs(ipv4.as_ref(), ipv6.as_ref())
    } else {
        FreeSet::new()
    };
    PoolState {
        ipv4,
        ipv6,
        pairs,
        resting: BTreeSet::new(),
        pool: Arc::new(pool),
    }
}

/// Offsets that are free in both halves.
pub(super) fn pairs(ipv4: Option<&Half>, ipv6: Option<&Half>) -> FreeSet {
    let base = |half: &Half| *half.subnet.all.start();
    match (ipv4, ipv6) {
        (Some(four), Some(six)) => common((&four.free, base(four)), (&six.free, base(six))),
        _ => FreeSet::new(),
    }
}

/// A pool with a new configuration, and what is held and reserved as before.
pub(super) fn refilled(pool: Pool, before: &PoolState) -> Result<PoolState, Error> {
    let name = pool.name().to_owned();
    let mut after = empty(pool);
    for family in [Family::V4, Family::V6] {
        let (Some(half), Some(old)) = (after.half_mut(family), before.half(family)) else {
            continue;
        };
        let taken = old.held.keys().chain(old.reserved.keys());
        if let Some(&left) = taken
            .clone()
            .find(|&&number| !half.subnet.leasable.contains(number))
        {
            let address = half.subnet.address(left);
            let by = if old.held.contains_key(&left) {
                "a lease"
            } else {
                "a reservation"
            };
            let why = format!("{address} of {by} would not be in its ranges any more");
            return Err(Error::PoolInUse { pool: name, why });
        }
        for &number in taken {
            half.free.take(number);
        }
        half.held.clone_from(&old.held);
        half.reserved.clone_from(&old.reserved);
        half.quarantined = old.quarantined;
        half.cursor = old.cursor;
    }
    if after.pool.aligned {
        after.pairs = pairs(after.ipv4.as_ref(), after.ipv6.as_ref());
    }
    after.resting.clone_from(&before.resting);
    Ok(after)
}

fn check_etag(pool: &Pool, given: &str) -> Result<(), Error> {
    if given.is_empty() || given == pool.message.etag {
        return Ok(());
    }
    Err(Error::Stale {
        subject: format!("pool {}", pool.name()),
        what: "etag",
        present: pool.message.etag.clone(),
        given: given.to_owned(),
    })
}

/// A pool's message with its counts.
pub(super) fn shown(state: &PoolState) -> ipam::Pool {
    let usage = |half: &Option<Half>| half.as_ref().map(usage);
    ipam::Pool {
        ipv4_usage: usage(&state.ipv4),
        ipv6_usage: usage(&state.ipv6),
        ..state.pool.message.clone()
    }
}

fn usage(half: &Half) -> ipam::Usage {
    let held = half.held.len() as u128;
    let capacity = half.subnet.leasable.count();
    let free = half.free.count();
    ipam::Usage {
        capacity: capacity.to_string(),
        leased: (held - half.quarantined).to_string(),
        reserved: capacity.saturating_sub(held + free).to_string(),
        quarantined: half.quarantined.to_string(),
        free: free.to_string(),
    }
}

/// Whether two messages say the same of a pool, outputs aside.
pub(super) fn same_configuration(one: &ipam::Pool, two: &ipam::Pool) -> bool {
    fields::configuration(one) == fields::configuration(two)
}
