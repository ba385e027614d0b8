//! Addresses that rest after their pool was deleted. Their leases stay as they are, in a pool without addresses, until their
//! quarantine is over; a pool that is made with these addresses meanwhile takes them over: traffic and caches of the last
//! holder do not end with a pool's configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proto::ipam::v1::{self as ipam, EventType};

use super::draft::Draft;
use super::state::{PoolId, PoolState, State};
use crate::error::{Error, Family};
use crate::free_set::FreeSet;
use crate::pool::{Families, Pool, Strategy};
use crate::store::LeaseId;

/// The pool of leases whose own pool was deleted. It has no name.
pub(super) const GONE: PoolId = PoolId(u32::MAX);

/// That pool, empty.
pub(super) fn pool() -> PoolState {
    let pool = Pool {
        message: ipam::Pool::default(),
        ipv4: None,
        ipv6: None,
        aligned: false,
        families: Families::Any,
        strategy: Strategy::NextFit,
        quarantine: Duration::ZERO,
        default_ttl: None,
        max_ttl: None,
    };
    PoolState {
        pool: Arc::new(pool),
        ipv4: None,
        ipv6: None,
        pairs: FreeSet::new(),
        resting: BTreeSet::new(),
    }
}

/// Leases whose pool was deleted.
pub(super) fn resting(state: &State) -> Vec<LeaseId> {
    let gone = state.pools.get(&GONE).into_iter();
    gone.flat_map(|gone| gone.resting.iter().map(|(_, id)| *id))
        .collect()
}

impl Draft<'_> {
    /// Puts what rests into a pool that was made just now, as far as it has the addresses.
    pub(super) fn take_over(&mut self, id: PoolId) -> Result<(), Error> {
        for lease_id in resting(self.state) {
            let Some(before) = self.lease(lease_id)? else {
                continue;
            };
            let Some(remembered) = self.state.leases.get(&lease_id).copied() else {
                continue;
            };
            let state = self.pool(id)?;
            if before.vrf != state.pool.message.vrf {
                continue;
            }
            let mut after = before.clone();
            state.pool.name().clone_into(&mut after.pool);
            let mut fits = false;
            for (family, text) in [(Family::V4, &mut after.ipv4), (Family::V6, &mut after.ipv6)] {
                let half = state.half(family).zip(remembered.number(family));
                match half.filter(|(half, number)| half.free.contains(*number)) {
                    Some((half, number)) => {
                        *text = half.subnet.with_prefix(number);
                        fits = true;
                    }
                    None => text.clear(),
                }
            }
            if fits {
                after.generation += 1;
                self.put_lease(EventType::Updated, lease_id, Some(before), Some(after))?;
            } else if before.pool == after.pool {
                // Nothing else tells the pool of this name from the one that is gone.
                self.put_lease(EventType::Freed, lease_id, Some(before), None)?;
            }
        }
        Ok(())
    }
}
