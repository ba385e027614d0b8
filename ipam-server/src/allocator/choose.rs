//! Which addresses a new lease gets from one pool.

use proto::ipam::v1::EventType;

use super::draft::Draft;
use super::reservations::same_identity;
use super::state::{Half, Held, Kept, PoolId, PoolState};
use crate::error::{Error, Family};
use crate::lease::Wish;
use crate::pool::{Families, Strategy, number};
use crate::store::LeaseId;

/// The addresses chosen, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) ipv4: Option<u128>,
    pub(super) ipv6: Option<u128>,
}

impl Choice {
    fn set(&mut self, family: Family, number: u128) {
        match family {
            Family::V4 => self.ipv4 = Some(number),
            Family::V6 => self.ipv6 = Some(number),
        }
    }

    fn number(&self, family: Family) -> Option<u128> {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}

impl Draft<'_> {
    /// Chooses for `wish` from `pool`, with the addresses of `reservation` first. May end quarantines before
    /// their time if nothing else is free.
    pub(super) fn choose(
        &mut self,
        pool: PoolId,
        wish: &Wish,
        reservation: Option<&Kept>,
    ) -> Result<Choice, Error> {
        let mut choice = Choice::default();
        for family in [Family::V4, Family::V6] {
            if let Some(number) = self.named(pool, family, wish, reservation)? {
                choice.set(family, number);
            }
        }
        let state = self.pool(pool)?;
        let families = wish.families.unwrap_or(state.pool.families);
        let wanted: Vec<Family> = [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| match families {
                Families::Both => true,
                Families::Any => state.half(*family).is_some(),
                Families::One(one) => one == *family,
            })
            .collect();
        if let Some(family) = wanted.iter().find(|&&family| state.half(family).is_none()) {
            let problem = format!("pool {} has no {family} addresses", state.pool.name());
            return Err(Error::field("families_required", problem));
        }
        let open: Vec<Family> = wanted
            .iter()
            .copied()
            .filter(|&family| choice.number(family).is_none())
            .collect();
        if state.pool.aligned && wanted.len() == 2 && open.is_empty() {
            check_aligned(state, wish, &choice)?;
        }
        if state.pool.aligned && wanted.len() == 2 && !open.is_empty() {
            match self.choose_aligned(pool, &open, &mut choice) {
                // A pair is wanted, not needed: one address by itself will do.
                Err(Error::PoolExhausted { .. })
                    if families == Families::Any && open.len() == 2 => {}
                result => return result.map(|()| choice),
            }
        }
        let mut exhausted = None;
        for family in open {
            match self.choose_one(pool, family) {
                Ok(number) => choice.set(family, number),
                Err(error @ Error::PoolExhausted { .. }) if families == Families::Any => {
                    exhausted = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match exhausted {
            Some(error) if choice == Choice::default() => Err(error),
            _ => Ok(choice),
        }
    }

    /// An address that the request or its reservation names, after checking that it can be given.
    fn named(
        &mut self,
        pool: PoolId,
        family: Family,
        wish: &Wish,
        reservation: Option<&Kept>,
    ) -> Result<Option<u128>, Error> {
        let reserved = reservation
            .and_then(|kept| kept.number(family))
            .filter(|_| {
                // A request for one family takes nothing of the other.
                !matches!(wish.families, Some(Families::One(one)) if one != family)
            });
        let Some(number) = wish.address(family).map(number).or(reserved) else {
            return Ok(None);
        };
        let state = self.pool(pool)?;
        let name = state.pool.name().to_owned();
        let Some(half) = state.half(family) else {
            return Ok(None);
        };
        let address = half.subnet.address(number);
        if let Some(why) = half.subnet.kept_back(number) {
            let why = why.to_owned();
            return Err(Error::AddressReserved {
                address,
                pool: name,
                why,
            });
        }
        if wish.address(family).is_some()
            && let Some(why) = may_not_be_named(state, reserved == Some(number))
        {
            let why = why.to_owned();
            return Err(Error::AddressReserved {
                address,
                pool: name,
                why,
            });
        }
        let kept_for = half.reserved.get(&number).cloned();
        if let Some(other) = &kept_for
            && reservation.is_none_or(|kept| *kept.message.name != **other)
        {
            let why = self.kept_by(other);
            return Err(Error::AddressReserved {
                address,
                pool: name,
                why,
            });
        }
        let Some(&holder) = half.held.get(&number) else {
            return Ok(Some(number));
        };
        let rests = self
            .state
            .leases
            .get(&holder)
            .filter(|held| held.quarantined)
            .copied();
        match rests {
            // What is reserved rests for nobody else.
            Some(_) if kept_for.is_some() => {
                self.press(holder)?;
                Ok(Some(number))
            }
            Some(held) => {
                let left = held.until.saturating_sub(self.now.as_millisecond());
                let seconds = u64::try_from(left).unwrap_or(0).div_ceil(1000);
                Err(Error::AddressQuarantined {
                    address,
                    pool: name,
                    seconds,
                })
            }
            None if self.may_take_over(kept_for.as_deref(), holder, wish)? => {
                self.hand_over(holder)?;
                Ok(Some(number))
            }
            None => {
                let holder = self.describe(holder)?;
                Err(Error::AddressInUse {
                    address,
                    pool: name,
                    holder,
                })
            }
        }
    }

    /// Whether the addresses of an active lease go to a request: by a reservation that names both, the holder and the caller.
    /// A node takes them from another node only by the claim that the reservation names, and which the holder has, too: it
    /// could say of any pod that it has it.
    fn may_take_over(
        &self,
        kept_for: Option<&str>,
        holder: LeaseId,
        wish: &Wish,
    ) -> Result<bool, Error> {
        let Some(reservation) = kept_for else {
            return Ok(false);
        };
        let lease = self.lease(holder)?.unwrap_or_default();
        let is_near =
            self.reaches_attachment(&lease) || self.is_by_claim(reservation, &lease, wish);
        Ok(
            is_near
                && self.is_kept_for(reservation, &lease)
                && self.is_predecessor(holder, wish)?,
        )
    }

    /// Whether reservation, holder and request all name the same claim.
    fn is_by_claim(&self, reservation: &str, holder: &proto::ipam::v1::Lease, wish: &Wish) -> bool {
        let kept = self.state.reservations.get(reservation);
        let kept = kept.and_then(|kept| kept.message.identity.as_ref());
        let claim = kept.map_or("", |identity| identity.claim.as_str());
        let of_holder = holder.owner.as_ref().map_or("", |owner| &owner.claim);
        !claim.is_empty() && of_holder == claim && wish.owner.claim == claim
    }

    /// Whether a lease is of the same interface of the same pod or claim as the request, in another container: one that
    /// is gone or going, whose DEL has not come yet.
    fn is_predecessor(&self, holder: LeaseId, wish: &Wish) -> Result<bool, Error> {
        let lease = self.lease(holder)?.unwrap_or_default();
        let (before, now) = (lease.owner.unwrap_or_default(), &wish.owner);
        Ok(same_identity(&before, now)
            && before.container_id != now.container_id
            && before.network == now.network
            && before.ifname == now.ifname)
    }

    /// Ends a lease whose addresses go to its successor at once.
    fn hand_over(&mut self, holder: LeaseId) -> Result<(), Error> {
        if let Some(lease) = self.lease(holder)? {
            self.end(holder, lease, EventType::Released)?;
        }
        match self.state.leases.contains_key(&holder) {
            true => self.press(holder),
            false => Ok(()),
        }
    }

    /// Both at one offset, or the other one of an address that is named.
    fn choose_aligned(
        &mut self,
        pool: PoolId,
        open: &[Family],
        choice: &mut Choice,
    ) -> Result<(), Error> {
        if let [family] = *open {
            let other = if family == Family::V4 {
                Family::V6
            } else {
                Family::V4
            };
            let state = self.pool(pool)?;
            let (Some(half), Some(named)) = (state.half(family), choice.number(other)) else {
                return Ok(());
            };
            let base = state.half(other).map_or(0, |half| *half.subnet.all.start());
            let number = half.subnet.all.start().saturating_add(named - base);
            if !half.free.contains(number) {
                let named = half_address(state, other, named);
                return Err(self.partner_in_the_way(pool, half, number, named));
            }
            choice.set(family, number);
            return Ok(());
        }
        let offset = loop {
            let state = self.pool(pool)?;
            let start = state.half(Family::V4).map_or(0, |half| {
                begin(state, half).wrapping_sub(*half.subnet.all.start())
            });
            if let Some(offset) = state.pairs.first_from_wrapping(start) {
                break offset;
            }
            self.press_oldest(pool, |held| {
                !held.ipv4.is_unspecified() && !held.ipv6.is_unspecified()
            })?
            .then_some(())
            .ok_or_else(|| self.exhausted(pool, None))?;
        };
        for family in [Family::V4, Family::V6] {
            let base = self
                .pool(pool)?
                .half(family)
                .map_or(0, |half| *half.subnet.all.start());
            choice.set(family, base + offset);
        }
        if let Some(first) = choice.ipv4 {
            self.set_cursor(pool, Family::V4, first.saturating_add(1));
        }
        Ok(())
    }

    /// Why a reserved address is not leased: a node learns no names of reservations that are not for its leases.
    pub(super) fn kept_by(&self, reservation: &str) -> String {
        match &self.node {
            Some(_) => "it is reserved for another owner".to_owned(),
            None => format!("it is kept by reservation {reservation}"),
        }
    }

    /// Why the partner of an address that was asked for cannot be leased.
    fn partner_in_the_way(
        &self,
        pool: PoolId,
        half: &Half,
        number: u128,
        named: std::net::IpAddr,
    ) -> Error {
        let address = half.subnet.address(number);
        let name = match self.pool(pool) {
            Ok(state) => state.pool.name().to_owned(),
            Err(error) => return error,
        };
        let partner = format!("{address} is the partner of {named}, since pairs are ALIGNED");
        if let Some(&holder) = half.held.get(&number) {
            let rests = self
                .state
                .leases
                .get(&holder)
                .filter(|held| held.quarantined);
            if let Some(held) = rests {
                let left = held.until.saturating_sub(self.now.as_millisecond());
                return Error::AddressQuarantined {
                    address,
                    pool: name,
                    seconds: u64::try_from(left).unwrap_or(0).div_ceil(1000),
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
        let why = match (half.subnet.kept_back(number), half.reserved.get(&number)) {
            (Some(why), _) => why.to_owned(),
            (None, Some(reservation)) => self.kept_by(reservation),
            (None, None) => "it is in none of the ranges".to_owned(),
        };
        Error::AddressReserved {
            address,
            pool: name,
            why: format!("{why}; {partner}"),
        }
    }

    fn choose_one(&mut self, pool: PoolId, family: Family) -> Result<u128, Error> {
        let number = loop {
            let state = self.pool(pool)?;
            let found = state
                .half(family)
                .and_then(|half| half.free.first_from_wrapping(begin(state, half)));
            if let Some(number) = found {
                break number;
            }
            self.press_oldest(pool, |held| held.number(family).is_some())?
                .then_some(())
                .ok_or_else(|| self.exhausted(pool, Some(family)))?;
        };
        self.set_cursor(pool, family, number.saturating_add(1));
        Ok(number)
    }

    /// Ends the quarantine that would end first of those that help; false if there is none.
    fn press_oldest(&mut self, pool: PoolId, helps: impl Fn(&Held) -> bool) -> Result<bool, Error> {
        let state = self.pool(pool)?;
        let found = state.resting.iter().map(|(_, id)| *id).find(|id| {
            let held = self.state.leases.get(id);
            // What a reservation keeps would not become free.
            held.is_some_and(|held| helps(held) && !is_reserved(state, held))
        });
        match found {
            Some(id) => self.press(id).map(|()| true),
            None => Ok(false),
        }
    }

    fn press(&mut self, id: LeaseId) -> Result<(), Error> {
        let before = self.lease(id)?;
        self.put_lease(EventType::Pressed, id, before, None)
    }

    fn exhausted(&self, pool: PoolId, family: Option<Family>) -> Error {
        let state = match self.pool(pool) {
            Ok(state) => state,
            Err(error) => return error,
        };
        let free = |family| state.half(family).map_or(0, |half| half.free.count());
        let family = family.unwrap_or(if free(Family::V4) == 0 {
            Family::V4
        } else {
            Family::V6
        });
        let half = state.half(family);
        let total = half.map_or(0, |half| half.subnet.leasable.count());
        let kept = half.map_or(0, |half| half.reserved.len());
        Error::PoolExhausted {
            pool: state.pool.name().to_owned(),
            family,
            hint: format!(
                "{total} can be leased, {kept} are reserved; release leases, widen its ranges, or name another pool behind it"
            ),
        }
    }

    pub(super) fn pool(&self, id: PoolId) -> Result<&PoolState, Error> {
        self.state.pools.get(&id).ok_or_else(|| Error::Broken {
            what: format!("there is no pool with number {}", id.0),
        })
    }

    /// A lease in a few words.
    pub(super) fn describe(&self, id: LeaseId) -> Result<String, Error> {
        let lease = self.lease(id)?.unwrap_or_default();
        if !self.reaches(&lease) {
            return Ok("a lease of another node".to_owned());
        }
        let owner = lease.owner.unwrap_or_default();
        let who = if owner.pod.is_empty() {
            [owner.claim, owner.container_id, owner.node, owner.kind]
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_else(|| "an owner without a name".to_owned())
        } else {
            format!("pod {}/{}", owner.namespace, owner.pod)
        };
        Ok(format!("lease {id} of {who}"))
    }
}

/// Why a request may not name an address; `is_own`: it is that of a reservation for its owner.
fn may_not_be_named(state: &PoolState, is_own: bool) -> Option<&'static str> {
    use proto::ipam::v1::pool::RequestedAddresses as May;
    match state.pool.message.requested_addresses() {
        May::Unspecified | May::Allow => None,
        May::Reserved if is_own => None,
        May::Reserved => {
            Some("the pool gives an address by request only to the owner of its reservation")
        }
        May::Deny => Some("the pool gives no address by request; ask without ips"),
    }
}

/// Refuses two addresses of a request that are no pair of an ALIGNED pool.
fn check_aligned(state: &PoolState, wish: &Wish, choice: &Choice) -> Result<(), Error> {
    let offset = |family| {
        let base = *state.half(family)?.subnet.all.start();
        choice.number(family)?.checked_sub(base)
    };
    let (four, six) = (offset(Family::V4), offset(Family::V6));
    if four == six || (wish.ipv4.is_none() && wish.ipv6.is_none()) {
        return Ok(());
    }
    let show = |family| {
        let number = choice.number(family).unwrap_or_default();
        half_address(state, family, number)
    };
    let problem = format!(
        "{} and {} are at different offsets, and pairs of pool {} are ALIGNED; name one of them",
        show(Family::V4),
        show(Family::V6),
        state.pool.name()
    );
    Err(Error::field("ips", problem))
}

/// Where to begin to look.
fn begin(state: &PoolState, half: &Half) -> u128 {
    match state.pool.strategy {
        Strategy::NextFit => half.cursor,
        Strategy::Lowest => 0,
        Strategy::Random => {
            // Of what can be leased: a place outside of small ranges would always lead to their beginning.
            let leasable = &half.subnet.leasable;
            leasable
                .nth(fastrand::u128(0..leasable.count().max(1)))
                .unwrap_or(0)
        }
    }
}

fn half_address(state: &PoolState, family: Family, number: u128) -> std::net::IpAddr {
    match state.half(family) {
        Some(half) => half.subnet.address(number),
        None => std::net::Ipv6Addr::from(number).into(),
    }
}

fn is_reserved(state: &PoolState, held: &Held) -> bool {
    [Family::V4, Family::V6].iter().any(|&family| {
        let reserved = state.half(family).map(|half| &half.reserved);
        reserved
            .zip(held.number(family))
            .is_some_and(|(reserved, number)| reserved.contains_key(&number))
    })
}
