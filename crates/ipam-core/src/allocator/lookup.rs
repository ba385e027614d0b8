//! Questions: one lease, who holds what now, and everything at one revision. They change nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::deleted::{self, DELETED};
use super::draft::{Draft, not_found};
use crate::error::Error;
use crate::family::{Family, number};
use crate::keys::{attachment_key, pod_key, text_key};
use crate::lease::{Lease, LeaseId};
use crate::pool::Pool;
use crate::request::Question;
use crate::reservation::Reservation;

/// What there is at one revision, but for the leases.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Of the last change.
    pub revision: u64,
    /// All pools.
    pub pools: Vec<Arc<Pool>>,
    /// All reservations.
    pub reservations: Vec<Arc<Reservation>>,
    /// How many leases there are.
    pub leases: u64,
}

impl Draft<'_> {
    /// One lease.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`].
    pub fn get_lease(&self, id: LeaseId) -> Result<Arc<Lease>, Error> {
        let lease = self.existing_lease(id)?;
        match self.reaches(&lease) {
            true => Ok(lease),
            false => Err(not_found(id)),
        }
    }

    /// Everything but the leases.
    pub fn summary(&self) -> Summary {
        let pools = self.state.pools.range(..DELETED).map(|(_, pool)| pool);
        let without_pool = deleted::leases(self.state).len();
        Summary {
            revision: self.state.revision,
            pools: pools.map(|pool| pool.pool.clone()).collect(),
            reservations: self.list_reservations(),
            leases: (self.state.leases.len() - without_pool) as u64,
        }
    }

    /// The leases that answer, found by the most selective part of the question; none if that takes reading every lease.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn lookup(&self, question: &Question) -> Result<Option<Vec<Arc<Lease>>>, Error> {
        let Some(candidates) = self.candidates(question) else {
            return Ok(None);
        };
        let mut leases = Vec::new();
        for id in candidates {
            leases.extend(self.lease(id)?.filter(|lease| question.matches(lease)));
        }
        Ok(Some(leases))
    }

    fn candidates(&self, question: &Question) -> Option<BTreeSet<LeaseId>> {
        let state = &self.state;
        let owner = &question.owner;
        if let Some(address) = question.address {
            let (family, number) = (Family::of(address), number(address));
            let families = state.pools.values().filter_map(|pool| pool.family(family));
            let holders = families.filter_map(|addresses| addresses.held.get(&number).copied());
            return Some(holders.collect());
        }
        let attachment = attachment_key(owner);
        if attachment != 0 && !owner.network.is_empty() && !owner.ifname.is_empty() {
            return Some(state.by_attachment.with(attachment).collect());
        }
        let pod = pod_key(&owner.namespace, &owner.pod);
        if pod != 0 && !owner.namespace.is_empty() {
            return Some(state.by_pod.with(pod).collect());
        }
        let mac = text_key(&question.mac);
        (mac != 0).then(|| state.by_mac.with(mac).collect())
    }
}
