//! Addresses in quarantine whose pool was deleted. Their leases stay as they are, in a pool without addresses, until their
//! quarantine is over; a pool that is made with these addresses meanwhile takes them over: traffic and caches of the last
//! holder do not end with a pool's configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::Draft;
use super::state::{PoolId, PoolUse, State};
use crate::error::Error;
use crate::event::EventType;
use crate::family::Family;
use crate::free_set::FreeSet;
use crate::lease::{Lease, LeaseId};
use crate::pool::{Pool, Subnet};

/// The pool of leases whose own pool was deleted. It has no name.
pub(super) const DELETED: PoolId = PoolId(u32::MAX);

/// That pool, without leases.
pub(super) fn pool() -> PoolUse {
    PoolUse {
        pool: Arc::new(Pool::default()),
        ipv4: None,
        ipv6: None,
        pairs: FreeSet::new(),
        quarantined: BTreeSet::new(),
    }
}

/// Leases whose pool was deleted.
pub(super) fn leases(state: &State) -> Vec<LeaseId> {
    let deleted = state.pools.get(&DELETED).into_iter();
    deleted
        .flat_map(|pool| pool.quarantined.iter().map(|(_, id)| *id))
        .collect()
}

impl Draft<'_> {
    /// Moves leases in quarantine into a pool that was made just now, as far as it has their addresses.
    pub(super) fn take_over(&mut self, pool: PoolId) -> Result<(), Error> {
        for id in leases(self.state) {
            let Some(before) = self.lease(id)? else {
                continue;
            };
            let new = self.pool(pool)?;
            if before.vrf != new.pool.vrf {
                continue;
            }
            let mut after = Lease {
                pool: new.pool.name.clone(),
                generation: before.generation + 1,
                ..(*before).clone()
            };
            let subnet = |family| self.subnet_with(new, id, family);
            after.ipv4 = subnet(Family::V4).and_then(|(subnet, number)| subnet.ipv4(number));
            after.ipv6 = subnet(Family::V6).and_then(|(subnet, number)| subnet.ipv6(number));
            if after.ipv4.is_some() || after.ipv6.is_some() {
                let after = Some(Arc::new(after));
                self.put_lease(EventType::Updated, id, Some(before), after)?;
            } else if before.pool == after.pool {
                // Nothing else distinguishes the pool of this name from the deleted one.
                self.put_lease(EventType::Freed, id, Some(before), None)?;
            }
        }
        Ok(())
    }

    /// The subnet of a pool in which an address of a lease is free, and the address.
    fn subnet_with<'p>(
        &self,
        pool: &'p PoolUse,
        id: LeaseId,
        family: Family,
    ) -> Option<(&'p Subnet, u128)> {
        let number = self.state.leases.get(&id)?.number(family)?;
        let addresses = pool.family(family)?;
        let is_free = addresses.free.contains(number);
        is_free.then_some((&addresses.subnet, number))
    }
}
