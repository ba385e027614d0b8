//! What of a lease is not where it would be searched.

use crate::allocator::state::{LeaseRecord, State};
use crate::family::Family;
use crate::lease::LeaseId;

/// The first index that lacks a lease, as the end of a sentence about it.
pub(super) fn unindexed(state: &State, id: LeaseId, record: &LeaseRecord) -> Option<String> {
    let keys = [
        (&state.by_attachment, record.keys.attachment, "attachment"),
        (&state.by_request, record.keys.request, "request id"),
        (&state.by_pod, record.keys.pod, "pod"),
        (&state.by_mac, record.keys.mac, "MAC"),
    ];
    let lost = keys
        .iter()
        .find(|(index, key, _)| *key != 0 && !index.contains(*key, id));
    if let Some((.., what)) = lost {
        return Some(format!("is not found by its {what}"));
    }
    if record.until != i64::MAX && !state.deadlines.contains(&(record.until, id)) {
        return Some("has an end that would be missed".to_owned());
    }
    let of = (record.pool, record.keys.namespace);
    if of.1 != 0 && !record.is_quarantined && !state.by_namespace.contains_key(&of) {
        return Some("is not counted for its namespace".to_owned());
    }
    let pool = state.pools.get(&record.pool)?;
    if record.is_quarantined && !pool.quarantined.contains(&(record.until, id)) {
        return Some("is not among those in quarantine".to_owned());
    }
    Family::ALL.into_iter().find_map(|family| {
        let number = record.number(family)?;
        let addresses = pool.family(family)?;
        let address = addresses.subnet.address(number);
        match addresses.held.get(&number) {
            Some(&holder) if holder == id => addresses
                .free
                .contains(number)
                .then(|| format!("its address {address} counts as free")),
            Some(other) => Some(format!("lease {other} has its address {address}, too")),
            None => Some(format!("its address {address} counts as nobody's")),
        }
    })
}
