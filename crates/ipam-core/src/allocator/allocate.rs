//! Allocate and BatchAllocate.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::choose::Choice;
use super::draft::Draft;
use super::state::{PoolId, PoolUse, ReservationRecord};
use crate::error::Error;
use crate::event::EventType;
use crate::family::{Family, number};
use crate::keys::{attachment_key, text_key};
use crate::lease::{Lease, LeaseId, LeaseState, Owner};
use crate::pool::Pool;
use crate::request::Wish;

/// A lease, and what a pod needs beside it.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// The lease.
    pub lease: Arc<Lease>,
    /// Its pool, with gateways, routes and name resolution.
    pub pool: Arc<Pool>,
    /// Whether the lease existed before the request.
    pub is_existing: bool,
}

/// Whether a lease was made for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Before,
    Now,
}

impl Draft<'_> {
    /// Makes a lease, or returns the existing one of the same request or attachment.
    ///
    /// # Errors
    /// See `LeaseService.Allocate`.
    pub fn allocate(&mut self, wish: &Wish) -> Result<Allocation, Error> {
        if let Some(lease) = self.existing(wish)? {
            return self.allocation(lease, Made::Before);
        }
        self.check_heard()?;
        let mut last = None;
        let mut outside = Vec::new();
        for name in self.in_order(wish) {
            match self.try_pool(name, wish) {
                Ok(lease) => return self.allocation(lease, Made::Now),
                Err(Error::AddressNotInPool { pools, .. }) => outside.extend(pools),
                Err(error) if is_of_one_pool(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let asked = wish.requested.ips.first().copied();
        Err(match (last, asked) {
            (Some(error), _) => error,
            (None, Some(address)) => Error::AddressNotInPool {
                address,
                pools: outside,
            },
            (None, None) => Error::field("pools", "name at least one pool"),
        })
    }

    /// Makes all leases or none.
    ///
    /// # Errors
    /// That of the first request that cannot be served, as [`Error::OfRequest`] if there are several.
    pub fn batch_allocate(&mut self, wishes: &[Wish]) -> Result<Vec<Allocation>, Error> {
        let allocate = |(index, wish)| {
            self.allocate(wish).map_err(|error| match error {
                error @ Error::Store(_) => error,
                error if wishes.len() == 1 => error,
                error => Error::OfRequest {
                    index,
                    error: Box::new(error),
                },
            })
        };
        wishes.iter().enumerate().map(allocate).collect()
    }

    /// One pool's turn, which leaves nothing behind if it fails.
    pub(super) fn try_pool(&mut self, name: &str, wish: &Wish) -> Result<Arc<Lease>, Error> {
        let namespace = &wish.owner.namespace;
        // What is not open to the caller is answered as what does not exist.
        let open = self.state.pool(name);
        let open = open.filter(|(_, pool)| pool.pool.is_open_to(namespace));
        let (id, pool) = open.ok_or_else(|| Error::PoolNotFound {
            pool: name.to_owned(),
        })?;
        if let Some(address) = outside(pool, wish) {
            let pools = vec![name.to_owned()];
            return Err(Error::AddressNotInPool { address, pools });
        }
        if pool.pool.is_cordoned() {
            return Err(Error::PoolNotActive {
                pool: name.to_owned(),
            });
        }
        let reservation = self.reservation_for(id, wish);
        self.try_part(|draft| draft.lease_from(id, wish, reservation.as_ref()))
    }

    /// Makes a lease of a pool.
    fn lease_from(
        &mut self,
        pool: PoolId,
        wish: &Wish,
        reservation: Option<&ReservationRecord>,
    ) -> Result<Arc<Lease>, Error> {
        let choice = self.choose(pool, wish, reservation)?;
        // A lease whose addresses were handed over has ended by now.
        self.check_quota(pool, &wish.owner.namespace)?;
        let id = self.next_lease();
        let lease = Arc::new(self.new_lease(id, self.pool(pool)?, wish, choice));
        self.put_lease(EventType::Created, id, None, Some(lease.clone()))?;
        Ok(lease)
    }

    /// Whether a namespace may have one more lease of a pool.
    ///
    /// # Errors
    /// [`Error::NamespaceQuota`].
    pub(super) fn check_quota(&self, id: PoolId, namespace: &str) -> Result<(), Error> {
        let pool = &self.pool(id)?.pool;
        let quota = pool.namespace_quota;
        if quota == 0 || self.state.leases_of(id, namespace) < quota {
            return Ok(());
        }
        Err(Error::NamespaceQuota {
            pool: pool.name.as_ref().to_owned(),
            namespace: namespace.to_owned(),
            quota,
        })
    }

    pub(super) fn new_lease(
        &self,
        id: LeaseId,
        pool: &PoolUse,
        wish: &Wish,
        choice: Choice,
    ) -> Lease {
        let pool = &pool.pool;
        let ipv4 = pool.ipv4.as_ref().zip(choice.ipv4);
        let ipv6 = pool.ipv6.as_ref().zip(choice.ipv6);
        Lease {
            id,
            pool: pool.name.clone(),
            vrf: pool.vrf.clone(),
            ipv4: ipv4.and_then(|(subnet, number)| subnet.ipv4(number)),
            ipv6: ipv6.and_then(|(subnet, number)| subnet.ipv6(number)),
            owner: Some(wish.owner.clone()),
            mac: wish.mac.clone(),
            state: LeaseState::Active,
            generation: 1,
            create_time: Some(self.now),
            renew_time: None,
            expire_time: self.expiry(pool, &wish.owner, wish.ttl),
            quarantine_until: None,
            labels: wish.labels.clone(),
            requested: wish.requested.clone(),
        }
    }

    /// When a lease of a pool ends if it begins or is renewed now. A lease of an attachment ends by itself only if its
    /// caller names a time, and so promises to renew it: a plugin runs once, and its pod may outlive any time of the pool.
    pub(super) fn expiry(
        &self,
        pool: &Pool,
        owner: &Owner,
        ttl: Option<Duration>,
    ) -> Option<Timestamp> {
        let of_pool = pool.default_ttl().or(pool.max_ttl());
        let ttl = ttl.or(of_pool.filter(|_| owner.container_id.is_empty()))?;
        let ttl = pool.max_ttl().map_or(ttl, |max| ttl.min(max));
        let ttl = SignedDuration::try_from(ttl).ok()?;
        self.now.checked_add(ttl).ok()
    }

    /// The active lease of the same request id or attachment. One whose time is over ends here, if it did not yet.
    pub(super) fn existing(&mut self, wish: &Wish) -> Result<Option<Arc<Lease>>, Error> {
        let attachment = attachment_key(&wish.owner);
        let request = text_key(&wish.requested.id);
        let state = &self.state;
        let candidates: Vec<_> = state
            .by_request
            .with(request)
            .chain(state.by_attachment.with(attachment))
            .collect();
        for id in candidates {
            let record = self.state.leases.get(&id);
            let Some(record) = record.filter(|record| !record.is_quarantined) else {
                continue;
            };
            let is_over = record.until <= self.now.as_millisecond();
            let Some(lease) = self.lease(id)? else {
                continue;
            };
            let is_of = same(wish, &lease);
            if is_of == Same::Nothing {
                continue;
            }
            if is_over {
                self.end(lease, EventType::Expired)?;
                continue;
            }
            if !self.reaches_attachment(&lease) {
                // A request id is of the node that made it up: those of other nodes do not exist.
                if is_of != Same::Attachment {
                    continue;
                }
                return Err(Error::OtherNode {
                    node: self.node.as_deref().unwrap_or_default().to_owned(),
                    what: "an attachment",
                });
            }
            check_same(wish, &lease)?;
            return Ok(Some(lease));
        }
        Ok(None)
    }

    /// A lease with what a pod needs beside it.
    pub(super) fn allocation(&self, lease: Arc<Lease>, made: Made) -> Result<Allocation, Error> {
        let (_, pool) = self.pool_named(&lease.pool)?;
        Ok(Allocation {
            pool: pool.pool.clone(),
            lease,
            is_existing: made == Made::Before,
        })
    }
}

/// Whether a request that failed in one pool may be served by another one.
pub(super) fn is_of_one_pool(error: &Error) -> bool {
    matches!(
        error,
        Error::PoolExhausted { .. } | Error::NamespaceQuota { .. } | Error::PoolNotActive { .. }
    )
}

/// What a request and a lease have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    Nothing,
    Request,
    Attachment,
}

fn same(wish: &Wish, lease: &Lease) -> Same {
    let has_container = !wish.owner.container_id.is_empty();
    if has_container && lease.owner.is_some() && lease.owner().is_same_attachment(&wish.owner) {
        return Same::Attachment;
    }
    match is_same_request(wish, lease) {
        true => Same::Request,
        false => Same::Nothing,
    }
}

fn is_same_request(wish: &Wish, lease: &Lease) -> bool {
    !wish.requested.id.is_empty() && lease.requested.id == wish.requested.id
}

/// Refuses a request whose lease differs from what it asks for.
fn check_same(wish: &Wish, lease: &Lease) -> Result<(), Error> {
    let mut difference = wish.differences(lease);
    if is_same_request(wish, lease) && lease.owner.as_ref() != Some(&wish.owner) {
        difference = [difference.as_str(), "owner"].join(" ");
    }
    let difference = difference.trim().to_owned();
    if difference.is_empty() {
        return Ok(());
    }
    Err(Error::RequestMismatch {
        id: lease.id.to_string(),
        difference,
    })
}

/// The address of the request that is neither leasable in the pool nor withheld by it.
fn outside(pool: &PoolUse, wish: &Wish) -> Option<IpAddr> {
    Family::ALL.into_iter().find_map(|family| {
        let address = wish.address(family)?;
        let number = number(address);
        let is_inside = pool.family(family).is_some_and(|addresses| {
            let subnet = &addresses.subnet;
            subnet.leasable.contains(number) || subnet.withheld(number).is_some()
        });
        (!is_inside).then_some(address)
    })
}
