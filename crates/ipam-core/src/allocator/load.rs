//! Rebuilds what is remembered from a store. Indexes are made of sorted lists at once: a million leases take
//! seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::deleted::{self, DELETED};
use super::pools::{pairs, unused};
use super::state::{LeaseRecord, PoolId, ReservationRecord, State};
use crate::error::Error;
use crate::family::Family;
use crate::free_set::FreeSet;
use crate::key_index::KeyIndex;
use crate::lease::LeaseId;
use crate::log::Store;

/// Leases that are read at once.
const PAGE: usize = 400;

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
    let newest = extent.revision.saturating_add(state.origin.lease_offset);
    let Loaded { leases, nodes } = read_leases(&state, store, newest)?;
    state.nodes = nodes;
    fill(&mut state, &leases)?;
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

/// Leases that were read, in order of number.
#[derive(Default)]
struct Loaded {
    leases: Vec<(LeaseId, LeaseRecord)>,
    /// The nodes that they name.
    nodes: BTreeSet<String>,
}

/// Reads all leases: one half beside the other one, since decoding takes longer than reading. `newest` is the highest
/// number.
fn read_leases(state: &State, store: &dyn Store, newest: u64) -> Result<Loaded, Error> {
    let middle = LeaseId(newest / 2);
    let (lower, upper) = std::thread::scope(|scope| {
        let upper = scope.spawn(|| read_some(state, store, middle, LeaseId(u64::MAX)));
        let lower = read_some(state, store, LeaseId(0), middle);
        (lower, upper.join())
    });
    let mut all = lower?;
    let upper = upper.unwrap_or_else(|_| Err(panicked("reading the leases")))?;
    all.leases.extend(upper.leases);
    all.nodes.extend(upper.nodes);
    Ok(all)
}

/// Reads the leases behind `after`, up to `until`.
fn read_some(
    state: &State,
    store: &dyn Store,
    after: LeaseId,
    until: LeaseId,
) -> Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    let mut after = after;
    loop {
        let page = store.leases(after, PAGE)?;
        for lease in &page {
            if lease.id > until {
                return Ok(loaded);
            }
            loaded.leases.push((lease.id, state.record_of(lease)?));
            if let Some(owner) = &lease.owner
                && !loaded.nodes.contains(&owner.node)
            {
                loaded.nodes.insert(owner.node.clone());
            }
            after = lease.id;
        }
        if page.len() < PAGE {
            return Ok(loaded);
        }
    }
}

fn panicked(what: &str) -> Error {
    Error::Broken {
        what: format!("{what} panicked"),
    }
}

/// What leases are found by.
#[derive(Default)]
struct Indexes {
    by_attachment: KeyIndex,
    by_request: KeyIndex,
    by_pod: KeyIndex,
    by_mac: KeyIndex,
    by_namespace: BTreeMap<(PoolId, u64), u32>,
    deadlines: BTreeSet<(i64, LeaseId)>,
}

impl Indexes {
    fn of(leases: &[(LeaseId, LeaseRecord)]) -> Indexes {
        let index = |key: fn(&LeaseRecord) -> u32| {
            KeyIndex::of(leases.iter().map(|(id, record)| (key(record), *id)))
        };
        let mut by_namespace: BTreeMap<_, u32> = BTreeMap::new();
        let mut deadlines = Vec::new();
        for (id, record) in leases {
            if !record.is_quarantined && record.keys.namespace != 0 {
                let of = (record.pool, record.keys.namespace);
                *by_namespace.entry(of).or_default() += 1;
            }
            if record.until != i64::MAX {
                deadlines.push((record.until, *id));
            }
        }
        deadlines.sort_unstable();
        Indexes {
            by_attachment: index(|record| record.keys.attachment),
            by_request: index(|record| record.keys.request),
            by_pod: index(|record| record.keys.pod),
            by_mac: index(|record| record.keys.mac),
            by_namespace,
            deadlines: deadlines.into_iter().collect(),
        }
    }
}

/// Makes the indexes and the free sets, side by side.
fn fill(state: &mut State, leases: &[(LeaseId, LeaseRecord)]) -> Result<(), Error> {
    let mut by_pool: BTreeMap<PoolId, Vec<&(LeaseId, LeaseRecord)>> = BTreeMap::new();
    let indexes = std::thread::scope(|scope| {
        let indexes = scope.spawn(|| Indexes::of(leases));
        for lease in leases {
            by_pool.entry(lease.1.pool).or_default().push(lease);
        }
        for (id, leases) in by_pool {
            fill_pool(state, id, &leases);
        }
        indexes.join()
    });
    let indexes = indexes.map_err(|_| panicked("making the indexes of the leases"))?;
    state.by_attachment = indexes.by_attachment;
    state.by_request = indexes.by_request;
    state.by_pod = indexes.by_pod;
    state.by_mac = indexes.by_mac;
    state.by_namespace = indexes.by_namespace;
    state.deadlines = indexes.deadlines;
    Ok(())
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
