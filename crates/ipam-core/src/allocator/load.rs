//! Rebuilds what is remembered from a store. Indexes are made of sorted lists at once: a million leases take
//! seconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deleted::{self, DELETED};
use super::pools::{pairs, unused};
use super::state::{LeaseRecord, PoolId, ReservationRecord, State};
use crate::error::Error;
use crate::family::Family;
use crate::free_set::FreeSet;
use crate::lease::LeaseId;
use crate::log::Store;

/// Leases that are read at once.
const PAGE: usize = 100;

/// Reads everything.
///
/// # Errors
/// [`Error::Store`]; [`Error::PoolNotFound`] if a stored lease has no pool.
pub fn load(store: &dyn Store) -> Result<State, Error> {
    loop {
        let state = load_once(store)?;
        // What other servers append meanwhile is in it in part.
        if store.extent()?.position == state.position {
            return Ok(state);
        }
    }
}

fn load_once(store: &dyn Store) -> Result<State, Error> {
    let extent = store.extent()?;
    let mut state = State {
        position: extent.position,
        revision: extent.revision,
        origin: store.origin()?.unwrap_or_default(),
        oldest_revision: extent.oldest_revision,
        ..State::default()
    };
    state.pools.insert(DELETED, deleted::pool());
    if let Some(event) = store.events_back(u64::MAX, 1)?.first() {
        state.latest = event.time.as_millisecond();
    }
    for pool in store.pools()? {
        let id = PoolId(state.next_pool);
        state.next_pool += 1;
        state.set_pool(id, Some(unused(Arc::new(pool))));
    }
    let leases = read_leases(&mut state, store)?;
    fill(&mut state, &leases);
    state.leases = leases.into_iter().collect();
    for reservation in store.reservations()? {
        let pool = state.pool_ids.get(&reservation.pool).copied();
        if let Some(pool) = pool {
            let name = reservation.name.clone();
            let reservation = Arc::new(reservation);
            state.set_reservation(&name, Some(ReservationRecord { reservation, pool }));
        }
    }
    Ok(state)
}

fn read_leases(state: &mut State, store: &dyn Store) -> Result<Vec<(LeaseId, LeaseRecord)>, Error> {
    let mut leases = Vec::new();
    let mut after = LeaseId(0);
    loop {
        let page = store.leases(after, PAGE)?;
        for lease in &page {
            leases.push((lease.id, state.record_of(lease)?));
            if let Some(owner) = &lease.owner
                && !state.nodes.contains(&owner.node)
            {
                state.nodes.insert(owner.node.clone());
            }
            after = lease.id;
        }
        if page.len() < PAGE {
            return Ok(leases);
        }
    }
}

/// Makes the indexes and the free sets.
fn fill(state: &mut State, leases: &[(LeaseId, LeaseRecord)]) {
    let index = |key: fn(&LeaseRecord) -> u32| {
        let keys = leases
            .iter()
            .map(|(id, record)| (key(record), *id))
            .filter(|(key, _)| *key != 0);
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        keys.into_iter().collect()
    };
    state.by_attachment = index(|record| record.keys.attachment);
    state.by_request = index(|record| record.keys.request);
    state.by_pod = index(|record| record.keys.pod);
    state.by_mac = index(|record| record.keys.mac);
    let mut deadlines = Vec::new();
    let mut by_pool: BTreeMap<PoolId, Vec<&(LeaseId, LeaseRecord)>> = BTreeMap::new();
    for lease in leases {
        let (id, record) = lease;
        if !record.is_quarantined && record.keys.namespace != 0 {
            let of = (record.pool, record.keys.namespace);
            *state.by_namespace.entry(of).or_default() += 1;
        }
        if record.until != i64::MAX {
            deadlines.push((record.until, *id));
        }
        by_pool.entry(record.pool).or_default().push(lease);
    }
    deadlines.sort_unstable();
    state.deadlines = deadlines.into_iter().collect();
    for (id, leases) in by_pool {
        fill_pool(state, id, &leases);
    }
}

/// Makes the free sets of a pool.
fn fill_pool(state: &mut State, id: PoolId, leases: &[&(LeaseId, LeaseRecord)]) {
    let Some(pool) = state.pools.get_mut(&id) else {
        return;
    };
    for family in Family::ALL {
        let Some(addresses) = pool.family_mut(family) else {
            continue;
        };
        let numbers = leases
            .iter()
            .filter_map(|(id, record)| Some((record.number(family)?, *id)));
        let mut numbers: Vec<_> = numbers.collect();
        if let Some((last, _)) = numbers.last() {
            addresses.cursor = last.saturating_add(1);
        }
        numbers.sort_unstable();
        addresses.free = without(
            &addresses.subnet.leasable,
            numbers.iter().map(|(number, _)| *number),
        );
        addresses.held = numbers.into_iter().collect();
        let quarantined = leases
            .iter()
            .filter(|(_, record)| record.is_quarantined && record.number(family).is_some());
        addresses.quarantined = quarantined.count() as u128;
    }
    if pool.pool.is_aligned() {
        pool.pairs = pairs(pool.ipv4.as_ref(), pool.ipv6.as_ref());
    }
    let quarantined = leases.iter().filter(|(_, record)| record.is_quarantined);
    pool.quarantined = quarantined
        .map(|(id, record)| (record.until, *id))
        .collect();
}

/// A set without some of its members, which come in order.
fn without(all: &FreeSet, taken: impl Iterator<Item = u128>) -> FreeSet {
    let mut free = all.clone();
    // Neighbours go together: one operation for a run of leases.
    let mut run: Option<(u128, u128)> = None;
    for number in taken {
        run = match run {
            Some((first, last)) if number == last + 1 => Some((first, number)),
            before => {
                if let Some((first, last)) = before {
                    free.remove_range(first..=last);
                }
                Some((number, number))
            }
        };
    }
    if let Some((first, last)) = run {
        free.remove_range(first..=last);
    }
    free
}
