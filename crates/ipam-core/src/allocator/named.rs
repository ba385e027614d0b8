//! An address that a request or its reservation names: whether it can be leased, and whom it is taken over from.

use std::net::IpAddr;
use std::sync::Arc;

use super::draft::Draft;
use super::state::{FamilyUse, LeaseRecord, PoolId, PoolUse, ReservationRecord};
use crate::error::Error;
use crate::event::EventType;
use crate::family::{Family, number};
use crate::lease::{Lease, LeaseId};
use crate::pool::{Families, RequestedAddresses};
use crate::request::Wish;

impl Draft<'_> {
    /// The address of a family that the request or its reservation names, after checking that it can be leased.
    pub(super) fn named(
        &mut self,
        id: PoolId,
        family: Family,
        wish: &Wish,
        reservation: Option<&ReservationRecord>,
    ) -> Result<Option<u128>, Error> {
        // A request for one family takes nothing of the other.
        let is_refused = matches!(wish.families(), Some(Families::One(one)) if one != family);
        let reserved = reservation.and_then(|reservation| reservation.number(family));
        let reserved = reserved.filter(|_| !is_refused);
        let Some(number) = wish.address(family).map(number).or(reserved) else {
            return Ok(None);
        };
        let pool = self.pool(id)?;
        let Some(addresses) = pool.family(family) else {
            return Ok(None);
        };
        let address = addresses.subnet.address(number);
        let name = || pool.pool.name.as_ref().to_owned();
        let is_own = reserved == Some(number);
        let refused = addresses
            .subnet
            .withheld(number)
            .or(wish.address(family).and(may_not_be_named(pool, is_own)));
        if let Some(why) = refused {
            return Err(Error::AddressReserved {
                address,
                pool: name(),
                why: why.to_owned(),
            });
        }
        let reserved_by = addresses.reserved.get(&number).cloned();
        if let Some(other) = &reserved_by
            && reservation.is_none_or(|own| own.reservation.name != *other)
        {
            return Err(Error::AddressReserved {
                address,
                pool: name(),
                why: self.why_reserved(other),
            });
        }
        let Some(&holder) = addresses.held.get(&number) else {
            return Ok(Some(number));
        };
        let name = name();
        if let Some(record) = self.state.quarantined(holder) {
            // The quarantine of a reserved address is for nobody else.
            if reserved_by.is_some() {
                self.cut_short(holder)?;
                return Ok(Some(number));
            }
            return Err(Error::AddressQuarantined {
                address,
                pool: name,
                seconds: self.seconds_left(record),
            });
        }
        if self.may_take_over(reserved_by.as_deref(), holder, wish)? {
            self.hand_over(holder)?;
            return Ok(Some(number));
        }
        Err(Error::AddressInUse {
            address,
            pool: name,
            holder: self.describe(holder)?,
        })
    }

    /// How long a quarantine goes on.
    fn seconds_left(&self, record: &LeaseRecord) -> u64 {
        let left = record.until.saturating_sub(self.now.as_millisecond());
        u64::try_from(left).unwrap_or(0).div_ceil(1000)
    }

    /// Whether the addresses of an active lease go to a request: by a reservation that names both, the holder and the caller.
    /// A node takes them from another node only by the claim that the reservation names, and which the holder has, too: it
    /// could say of any pod that it has it.
    fn may_take_over(
        &self,
        reservation: Option<&str>,
        holder: LeaseId,
        wish: &Wish,
    ) -> Result<bool, Error> {
        let (Some(reservation), Some(lease)) = (reservation, self.lease(holder)?) else {
            return Ok(false);
        };
        let is_near =
            self.reaches_attachment(&lease) || self.is_by_claim(reservation, &lease, wish);
        Ok(is_near && self.is_reserved_for(reservation, &lease) && is_predecessor(&lease, wish))
    }

    /// Whether reservation, holder and request all name the same claim.
    fn is_by_claim(&self, reservation: &str, holder: &Lease, wish: &Wish) -> bool {
        let record = self.state.reservations.get(reservation);
        let claim = record.map_or("", |record| &record.reservation.identity.claim);
        !claim.is_empty() && holder.owner().claim == claim && wish.owner.claim == claim
    }

    /// Ends a lease whose addresses go to its successor at once.
    fn hand_over(&mut self, holder: LeaseId) -> Result<(), Error> {
        if let Some(lease) = self.lease(holder)? {
            self.end(lease, EventType::Released)?;
        }
        match self.state.leases.contains_key(&holder) {
            true => self.cut_short(holder),
            false => Ok(()),
        }
    }

    /// Why a reserved address is not leased: a node learns no names of reservations that are not for its leases.
    pub(super) fn why_reserved(&self, reservation: &str) -> String {
        match &self.node {
            Some(_) => "it is reserved for another owner".to_owned(),
            None => format!("it is reserved by reservation {reservation}"),
        }
    }

    /// Why the partner of a named address cannot be leased.
    pub(super) fn partner_not_free(
        &self,
        pool: &PoolUse,
        addresses: &FamilyUse,
        number: u128,
        named: IpAddr,
    ) -> Error {
        let address = addresses.subnet.address(number);
        let name = pool.pool.name.as_ref().to_owned();
        let partner = format!("{address} is the partner of {named}, since pairs are ALIGNED");
        if let Some(&holder) = addresses.held.get(&number) {
            if let Some(record) = self.state.quarantined(holder) {
                return Error::AddressQuarantined {
                    address,
                    pool: name,
                    seconds: self.seconds_left(record),
                };
            }
            return match self.describe(holder) {
                Ok(holder) => Error::AddressInUse {
                    address,
                    pool: name,
                    holder: format!("{holder}; {partner}"),
                },
                Err(error) => error,
            };
        }
        let reservation = addresses.reserved.get(&number);
        let why = match (addresses.subnet.withheld(number), reservation) {
            (Some(why), _) => why.to_owned(),
            (None, Some(reservation)) => self.why_reserved(reservation),
            (None, None) => "it is in none of the ranges".to_owned(),
        };
        Error::AddressReserved {
            address,
            pool: name,
            why: format!("{why}; {partner}"),
        }
    }

    /// A lease in a few words.
    pub(super) fn describe(&self, id: LeaseId) -> Result<String, Error> {
        let lease: Arc<Lease> = self.lease(id)?.unwrap_or_default();
        if !self.reaches(&lease) {
            return Ok("a lease of another node".to_owned());
        }
        let owner = lease.owner();
        let who = if owner.pod.is_empty() {
            [&owner.claim, &owner.container_id, &owner.node, &owner.kind]
                .into_iter()
                .find(|name| !name.is_empty())
                .cloned()
                .unwrap_or_else(|| "an owner without a name".to_owned())
        } else {
            format!("pod {}/{}", owner.namespace, owner.pod)
        };
        Ok(format!("lease {id} of {who}"))
    }
}

/// Whether a lease is of the same interface of the same pod or claim as the request, in another container: one that
/// is gone or going, whose DEL has not come yet.
fn is_predecessor(lease: &Lease, wish: &Wish) -> bool {
    let (before, now) = (lease.owner(), &wish.owner);
    before.is_same_identity(now)
        && before.container_id != now.container_id
        && before.network == now.network
        && before.ifname == now.ifname
}

/// Why a request may not name an address; `is_own`: it is that of a reservation for its owner.
fn may_not_be_named(pool: &PoolUse, is_own: bool) -> Option<&'static str> {
    match pool.pool.requested_addresses {
        None | Some(RequestedAddresses::Allow) => None,
        Some(RequestedAddresses::Reserved) if is_own => None,
        Some(RequestedAddresses::Reserved) => {
            Some("the pool allocates a requested address only to the owner of its reservation")
        }
        Some(RequestedAddresses::Deny) => {
            Some("the pool allocates no requested address; ask without ips")
        }
    }
}
