//! Import: takes pools, reservations and leases in as they were exported, as far as they fit.

use std::collections::BTreeSet;

use proto::ipam::v1::{self as ipam, EventType, export_item::Item};

use super::draft::Draft;
use super::release::same_attachment;
use crate::error::{Error, Family};
use crate::lease::{attachment, check_imported};
use crate::pool::{Pool, number};
use crate::store::LeaseId;

/// Conflicts that are told in full.
const DETAILS: usize = 100;

/// What became of one item.
enum Outcome {
    Imported,
    Unchanged,
}

impl Draft<'_> {
    /// Takes items in, each by itself: what does not fit is told, with its name, and left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn import(&mut self, items: &[ipam::ExportItem]) -> Result<ipam::ImportResponse, Error> {
        let mut answer = ipam::ImportResponse::default();
        // The nodes of leases that come from a backup.
        let mut restored = None;
        for item in items {
            let Some(item) = &item.item else {
                continue;
            };
            let mark = self.mark();
            let name = name(item);
            let node = node_in_backup(item);
            let outcome = match item {
                Item::Header(_) => continue,
                Item::Pool(pool) => self.import_pool(pool.clone()),
                Item::Reservation(reservation) => self.import_reservation(reservation.clone()),
                Item::Lease(lease) => self.import_lease(lease.clone()),
            };
            match outcome {
                Ok(Outcome::Imported) => {
                    answer.imported += 1;
                    if let Some(node) = node {
                        restored.get_or_insert_with(BTreeSet::new).insert(node);
                    }
                }
                Ok(Outcome::Unchanged) => answer.unchanged += 1,
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => {
                    self.go_back(&mark);
                    answer.conflicts += 1;
                    if answer.conflict_details.len() < DETAILS {
                        answer.conflict_details.push(format!("{name}: {error}"));
                    }
                }
            }
        }
        if let Some(nodes) = restored {
            self.restored(nodes);
        }
        Ok(answer)
    }

    fn import_pool(&mut self, message: ipam::Pool) -> Result<Outcome, Error> {
        let pool = Pool::decode(message)?;
        if let Some((_, there)) = self.state.pool(pool.name())
            && super::pools::same_configuration(&there.pool.message, &pool.message)
        {
            return Ok(Outcome::Unchanged);
        }
        self.create_pool(pool, "").map(|_| Outcome::Imported)
    }

    fn import_reservation(&mut self, reservation: ipam::Reservation) -> Result<Outcome, Error> {
        if let Some(there) = self.state.reservations.get(reservation.name.as_str()) {
            let plain = |reservation: &ipam::Reservation| ipam::Reservation {
                create_time: None,
                ..reservation.clone()
            };
            if plain(&there.message) == plain(&reservation) {
                return Ok(Outcome::Unchanged);
            }
        }
        self.create_reservation(reservation, "")
            .map(|_| Outcome::Imported)
    }

    /// A lease keeps its number, unless another one has it; everything else stays. One of another IPAM plugin, which comes without
    /// an id, is of today: it takes an address that rests, and says more of the owner than an earlier import did.
    fn import_lease(&mut self, mut lease: ipam::Lease) -> Result<Outcome, Error> {
        let foreign = lease.id.is_empty();
        check_imported(&mut lease)?;
        let (pool, state) = self
            .state
            .pool(&lease.pool)
            .ok_or_else(|| Error::PoolNotFound {
                pool: lease.pool.clone(),
            })?;
        lease.vrf.clone_from(&state.pool.message.vrf);
        attachment(lease.owner.as_ref().unwrap_or(&ipam::Owner::default()))?;
        let mut numbers = Vec::new();
        for (family, text) in [(Family::V4, &mut lease.ipv4), (Family::V6, &mut lease.ipv6)] {
            if text.is_empty() {
                continue;
            }
            let plain = text
                .split_once('/')
                .map_or(text.as_str(), |(plain, _)| plain);
            let address = crate::pool::parse_address(plain, Some(family))
                .map_err(|problem| Error::field("lease", problem))?;
            let half = state
                .half(family)
                .filter(|half| half.subnet.leasable.contains(number(address)));
            let Some(half) = half else {
                let pools = vec![state.pool.name().to_owned()];
                return Err(Error::AddressNotInPool { address, pools });
            };
            *text = half.subnet.with_prefix(number(address));
            numbers.push((family, number(address)));
        }
        if numbers.is_empty() {
            return Err(Error::field("lease.ipv4", "a lease needs ipv4 or ipv6"));
        }
        if ipam::lease::State::try_from(lease.state) != Ok(ipam::lease::State::Quarantined) {
            lease.set_state(ipam::lease::State::Active);
        }
        lease.generation = lease.generation.max(1);
        lease
            .create_time
            .get_or_insert(crate::lease::timestamp(self.now));
        for (family, number) in numbers {
            let Some(half) = self.pool(pool)?.half(family) else {
                continue;
            };
            let address = half.subnet.address(number);
            let reserved = half.reserved.get(&number).cloned();
            if let Some(&holder) = half.held.get(&number) {
                match self.lease(holder)? {
                    Some(there) if is_same(&there, &lease) => {
                        return match foreign && is_imported(&there) {
                            true => self.complete(holder, there, lease),
                            false => Ok(Outcome::Unchanged),
                        };
                    }
                    Some(there) if foreign && there.state() == ipam::lease::State::Quarantined => {
                        self.put_lease(EventType::Freed, holder, Some(there), None)?;
                    }
                    _ => {
                        let holder = self.describe(holder)?;
                        return Err(Error::AddressInUse {
                            address,
                            pool: lease.pool,
                            holder,
                        });
                    }
                }
            }
            if let Some(name) = reserved
                && !self.is_kept_for(&name, &lease)
            {
                return Err(Error::AddressReserved {
                    address,
                    pool: lease.pool,
                    why: format!("it is kept by reservation {name}"),
                });
            }
        }
        let owner = lease.owner.clone().unwrap_or_default();
        let active = lease.state() == ipam::lease::State::Active;
        if let Some(there) = self.held_by_attachment(&owner)?.filter(|_| active) {
            let difference = "addresses".to_owned();
            return Err(Error::RequestMismatch {
                id: there.id,
                difference,
            });
        }
        let id = self.imported_lease(&lease.id);
        lease.id = id.to_string();
        self.put_lease(EventType::Created, id, None, Some(lease))?;
        Ok(Outcome::Imported)
    }

    /// Adds what is said of the owner, and labels, to a lease that an import made.
    fn complete(
        &mut self,
        id: LeaseId,
        there: ipam::Lease,
        coming: ipam::Lease,
    ) -> Result<Outcome, Error> {
        let mut after = there.clone();
        let owner = after.owner.get_or_insert_default();
        let said = coming.owner.unwrap_or_default();
        for (field, value) in [
            (&mut owner.kind, said.kind),
            (&mut owner.cluster, said.cluster),
            (&mut owner.namespace, said.namespace),
            (&mut owner.pod, said.pod),
            (&mut owner.pod_uid, said.pod_uid),
            (&mut owner.network, said.network),
            (&mut owner.node, said.node),
        ] {
            if !value.is_empty() {
                *field = value;
            }
        }
        after.labels.extend(coming.labels);
        if after == there {
            return Ok(Outcome::Unchanged);
        }
        after.generation += 1;
        self.put_lease(EventType::Updated, id, Some(there), Some(after))?;
        Ok(Outcome::Imported)
    }
}

