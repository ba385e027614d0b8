//! Which addresses a new lease gets from one pool.

use super::draft::Draft;
use super::state::{FamilyUse, LeaseRecord, PoolId, PoolUse, ReservationRecord};
use crate::error::Error;
use crate::event::EventType;
use crate::family::Family;
use crate::lease::LeaseId;
use crate::pool::{Families, Strategy};
use crate::request::Wish;

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

    pub(super) fn number(&self, family: Family) -> Option<u128> {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}

impl Draft<'_> {
    /// Chooses for `wish` from `pool`, with the addresses of `reservation` first. May cut quarantines short if nothing else is
    /// free.
    pub(super) fn choose(
        &mut self,
        id: PoolId,
        wish: &Wish,
        reservation: Option<&ReservationRecord>,
    ) -> Result<Choice, Error> {
        let mut choice = Choice::default();
        for family in Family::ALL {
            if let Some(number) = self.named(id, family, wish, reservation)? {
                choice.set(family, number);
            }
        }
        let pool = self.pool(id)?;
        let families = wish.families().unwrap_or_else(|| pool.pool.families());
        let wanted: Vec<Family> = Family::ALL
            .into_iter()
            .filter(|family| match families {
                Families::Both => true,
                Families::Any => pool.family(*family).is_some(),
                Families::One(one) => one == *family,
            })
            .collect();
        if let Some(family) = wanted.iter().find(|&&family| pool.family(family).is_none()) {
            let problem = format!("pool {} has no {family} addresses", pool.pool.name);
            return Err(Error::field("families_required", problem));
        }
        let open: Vec<Family> = wanted
            .iter()
            .copied()
            .filter(|&family| choice.number(family).is_none())
            .collect();
        if pool.pool.is_aligned() && wanted.len() == 2 {
            if open.is_empty() {
                check_aligned(pool, wish, &choice)?;
                return Ok(choice);
            }
            match self.choose_aligned(id, &open, &mut choice) {
                // A pair is wanted, not needed: one address by itself will do.
                Err(Error::PoolExhausted { .. })
                    if families == Families::Any && open.len() == 2 => {}
                result => return result.map(|()| choice),
            }
        }
        let mut exhausted = None;
        for family in open {
            match self.choose_one(id, family) {
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

    /// Both at one offset, or the other one of an address that is named.
    fn choose_aligned(
        &mut self,
        id: PoolId,
        open: &[Family],
        choice: &mut Choice,
    ) -> Result<(), Error> {
        if let [family] = *open {
            return self.choose_partner(id, family, choice);
        }
        let offset = loop {
            let pool = self.pool(id)?;
            let start = pool.ipv4.as_ref().map_or(0, |addresses| {
                search_start(pool, addresses).wrapping_sub(addresses.base())
            });
            if let Some(offset) = pool.pairs.first_from_wrapping(start) {
                break offset;
            }
            let is_pair = |record: &LeaseRecord| {
                !record.ipv4.is_unspecified() && !record.ipv6.is_unspecified()
            };
            if !self.cut_oldest_short(id, is_pair)? {
                return Err(self.exhausted(id, None));
            }
        };
        for family in Family::ALL {
            let base = self.pool(id)?.family(family).map_or(0, FamilyUse::base);
            choice.set(family, base + offset);
        }
        if let Some(first) = choice.ipv4 {
            self.set_cursor(id, Family::V4, first.saturating_add(1));
        }
        Ok(())
    }

    /// The address of `family` at the offset of the other address, which is named.
    fn choose_partner(&self, id: PoolId, family: Family, choice: &mut Choice) -> Result<(), Error> {
        let other = match family {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        };
        let pool = self.pool(id)?;
        let (Some(addresses), Some(named)) = (pool.family(family), choice.number(other)) else {
            return Ok(());
        };
        let base = pool.family(other).map_or(0, FamilyUse::base);
        let number = addresses.base().saturating_add(named - base);
        if !addresses.free.contains(number) {
            return Err(self.partner_not_free(pool, addresses, number, other.address(named)));
        }
        choice.set(family, number);
        Ok(())
    }

    fn choose_one(&mut self, id: PoolId, family: Family) -> Result<u128, Error> {
        let number = loop {
            let pool = self.pool(id)?;
            let found = pool.family(family).and_then(|addresses| {
                let start = search_start(pool, addresses);
                addresses.free.first_from_wrapping(start)
            });
            if let Some(number) = found {
                break number;
            }
            if !self.cut_oldest_short(id, |record| record.number(family).is_some())? {
                return Err(self.exhausted(id, Some(family)));
            }
        };
        self.set_cursor(id, family, number.saturating_add(1));
        Ok(number)
    }

    /// Cuts the quarantine short that would end first of those that help; false if there is none.
    fn cut_oldest_short(
        &mut self,
        id: PoolId,
        helps: impl Fn(&LeaseRecord) -> bool,
    ) -> Result<bool, Error> {
        let pool = self.pool(id)?;
        let found = pool.quarantined.iter().map(|(_, id)| *id).find(|id| {
            let record = self.state.leases.get(id);
            // What is reserved would not become free.
            record.is_some_and(|record| helps(record) && !is_reserved(pool, record))
        });
        match found {
            Some(id) => self.cut_short(id).map(|()| true),
            None => Ok(false),
        }
    }

    /// Cuts the quarantine of a lease short.
    pub(super) fn cut_short(&mut self, id: LeaseId) -> Result<(), Error> {
        let before = self.lease(id)?;
        self.put_lease(EventType::CutShort, id, before, None)
    }

    fn exhausted(&self, id: PoolId, family: Option<Family>) -> Error {
        let pool = match self.pool(id) {
            Ok(pool) => pool,
            Err(error) => return error,
        };
        let free = |family| {
            pool.family(family)
                .map_or(0, |addresses| addresses.free.count())
        };
        let family = family.unwrap_or(match free(Family::V4) {
            0 => Family::V4,
            _ => Family::V6,
        });
        let addresses = pool.family(family);
        let total = addresses.map_or(0, |addresses| addresses.subnet.leasable.count());
        let reserved = addresses.map_or(0, |addresses| addresses.reserved.len());
        Error::PoolExhausted {
            pool: pool.pool.name.as_ref().to_owned(),
            family,
            hint: format!(
                "{total} can be leased, {reserved} are reserved; release leases, widen its ranges, or name another pool behind it"
            ),
        }
    }
}

/// Refuses two addresses of a request that are no pair of an ALIGNED pool.
fn check_aligned(pool: &PoolUse, wish: &Wish, choice: &Choice) -> Result<(), Error> {
    let offset = |family| {
        let base = pool.family(family)?.base();
        choice.number(family)?.checked_sub(base)
    };
    if offset(Family::V4) == offset(Family::V6) || !wish.names_addresses() {
        return Ok(());
    }
    let shown = |family: Family| family.address(choice.number(family).unwrap_or_default());
    let problem = format!(
        "{} and {} are at different offsets, and pairs of pool {} are ALIGNED; name one of them",
        shown(Family::V4),
        shown(Family::V6),
        pool.pool.name
    );
    Err(Error::field("ips", problem))
}

/// Where a search begins.
fn search_start(pool: &PoolUse, addresses: &FamilyUse) -> u128 {
    match pool.pool.strategy {
        Strategy::NextFit => addresses.cursor,
        Strategy::Lowest => 0,
        Strategy::Random => {
            // Of what can be leased: a start outside of small ranges would always lead to their beginning.
            let leasable = &addresses.subnet.leasable;
            leasable
                .nth(fastrand::u128(0..leasable.count().max(1)))
                .unwrap_or(0)
        }
    }
}

fn is_reserved(pool: &PoolUse, record: &LeaseRecord) -> bool {
    Family::ALL.iter().any(|&family| {
        let reserved = pool.family(family).map(|addresses| &addresses.reserved);
        reserved
            .zip(record.number(family))
            .is_some_and(|(reserved, number)| reserved.contains_key(&number))
    })
}
