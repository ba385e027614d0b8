//! A lease of an export. It keeps its number, unless another lease has it; everything else stays. One of another IPAM plugin is
//! of today: it takes an address in quarantine, and says more of the owner than an earlier import did.

use std::sync::Arc;

use super::{ImportedLease, Outcome, Source};
use crate::allocator::draft::Draft;
use crate::allocator::state::PoolId;
use crate::error::Error;
use crate::event::EventType;
use crate::family::{Family, number};
use crate::lease::{Lease, LeaseId, Owner};
use crate::log::Origin;
use crate::request::is_attachment;

impl Draft<'_> {
    pub(super) fn import_lease(&mut self, imported: &ImportedLease) -> Result<Outcome, Error> {
        let (pool, lease) = self.placed(&imported.lease)?;
        is_attachment(lease.owner())?;
        for family in Family::ALL {
            if let Some(done) = self.make_room(pool, family, imported, &lease)? {
                return Ok(done);
            }
        }
        let holder = self.held_by_attachment(lease.owner())?;
        if let Some(holder) = holder.filter(|_| lease.is_active()) {
            return Err(Error::RequestMismatch {
                id: holder.id.to_string(),
                difference: "addresses".to_owned(),
            });
        }
        let id = self.imported_lease_id(imported.id);
        let lease = Some(Arc::new(Lease { id, ..lease }));
        self.put_lease(EventType::Created, id, None, lease)?;
        Ok(Outcome::Imported)
    }

    /// A lease with the VRF and the prefix lengths of its pool, which must have its addresses.
    fn placed(&self, lease: &Lease) -> Result<(PoolId, Lease), Error> {
        let (id, existing) = self.pool_named(&lease.pool)?;
        let pool = &existing.pool;
        for family in Family::ALL {
            let Some(address) = lease.address(family) else {
                continue;
            };
            let subnet = pool.subnet(family);
            if !subnet.is_some_and(|subnet| subnet.leasable.contains(number(address))) {
                let pools = vec![pool.name.as_ref().to_owned()];
                return Err(Error::AddressNotInPool { address, pools });
            }
        }
        let number = |family| lease.address(family).map(number);
        let ipv4 = pool.ipv4.as_ref().zip(number(Family::V4));
        let ipv6 = pool.ipv6.as_ref().zip(number(Family::V6));
        if ipv4.is_none() && ipv6.is_none() {
            return Err(Error::field("lease.ipv4", "a lease needs ipv4 or ipv6"));
        }
        let lease = Lease {
            vrf: pool.vrf.clone(),
            ipv4: ipv4.and_then(|(subnet, number)| subnet.ipv4(number)),
            ipv6: ipv6.and_then(|(subnet, number)| subnet.ipv6(number)),
            generation: lease.generation.max(1),
            create_time: lease.create_time.or(Some(self.now)),
            ..lease.clone()
        };
        Ok((id, lease))
    }

    /// Makes sure that a lease can have its address of a family; an outcome: the lease is there.
    fn make_room(
        &mut self,
        pool: PoolId,
        family: Family,
        imported: &ImportedLease,
        lease: &Lease,
    ) -> Result<Option<Outcome>, Error> {
        let is_foreign = imported.source == Source::OtherPlugin;
        let addresses = self.pool(pool)?.family(family);
        let (Some(addresses), Some(address)) = (addresses, lease.address(family)) else {
            return Ok(None);
        };
        let number = number(address);
        let reserved = addresses.reserved.get(&number).cloned();
        if let Some(&holder) = addresses.held.get(&number) {
            match self.lease(holder)? {
                Some(existing) if is_same(&existing, lease, imported.source) => {
                    return match is_foreign && is_untouched(&existing) {
                        true => self.complete(existing, lease).map(Some),
                        false => Ok(Some(Outcome::Unchanged)),
                    };
                }
                Some(existing) if is_foreign && !existing.is_active() => {
                    self.put_lease(EventType::Freed, holder, Some(existing), None)?;
                }
                _ => {
                    return Err(Error::AddressInUse {
                        address,
                        pool: lease.pool.as_ref().to_owned(),
                        holder: self.describe(holder)?,
                    });
                }
            }
        }
        if let Some(name) = reserved
            && !self.is_reserved_for(&name, lease)
        {
            return Err(Error::AddressReserved {
                address,
                pool: lease.pool.as_ref().to_owned(),
                why: format!("it is reserved by reservation {name}"),
            });
        }
        Ok(None)
    }

    /// Adds what is known of the owner, and labels, to a lease that an import made.
    fn complete(&mut self, existing: Arc<Lease>, coming: &Lease) -> Result<Outcome, Error> {
        let mut owner = existing.owner().clone();
        let named = coming.owner();
        for (field, value) in [
            (&mut owner.kind, &named.kind),
            (&mut owner.cluster, &named.cluster),
            (&mut owner.namespace, &named.namespace),
            (&mut owner.pod, &named.pod),
            (&mut owner.pod_uid, &named.pod_uid),
            (&mut owner.network, &named.network),
            (&mut owner.node, &named.node),
        ] {
            if !value.is_empty() {
                field.clone_from(value);
            }
        }
        let mut labels = (*existing.labels).clone();
        labels.extend(
            coming
                .labels
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        if owner == *existing.owner() && labels == *existing.labels {
            return Ok(Outcome::Unchanged);
        }
        let after = Lease {
            owner: Some(Arc::new(owner)),
            labels: Arc::new(labels),
            generation: existing.generation + 1,
            ..(*existing).clone()
        };
        let id = existing.id;
        self.put_lease(
            EventType::Updated,
            id,
            Some(existing),
            Some(Arc::new(after)),
        )?;
        Ok(Outcome::Imported)
    }

    /// The number of a lease that an import brings: its own, unless another lease has it, so that its owner's release
    /// by number hits it and no other. Later leases get higher ones.
    fn imported_lease_id(&mut self, own: Option<LeaseId>) -> LeaseId {
        // Far from what arithmetic with revisions reaches.
        const HIGHEST: u64 = 1 << 62;
        let own = own.filter(|id| (1..HIGHEST).contains(&id.0));
        let Some(own) = own.filter(|id| !self.state.leases.contains_key(id)) else {
            return self.next_lease();
        };
        if own > self.next_lease() {
            let lease_offset = own.0 - self.next_revision();
            self.set_origin(Origin {
                lease_offset,
                ..self.state.origin.clone()
            });
        }
        own
    }
}

/// Whether a lease was imported and nobody has asked for it since: no request made it, none made it longer.
fn is_untouched(lease: &Lease) -> bool {
    lease.requested.pools.is_empty() && lease.requested.id.is_empty() && lease.renew_time.is_none()
}

/// Whether an existing lease is the one that comes: same pool and addresses, and held by the same attachment, or
/// by the same owner if that is none. An earlier import may have known more addresses of an attachment, or have filed
/// it under another network.
fn is_same(existing: &Lease, coming: &Lease, source: Source) -> bool {
    let (one, two): (&Owner, &Owner) = (existing.owner(), coming.owner());
    let anew =
        source == Source::OtherPlugin && is_untouched(existing) && !two.container_id.is_empty();
    let address = |family| {
        let coming = coming.address(family);
        existing.address(family) == coming || (anew && coming.is_none())
    };
    let holder = match two.container_id.is_empty() {
        true => one == two,
        false if anew => one.container_id == two.container_id && one.ifname == two.ifname,
        false => one.is_same_attachment(two),
    };
    holder
        && existing.pool == coming.pool
        && existing.state == coming.state
        && Family::ALL.into_iter().all(address)
}
