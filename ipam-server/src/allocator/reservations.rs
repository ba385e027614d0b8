//! Reservations: addresses that only an owner of a certain identity gets.

use std::sync::Arc;

use proto::ipam::v1::{self as ipam, EventType};

use super::draft::Draft;
use super::state::{Kept, PoolId};
use crate::error::{Error, Family};
use crate::lease::{Wish, mac, pod_key, timestamp};
use crate::pool::{Problems, number};

impl Draft<'_> {
    /// Keeps addresses for an identity.
    ///
    /// # Errors
    /// See `ReservationService.CreateReservation`.
    pub fn create_reservation(
        &mut self,
        mut wanted: ipam::Reservation,
        request_id: &str,
    ) -> Result<ipam::Reservation, Error> {
        let (pool, ipv4, ipv6) = self.check_reservation(&mut wanted)?;
        if let Some(there) = self.state.reservations.get(wanted.name.as_str()) {
            let mut same = (*there.message).clone();
            same.create_time = None;
            wanted.create_time = None;
            if !request_id.is_empty() && same == wanted {
                return Ok((*there.message).clone());
            }
            return Err(Error::ReservationExists { name: wanted.name });
        }
        let state = self.pool(pool)?;
        for (family, wish) in [(Family::V4, ipv4), (Family::V6, ipv6)] {
            let (Some(half), Some(number)) = (state.half(family), wish) else {
                continue;
            };
            let address = half.subnet.address(number);
            let name = state.pool.name().to_owned();
            if let Some(other) = half.reserved.get(&number) {
                let why = format!("it is kept by reservation {other}");
                return Err(Error::AddressReserved {
                    address,
                    pool: name,
                    why,
                });
            }
            // Who holds it now and is whom it is kept for may go on.
            if let Some(&id) = half.held.get(&number) {
                let lease = self.lease(id)?.unwrap_or_default();
                let owner = lease.owner.clone().unwrap_or_default();
                if !matches(&wanted, &owner, &lease.mac) {
                    let holder = self.describe(id)?;
                    return Err(Error::AddressInUse {
                        address,
                        pool: name,
                        holder,
                    });
                }
            }
        }
        wanted.create_time = Some(timestamp(self.now));
        self.put_reservation(EventType::Created, None, Some(wanted.clone()))?;
        Ok(wanted)
    }

    /// One reservation.
    ///
    /// # Errors
    /// [`Error::ReservationNotFound`].
    pub fn get_reservation(&self, name: &str) -> Result<ipam::Reservation, Error> {
        let kept = self.state.reservations.get(name);
        let not_found = || Error::ReservationNotFound {
            name: name.to_owned(),
        };
        kept.filter(|kept| self.reaches_kept(kept))
            .map(|kept| (*kept.message).clone())
            .ok_or_else(not_found)
    }

    /// Whether the caller reaches a reservation: a node those whose addresses its leases hold.
    fn reaches_kept(&self, kept: &Kept) -> bool {
        let state = self.state.pools.get(&kept.pool);
        self.node.is_none()
            || [Family::V4, Family::V6].into_iter().any(|family| {
                let half = state
                    .and_then(|state| state.half(family))
                    .zip(kept.number(family));
                let holder = half.and_then(|(half, number)| half.held.get(&number).copied());
                let lease = holder.and_then(|id| self.lease(id).ok().flatten());
                lease.is_some_and(|lease| self.reaches(&lease))
            })
    }

    /// All reservations by name.
    pub fn list_reservations(&self) -> Vec<ipam::Reservation> {
        self.state
            .reservations
            .values()
            .filter(|kept| self.reaches_kept(kept))
            .map(|kept| (*kept.message).clone())
            .collect()
    }

    /// Ends a reservation.
    ///
    /// # Errors
    /// [`Error::ReservationNotFound`].
    pub fn delete_reservation(&mut self, name: &str) -> Result<(), Error> {
        let not_found = || Error::ReservationNotFound {
            name: name.to_owned(),
        };
        let kept = self.state.reservations.get(name).ok_or_else(not_found)?;
        let before = (*kept.message).clone();
        self.put_reservation(EventType::Deleted, Some(before), None)
    }

    /// Checks a reservation and gives its addresses as numbers.
    pub(super) fn check_reservation(
        &self,
        wanted: &mut ipam::Reservation,
    ) -> Result<(PoolId, Option<u128>, Option<u128>), Error> {
        let mut problems = Problems::default();
        problems.name("reservation.name", &wanted.name);
        let mut address = |field: &str, text: &mut String, family| {
            if text.is_empty() {
                return None;
            }
            let address = problems.address(field, text, Some(family))?;
            *text = address.to_string();
            Some(address)
        };
        let ipv4 = address("reservation.ipv4", &mut wanted.ipv4, Family::V4);
        let ipv6 = address("reservation.ipv6", &mut wanted.ipv6, Family::V6);
        if wanted.ipv4.is_empty() && wanted.ipv6.is_empty() {
            problems.add("reservation.ipv4", "a reservation needs ipv4 or ipv6");
        }
        let identity = wanted.identity.get_or_insert_default();
        identity.mac = mac("reservation.identity.mac", &identity.mac, &mut problems);
        if identity.pod.is_empty() && identity.claim.is_empty() && identity.mac.is_empty() {
            problems.add("reservation.identity", "needs a pod, a claim or a mac");
        }
        if !identity.pod.is_empty() && identity.namespace.is_empty() {
            problems.add("reservation.identity.namespace", "is needed with a pod");
        }
        problems.labels("reservation.labels", &wanted.labels);
        problems.into_result()?;
        let (id, state) = self
            .state
            .pool(&wanted.pool)
            .ok_or_else(|| Error::PoolNotFound {
                pool: wanted.pool.clone(),
            })?;
        for (family, address) in [(Family::V4, ipv4), (Family::V6, ipv6)] {
            let Some(address) = address else {
                continue;
            };
            let subnet = state.half(family).map(|half| &half.subnet);
            let pool = wanted.pool.clone();
            match subnet.map(|subnet| (subnet.kept_back(number(address)), subnet)) {
                Some((Some(why), _)) => {
                    let why = why.to_owned();
                    return Err(Error::AddressReserved { address, pool, why });
                }
                Some((None, subnet)) if subnet.leasable.contains(number(address)) => {}
                _ => {
                    return Err(Error::AddressNotInPool {
                        address,
                        pools: vec![pool],
                    });
                }
            }
        }
        Ok((id, ipv4.map(number), ipv6.map(number)))
    }

    /// Whether a reservation is for the owner of a lease.
    pub(super) fn is_kept_for(&self, name: &str, lease: &ipam::Lease) -> bool {
        let none = ipam::Owner::default();
        let owner = lease.owner.as_ref().unwrap_or(&none);
        self.state
            .reservations
            .get(name)
            .is_some_and(|kept| matches(&kept.message, owner, &lease.mac))
    }

    /// The pools of a request in the order to try them: those with a reservation for who asks come first.
    pub(super) fn in_order<'w>(&self, wish: &'w Wish) -> Vec<&'w str> {
        let mut names: Vec<_> = wish.pools.iter().map(String::as_str).collect();
        if names.len() > 1 {
            names.sort_by_key(|name| {
                let pool = self.state.pool(name);
                pool.is_none_or(|(id, _)| self.reservation_for(id, wish).is_none())
            });
        }
        names
    }

    /// The reservation of a pool that is for who asks, unless another interface of the same pod or claim has it.
    pub(super) fn reservation_for(&self, pool: PoolId, wish: &Wish) -> Option<Kept> {
        let owner = &wish.owner;
        let keys = [
            tagged(1, pod_key(&owner.namespace, &owner.claim)),
            tagged(2, pod_key(&owner.namespace, &owner.pod)),
            tagged(3, pod_key(&owner.namespace, &wish.mac)),
        ];
        keys.into_iter().flatten().find_map(|key| {
            let names = self.state.identities.range((key, Arc::from(""))..);
            names
                .take_while(|(at, _)| *at == key)
                .find_map(|(_, name)| {
                    let kept = self.state.reservations.get(name)?;
                    let fits = kept.pool == pool
                        && matches(&kept.message, owner, &wish.mac)
                        && !self.is_of_another_interface(kept, owner);
                    fits.then(|| kept.clone())
                })
        })
    }

    /// Whether an active lease of the same pod or claim, but of another interface, has an address of a reservation.
    fn is_of_another_interface(&self, kept: &Kept, owner: &ipam::Owner) -> bool {
        let state = self.state.pools.get(&kept.pool);
        [Family::V4, Family::V6].into_iter().any(|family| {
            let half = state.and_then(|state| state.half(family));
            let holder = half
                .zip(kept.number(family))
                .and_then(|(half, number)| half.held.get(&number).copied());
            // A lease that cannot be read is told of when it is given.
            let lease = holder.and_then(|id| self.lease(id).ok().flatten());
            lease.is_some_and(|lease| {
                let there = lease.owner.clone().unwrap_or_default();
                lease.state() == ipam::lease::State::Active
                    && same_identity(&there, owner)
                    && (&there.network, &there.ifname) != (&owner.network, &owner.ifname)
            })
        })
    }
}

