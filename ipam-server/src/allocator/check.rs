//! CheckConsistency: what is remembered against a scan of the leases that are stored.

use std::collections::BTreeMap;

use proto::ipam::v1 as ipam;

use super::draft::{Draft, held};
use super::state::{Half, PoolState};
use crate::error::{Error, Family};
use crate::store::LeaseId;

/// Problems that are told.
const TOLD: usize = 100;
/// Leases that are read at once.
const PAGE: usize = 10_000;

impl Draft<'_> {
    /// Compares. To be called while nothing of a group is decided.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn check(&self) -> Result<ipam::CheckConsistencyResponse, Error> {
        let mut problems = Vec::new();
        let mut holders: BTreeMap<(String, Family, u128), LeaseId> = BTreeMap::new();
        let mut leases = 0_u64;
        let mut after = LeaseId(0);
        loop {
            let page = self.store.leases(after, PAGE)?;
            for lease in &page {
                leases += 1;
                let Ok(id) = lease.id.parse() else {
                    problems.push(format!("a stored lease has the id {:?}", lease.id));
                    continue;
                };
                after = id;
                let stored = held(self.state, lease)?;
                if self.state.leases.get(&id) != Some(&stored) {
                    problems.push(format!("lease {id} is not remembered as it is stored"));
                }
                for family in [Family::V4, Family::V6] {
                    if let Some(number) = stored.number(family)
                        && let Some(other) = holders.insert((lease.vrf.clone(), family, number), id)
                    {
                        problems.push(format!(
                            "leases {other} and {id} have the same {family} address"
                        ));
                    }
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
        if leases != self.state.leases.len() as u64 {
            let remembered = self.state.leases.len();
            problems.push(format!(
                "{leases} leases are stored, {remembered} are remembered"
            ));
        }
        for state in self.state.pools.values() {
            for half in [&state.ipv4, &state.ipv6].into_iter().flatten() {
                self.check_half(state, half, &mut problems);
            }
        }
        problems.truncate(TOLD);
        Ok(ipam::CheckConsistencyResponse {
            leases,
            pools: self.state.pools.len() as u64,
            problems,
        })
    }

    fn check_half(&self, state: &PoolState, half: &Half, problems: &mut Vec<String>) {
        let (pool, family) = (state.pool.name(), half.subnet.family);
        let held = self.state.leases.values().filter(|held| {
            self.state
                .pools
                .get(&held.pool)
                .is_some_and(|at| at.pool.name() == pool)
                && held.number(family).is_some()
        });
        let (mut all, mut resting) = (0_usize, 0_u128);
        for held in held {
            all += 1;
            resting += u128::from(held.quarantined);
            if held
                .number(family)
                .is_some_and(|number| half.free.contains(number))
            {
                problems.push(format!(
                    "pool {pool}: a leased {family} address counts as free"
                ));
            }
        }
        if all != half.held.len() {
            problems.push(format!(
                "pool {pool}: {all} {family} leases, {} are counted",
                half.held.len()
            ));
        }
        if resting != half.quarantined {
            let counted = half.quarantined;
            problems.push(format!(
                "pool {pool}: {resting} {family} rest, {counted} are counted"
            ));
        }
        let kept = half
            .reserved
            .keys()
            .filter(|number| !half.held.contains_key(number))
            .count();
        let sum = half.free.count() + (all + kept) as u128;
        let capacity = half.subnet.leasable.count();
        if sum != capacity {
            problems.push(format!(
                "pool {pool}: {sum} of {capacity} {family} addresses are accounted for"
            ));
        }
    }
}