/// An item as a sentence about it names it.
fn name(item: &Item) -> String {
    match item {
        Item::Header(_) => "the header".to_owned(),
        Item::Pool(pool) => format!("pool {}", pool.name),
        Item::Reservation(reservation) => format!("reservation {}", reservation.name),
        Item::Lease(lease) => {
            let owner = lease.owner.clone().unwrap_or_default();
            let holder = match (owner.pod.as_str(), owner.container_id.as_str()) {
                ("", "") => String::new(),
                ("", container) => format!(" of container {container}"),
                (pod, _) => format!(" of pod {}/{pod}", owner.namespace),
            };
            let each = [&lease.id, &lease.ipv4, &lease.ipv6].into_iter();
            let names: Vec<_> = each.filter(|name| !name.is_empty()).cloned().collect();
            format!("lease {}{holder}", names.join(" "))
        }
    }
}

/// Whether a lease was imported and nobody has asked for it since: no request made it, none made it longer.
fn is_imported(lease: &ipam::Lease) -> bool {
    lease.requested_pools.is_empty() && lease.request_id.is_empty() && lease.renew_time.is_none()
}

/// The node of a lease that comes from a backup: other IPAM plugins' leases have no id, and their nodes no records.
fn node_in_backup(item: &Item) -> Option<String> {
    match item {
        Item::Lease(lease) if !lease.id.is_empty() => {
            Some(lease.owner.clone().unwrap_or_default().node)
        }
        _ => None,
    }
}

/// Whether a lease that is there is the one that comes: same pool and addresses, and held by the same attachment, or
/// by the same owner if that is none. An earlier import may have known more addresses of an attachment, or have filed
/// it under another network.
fn is_same(there: &ipam::Lease, coming: &ipam::Lease) -> bool {
    let owner = |lease: &ipam::Lease| lease.owner.clone().unwrap_or_default();
    let (one, two) = (owner(there), owner(coming));
    let anew = coming.id.is_empty() && is_imported(there) && !two.container_id.is_empty();
    let address = |there: &str, coming: &str| there == coming || (anew && coming.is_empty());
    let holder = match two.container_id.is_empty() {
        true => one == two,
        false if anew => one.container_id == two.container_id && one.ifname == two.ifname,
        false => same_attachment(&one, &two),
    };
    holder
        && there.pool == coming.pool
        && there.state == coming.state
        && address(&there.ipv4, &coming.ipv4)
        && address(&there.ipv6, &coming.ipv6)
}