/// Whether two owners are the same pod or claim.
pub(super) fn same_identity(one: &ipam::Owner, two: &ipam::Owner) -> bool {
    let same_claim = !one.claim.is_empty() && one.claim == two.claim;
    let same_pod = !one.pod.is_empty() && one.pod == two.pod;
    one.cluster == two.cluster && one.namespace == two.namespace && (same_claim || same_pod)
}

/// What a reservation is found by: its most telling name.
pub(super) fn identity_keys(reservation: &ipam::Reservation) -> impl Iterator<Item = u64> + use<> {
    let none = ipam::Identity::default();
    let identity = reservation.identity.as_ref().unwrap_or(&none);
    let key = |name| pod_key(&identity.namespace, name);
    tagged(1, key(&identity.claim))
        .or(tagged(2, key(&identity.pod)))
        .or(tagged(3, key(&identity.mac)))
        .into_iter()
}

/// Keeps keys of different kinds apart.
fn tagged(kind: u64, key: u32) -> Option<u64> {
    (key != 0).then(|| (kind << 32) | u64::from(key))
}

/// Whether all that a reservation names holds of an owner.
fn matches(reservation: &ipam::Reservation, owner: &ipam::Owner, mac: &str) -> bool {
    let Some(identity) = &reservation.identity else {
        return false;
    };
    // A claim or a MAC of one namespace is nothing in another one.
    if identity.namespace != owner.namespace {
        return false;
    }
    [
        (&identity.cluster, owner.cluster.as_str()),
        (&identity.pod, &owner.pod),
        (&identity.claim, &owner.claim),
        (&identity.mac, mac),
        (&identity.network, &owner.network),
        (&identity.ifname, &owner.ifname),
    ]
    .iter()
    .all(|(wanted, given)| wanted.is_empty() || wanted.as_str() == *given)
}
