//! Reservations: addresses that only an owner of a certain identity gets.

use std::sync::Arc;

use super::draft::Draft;
use super::state::{PoolId, ReservationRecord};
use crate::error::Error;
use crate::event::EventType;
use crate::family::{Family, number};
use crate::keys::pod_key;
use crate::lease::{Lease, Owner};
use crate::request::Wish;
use crate::reservation::{Identity, Reservation};

impl Draft<'_> {
    /// Reserves addresses for an identity.
    ///
    /// # Errors
    /// See `ReservationService.CreateReservation`.
    pub fn create_reservation(
        &mut self,
        wanted: Reservation,
        request_id: &str,
    ) -> Result<Arc<Reservation>, Error> {
        let pool = self.check_reservation(&wanted)?;
        if let Some(existing) = self.state.reservations.get(&wanted.name) {
            let existing = &existing.reservation;
            if !request_id.is_empty() && existing.is_same_as(&wanted) {
                return Ok(existing.clone());
            }
            return Err(Error::ReservationExists {
                name: wanted.name.as_ref().to_owned(),
            });
        }
        self.check_free(pool, &wanted)?;
        let reservation = Arc::new(Reservation {
            create_time: Some(self.now),
            ..wanted
        });
        self.put_reservation(EventType::Created, None, Some(reservation.clone()))?;
        Ok(reservation)
    }

    /// Whether the addresses of a reservation are nobody else's. Who holds them now and is whom they are reserved for may go
    /// on.
    fn check_free(&self, id: PoolId, wanted: &Reservation) -> Result<(), Error> {
        let pool = self.pool(id)?;
        for family in Family::ALL {
            let address = wanted.address(family);
            let (Some(addresses), Some(address)) = (pool.family(family), address) else {
                continue;
            };
            let name = pool.pool.name.as_ref().to_owned();
            if let Some(other) = addresses.reserved.get(&number(address)) {
                return Err(Error::AddressReserved {
                    address,
                    pool: name,
                    why: format!("it is reserved by reservation {other}"),
                });
            }
            let Some(&holder) = addresses.held.get(&number(address)) else {
                continue;
            };
            let lease: Arc<Lease> = self.lease(holder)?.unwrap_or_default();
            if !wanted.identity.matches(lease.owner(), &lease.mac) {
                return Err(Error::AddressInUse {
                    address,
                    pool: name,
                    holder: self.describe(holder)?,
                });
            }
        }
        Ok(())
    }

    /// Whether the addresses of a reservation are of its pool, whose number is returned.
    fn check_reservation(&self, wanted: &Reservation) -> Result<PoolId, Error> {
        let (id, existing) = self.pool_named(&wanted.pool)?;
        for family in Family::ALL {
            let Some(address) = wanted.address(family) else {
                continue;
            };
            let pool = wanted.pool.as_ref().to_owned();
            let number = number(address);
            let subnet = existing.pool.subnet(family);
            if let Some(why) = subnet.and_then(|subnet| subnet.withheld(number)) {
                let why = why.to_owned();
                return Err(Error::AddressReserved { address, pool, why });
            }
            if !subnet.is_some_and(|subnet| subnet.leasable.contains(number)) {
                let pools = vec![pool];
                return Err(Error::AddressNotInPool { address, pools });
            }
        }
        Ok(id)
    }

    /// One reservation.
    ///
    /// # Errors
    /// [`Error::ReservationNotFound`].
    pub fn get_reservation(&self, name: &str) -> Result<Arc<Reservation>, Error> {
        let record = self.state.reservations.get(name);
        record
            .filter(|record| self.reaches_reservation(record))
            .map(|record| record.reservation.clone())
            .ok_or_else(|| Error::ReservationNotFound {
                name: name.to_owned(),
            })
    }

    /// All reservations by name.
    pub fn list_reservations(&self) -> Vec<Arc<Reservation>> {
        let records = self.state.reservations.values();
        records
            .filter(|record| self.reaches_reservation(record))
            .map(|record| record.reservation.clone())
            .collect()
    }

    /// Whether the caller reaches a reservation: a node those whose addresses its leases hold.
    fn reaches_reservation(&self, record: &ReservationRecord) -> bool {
        self.node.is_none() || self.holders_of(record).any(|lease| self.reaches(&lease))
    }

    /// The leases that hold addresses of a reservation.
    fn holders_of(&self, record: &ReservationRecord) -> impl Iterator<Item = Arc<Lease>> + '_ {
        let pool = self.state.pools.get(&record.pool);
        let holders = Family::ALL.map(|family| {
            let addresses = pool.and_then(|pool| pool.family(family));
            let held = addresses.zip(record.number(family));
            held.and_then(|(addresses, number)| addresses.held.get(&number).copied())
        });
        // A lease that cannot be read is an error where it is leased.
        let leases = holders.into_iter().flatten();
        leases.filter_map(|id| self.lease(id).ok().flatten())
    }

    /// Ends a reservation.
    ///
    /// # Errors
    /// [`Error::ReservationNotFound`].
    pub fn delete_reservation(&mut self, name: &str) -> Result<(), Error> {
        let not_found = || Error::ReservationNotFound {
            name: name.to_owned(),
        };
        let record = self.state.reservations.get(name).ok_or_else(not_found)?;
        let before = record.reservation.clone();
        self.put_reservation(EventType::Deleted, Some(before), None)
    }

    /// Whether a reservation is for the owner of a lease.
    pub(super) fn is_reserved_for(&self, name: &str, lease: &Lease) -> bool {
        let record = self.state.reservations.get(name);
        record.is_some_and(|record| {
            let identity = &record.reservation.identity;
            identity.matches(lease.owner(), &lease.mac)
        })
    }

    /// The pools of a request in the order to try them: those with a reservation for the caller come first.
    pub(super) fn in_order<'w>(&self, wish: &'w Wish) -> Vec<&'w str> {
        let mut names: Vec<_> = wish.requested.pools.iter().map(String::as_str).collect();
        if names.len() > 1 {
            names.sort_by_key(|name| {
                let pool = self.state.pool(name);
                pool.is_none_or(|(id, _)| self.reservation_for(id, wish).is_none())
            });
        }
        names
    }

    /// The reservation of a pool that is for the caller, unless another interface of the same pod or claim has it.
    pub(super) fn reservation_for(&self, pool: PoolId, wish: &Wish) -> Option<ReservationRecord> {
        let owner = &wish.owner;
        let keys = [
            tagged(1, pod_key(&owner.namespace, &owner.claim)),
            tagged(2, pod_key(&owner.namespace, &owner.pod)),
            tagged(3, pod_key(&owner.namespace, &wish.mac)),
        ];
        keys.into_iter().flatten().find_map(|key| {
            let names = self.state.identities.range((key, Arc::default())..);
            names
                .take_while(|(at, _)| *at == key)
                .find_map(|(_, name)| {
                    let record = self.state.reservations.get(name)?;
                    let fits = record.pool == pool
                        && record.reservation.identity.matches(owner, &wish.mac)
                        && !self.is_of_another_interface(record, owner);
                    fits.then(|| record.clone())
                })
        })
    }

    /// Whether an active lease of the same pod or claim, but of another interface, has an address of a reservation.
    fn is_of_another_interface(&self, record: &ReservationRecord, owner: &Owner) -> bool {
        self.holders_of(record).any(|lease| {
            let holder = lease.owner();
            lease.is_active()
                && holder.is_same_identity(owner)
                && (&holder.network, &holder.ifname) != (&owner.network, &owner.ifname)
        })
    }
}

/// What a reservation is found by: the most selective name.
pub(super) fn identity_key(identity: &Identity) -> Option<u64> {
    let key = |name| pod_key(&identity.namespace, name);
    tagged(1, key(&identity.claim))
        .or(tagged(2, key(&identity.pod)))
        .or(tagged(3, key(&identity.mac)))
}

/// Keeps keys of different kinds apart.
fn tagged(kind: u64, key: u32) -> Option<u64> {
    (key != 0).then(|| (kind << 32) | u64::from(key))
}
