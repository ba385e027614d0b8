//! Rebuilds what is remembered from a store. Indexes are made of sorted lists at once: a million leases take
//! seconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::ipam::v1 as ipam;

use super::draft::held;
use super::gone::{self, GONE};
use super::pools::{empty, pairs};
use super::state::{Held, Kept, PoolId, State};
use crate::error::{Error, Family};
use crate::free_set::FreeSet;
use crate::lease::millis;
use crate::pool::{Pool, number};
use crate::store::{LeaseId, Store, StoreError};

/// Leases that are read at once.
const PAGE: usize = 100;

/// Reads everything.
///
/// # Errors
/// [`Error::Store`]; [`Error::InvalidFields`] if a stored pool is not one.
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
    state.pools.insert(GONE, gone::pool());
    if let Some(event) = store.events_back(u64::MAX, 1)?.first() {
        state.latest = millis(event.time.as_ref());
    }
    for message in store.pools()? {
        let pool = Pool::decode(message)?;
        let id = PoolId(state.next_pool);
        state.next_pool += 1;
        state.set_pool(id, Some(empty(pool)));
    }
    let leases = read_leases(&mut state, store)?;
    fill(&mut state, &leases);
    state.leases = leases.into_iter().collect();
    for message in store.reservations()? {
        let (kept, name) = reservation(&state, message);
        if let Some(kept) = kept {
            state.set_reservation(&name, Some(kept));
        }
    }
    Ok(state)
}

fn read_leases(state: &mut State, store: &dyn Store) -> Result<Vec<(LeaseId, Held)>, Error> {
    let mut leases = Vec::new();
    let mut after = LeaseId(0);
    loop {
        let page = store.leases(after, PAGE)?;
        for lease in &page {
            let id: LeaseId = lease.id.parse().map_err(|()| corrupt(&lease.id))?;
            leases.push((id, held(state, lease)?));
            if let Some(owner) = &lease.owner
                && !state.nodes.contains(&owner.node)
            {
                state.nodes.insert(owner.node.clone());
            }
            after = id;
        }
        if page.len() < PAGE {
            return Ok(leases);
        }
    }
}

fn corrupt(id: &str) -> Error {
    Error::Store(StoreError::Corrupt {
        store: "the store".into(),
        what: format!("a lease with the id {id:?}"),
    })
}

/// Makes the indexes and the free sets.
fn fill(state: &mut State, leases: &[(LeaseId, Held)]) {
    let index = |key: fn(&Held) -> u32| {
        let keys = leases
            .iter()
            .map(|(id, held)| (key(held), *id))
            .filter(|(key, _)| *key != 0);
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        keys.into_iter().collect()
    };
    state.by_attachment = index(|held| held.keys.attachment);
    state.by_request = index(|held| held.keys.request);
    state.by_pod = index(|held| held.keys.pod);
    state.by_mac = index(|held| held.keys.mac);
    for (_, held) in leases.iter().filter(|(_, held)| !held.quarantined) {
        if held.keys.namespace != 0 {
            let of = (held.pool, held.keys.namespace);
            *state.by_namespace.entry(of).or_default() += 1;
        }
    }
    let mut deadlines: Vec<_> = leases
        .iter()
        .filter(|(_, held)| held.until != i64::MAX)
        .map(|(id, held)| (held.until, *id))
        .collect();
    deadlines.sort_unstable();
    state.deadlines = deadlines.into_iter().collect();
    let mut by_pool: BTreeMap<PoolId, Vec<&(LeaseId, Held)>> = BTreeMap::new();
    for lease in leases {
        by_pool.entry(lease.1.pool).or_default().push(lease);
    }
    for (id, leases) in by_pool {
        let Some(pool) = state.pools.get_mut(&id) else {
            continue;
        };
        for family in [Family::V4, Family::V6] {
            let Some(half) = pool.half_mut(family) else {
                continue;
            };
            let numbers = leases
                .iter()
                .filter_map(|(id, held)| Some((held.number(family)?, *id)));
            let mut numbers: Vec<_> = numbers.collect();
            if let Some((last, _)) = numbers.last() {
                half.cursor = last.saturating_add(1);
            }
            numbers.sort_unstable();
            half.free = without(
                &half.subnet.leasable,
                numbers.iter().map(|(number, _)| *number),
            );
            half.held = numbers.into_iter().collect();
            let resting = leases
                .iter()
                .filter(|(_, held)| held.quarantined && held.number(family).is_some());
            half.quarantined = resting.count() as u128;
        }
        if pool.pool.aligned {
            pool.pairs = pairs(pool.ipv4.as_ref(), pool.ipv6.as_ref());
        }
        let resting = leases.iter().filter(|(_, held)| held.quarantined);
        pool.resting = resting.map(|(id, held)| (held.until, *id)).collect();
    }
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
                    free.take_range(first..=last);
                }
                Some((number, number))
            }
        };
    }
    if let Some((first, last)) = run {
        free.take_range(first..=last);
    }
    free
}

fn reservation(state: &State, message: ipam::Reservation) -> (Option<Kept>, Arc<str>) {
    let name: Arc<str> = message.name.as_str().into();
    let number = |text: &str| text.parse().ok().map(number);
    let kept = state.pool_ids.get(message.pool.as_str()).map(|&pool| Kept {
        pool,
        ipv4: number(&message.ipv4),
        ipv6: number(&message.ipv6),
        message: Arc::new(message),
    });
    (kept, name)
}
