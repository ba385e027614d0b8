//! Allocate and BatchAllocate.

use jiff::SignedDuration;
use proto::ipam::v1::{self as ipam, EventType};

use super::choose::Choice;
use super::draft::Draft;
use super::release::same_attachment;
use super::state::{Kept, PoolId, PoolState, State};
use crate::error::{Error, Family};
use crate::lease::{Wish, attachment_key, text_key, timestamp};
use crate::pool::number;
use crate::store::LeaseId;

impl Draft<'_> {
    /// Gives a lease, or the one that is there for the same request or attachment.
    ///
    /// # Errors
    /// See `LeaseService.Allocate`.
    pub fn allocate(&mut self, wish: &Wish) -> Result<ipam::AllocateResponse, Error> {
        if let Some(lease) = self.existing(wish)? {
            return self.answer(lease, true);
        }
        self.check_heard()?;
        let mut last = None;
        let mut outside = Vec::new();
        for name in self.in_order(wish) {
            match self.try_pool(name, wish) {
                Ok(lease) => return self.answer(lease, false),
                Err(Error::AddressNotInPool { pools, .. }) => outside.extend(pools),
                Err(
                    error @ (Error::PoolExhausted { .. }
                    | Error::NamespaceQuota { .. }
                    | Error::PoolNotActive { .. }),
                ) => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let asked = wish.ipv4.or(wish.ipv6);
        Err(match (last, asked) {
            (Some(error), _) => error,
            (None, Some(address)) => Error::AddressNotInPool {
                address,
                pools: outside,
            },
            (None, None) => Error::field("pools", "name at least one pool"),
        })
    }

    /// Gives all leases or none.
    ///
    /// # Errors
    /// That of the first request that cannot be served, as [`Error::OfRequest`] if there are several.
    pub fn batch_allocate(
        &mut self,
        wishes: &[Wish],
    ) -> Result<ipam::BatchAllocateResponse, Error> {
        let responses = wishes
            .iter()
            .enumerate()
            .map(|(index, wish)| {
                self.allocate(wish).map_err(|error| match error {
                    error @ Error::Store(_) => error,
                    error if wishes.len() == 1 => error,
                    error => Error::OfRequest {
                        index,
                        error: Box::new(error),
                    },
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(ipam::BatchAllocateResponse {
            responses,
            store: None,
        })
    }

    /// One pool's turn, which leaves nothing behind if it fails.
    pub(super) fn try_pool(&mut self, name: &str, wish: &Wish) -> Result<ipam::Lease, Error> {
        let namespace = &wish.owner.namespace;
        // What is not open to the caller is answered as what does not exist.
        let open = self.state.pool(name);
        let open = open.filter(|(_, state)| state.pool.is_open_to(namespace));
        let (id, state) = open.ok_or_else(|| Error::PoolNotFound {
            pool: name.to_owned(),
        })?;
        if let Some(address) = outside(state, wish) {
            let pools = vec![name.to_owned()];
            return Err(Error::AddressNotInPool { address, pools });
        }
        if state.pool.is_cordoned() {
            return Err(Error::PoolNotActive {
                pool: name.to_owned(),
            });
        }
        let reservation = self.reservation_for(id, wish);
        self.attempt_in(|draft| draft.give(id, wish, reservation.as_ref()))
    }

    fn attempt_in<T>(
        &mut self,
        decide: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mark = self.mark();
        decide(self).inspect_err(|_| self.go_back(&mark))
    }

    fn give(
        &mut self,
        pool: PoolId,
        wish: &Wish,
        reservation: Option<&Kept>,
    ) -> Result<ipam::Lease, Error> {
        let choice = self.choose(pool, wish, reservation)?;
        // A lease whose addresses were handed over has ended by now.
        self.check_quota(pool, &wish.owner.namespace)?;
        let id = self.next_lease();
        let lease = self.new_lease(id, self.pool(pool)?, wish, choice);
        self.put_lease(EventType::Created, id, None, Some(lease.clone()))?;
        Ok(lease)
    }

    /// Whether a namespace may have one more lease of a pool.
    ///
    /// # Errors
    /// [`Error::NamespaceQuota`].
    pub(super) fn check_quota(&self, pool: PoolId, namespace: &str) -> Result<(), Error> {
        let state = self.pool(pool)?;
        let quota = state.pool.message.namespace_quota;
        if quota == 0 || self.state.leases_of(pool, namespace) < quota {
            return Ok(());
        }
        Err(Error::NamespaceQuota {
            pool: state.pool.name().to_owned(),
            namespace: namespace.to_owned(),
            quota,
        })
    }

    pub(super) fn new_lease(
        &self,
        id: LeaseId,
        state: &PoolState,
        wish: &Wish,
        choice: Choice,
    ) -> ipam::Lease {
        let show = |family, number: Option<u128>| {
            let subnet = state.pool.subnet(family).zip(number);
            subnet
                .map(|(subnet, number)| subnet.with_prefix(number))
                .unwrap_or_default()
        };
        ipam::Lease {
            id: id.to_string(),
            pool: state.pool.name().to_owned(),
            vrf: state.pool.message.vrf.clone(),
            ipv4: show(Family::V4, choice.ipv4),
            ipv6: show(Family::V6, choice.ipv6),
            owner: Some(wish.owner.clone()),
            mac: wish.mac.clone(),
            state: ipam::lease::State::Active.into(),
            generation: 1,
            create_time: Some(timestamp(self.now)),
            renew_time: None,
            expire_time: self.expiry(state, &wish.owner, wish.ttl).map(timestamp),
            quarantine_until_time: None,
            labels: wish.labels.clone(),
            request_id: wish.request_id.clone(),
            requested_ips: wish.requested_ips(),
            requested_pools: wish.pools.clone(),
            requested_families: wish.families_message,
        }
    }

    /// When a lease of a pool ends if it begins or is renewed now. A lease of an attachment ends by itself only if its
    /// caller names a time, and so promises to renew it: a plugin runs once, and its pod may outlive any time of the pool.
    pub(super) fn expiry(
        &self,
        state: &PoolState,
        owner: &ipam::Owner,
        ttl: Option<std::time::Duration>,
    ) -> Option<jiff::Timestamp> {
        let pool = &state.pool;
        let of_pool = pool.default_ttl.or(pool.max_ttl);
        let ttl = ttl.or(of_pool.filter(|_| owner.container_id.is_empty()))?;
        let ttl = pool.max_ttl.map_or(ttl, |max| ttl.min(max));
        let ttl = SignedDuration::try_from(ttl).ok()?;
        self.now.checked_add(ttl).ok()
    }

    /// The active lease of the same request id or attachment. One whose time is over ends here, if it did not yet.
    pub(super) fn existing(&mut self, wish: &Wish) -> Result<Option<ipam::Lease>, Error> {
        let owner = &wish.owner;
        let attachment = attachment_key(&owner.network, &owner.container_id, &owner.ifname);
        let request = text_key(&wish.request_id);
        let state = &self.state;
        let candidates: Vec<_> = State::with_key(&state.by_request, request)
            .chain(State::with_key(&state.by_attachment, attachment))
            .collect();
        for id in candidates {
            let Some(held) = self.state.leases.get(&id).filter(|held| !held.quarantined) else {
                continue;
            };
            let over = held.until <= self.now.as_millisecond();
            let Some(lease) = self.lease(id)? else {
                continue;
            };
            let same_request = !wish.request_id.is_empty() && lease.request_id == wish.request_id;
            let there = lease.owner.as_ref();
            let same_attachment = !owner.container_id.is_empty()
                && there.is_some_and(|there| same_attachment(there, owner));
            if !same_request && !same_attachment {
                continue;
            }
            if over {
                self.end(id, lease, EventType::Expired)?;
                continue;
            }
            if !self.reaches_attachment(&lease) {
                // A request id is of the node that made it up: those of other nodes do not exist.
                if !same_attachment {
                    continue;
                }
                return Err(Error::OtherNode {
                    node: self.node.as_deref().unwrap_or_default().to_owned(),
                    what: "an attachment",
                });
            }
            let mut difference = wish.differences(&lease);
            if same_request && there != Some(owner) {
                difference = [difference.as_str(), "owner"].join(" ");
            }
            let difference = difference.trim().to_owned();
            if !difference.is_empty() {
                return Err(Error::RequestMismatch {
                    id: lease.id,
                    difference,
                });
            }
            return Ok(Some(lease));
        }
        Ok(None)
    }

    /// A lease with what a pod needs beside it.
    pub(super) fn answer(
        &self,
        lease: ipam::Lease,
        existing: bool,
    ) -> Result<ipam::AllocateResponse, Error> {
        let (_, state) = self
            .state
            .pool(&lease.pool)
            .ok_or_else(|| Error::PoolNotFound {
                pool: lease.pool.clone(),
            })?;
        let message = &state.pool.message;
        let half = |there: bool, subnet: &Option<ipam::Subnet>| {
            subnet
                .as_ref()
                .filter(|_| there)
                .cloned()
                .unwrap_or_default()
        };
        let ipv4 = half(!lease.ipv4.is_empty(), &message.ipv4);
        let ipv6 = half(!lease.ipv6.is_empty(), &message.ipv6);
        Ok(ipam::AllocateResponse {
            lease: Some(lease),
            ipv4_gateway: ipv4.gateway,
            ipv6_gateway: ipv6.gateway,
            routes: ipv4.routes.into_iter().chain(ipv6.routes).collect(),
            dns: message.dns.clone(),
            existing,
            store: None,
        })
    }
}

/// The address of the request that is neither leasable in the pool nor kept back by it.
fn outside(state: &PoolState, wish: &Wish) -> Option<std::net::IpAddr> {
    [Family::V4, Family::V6].into_iter().find_map(|family| {
        let address = wish.address(family)?;
        let number = number(address);
        let inside = state.half(family).is_some_and(|half| {
            half.subnet.leasable.contains(number) || half.subnet.kept_back(number).is_some()
        });
        (!inside).then_some(address)
    })
}
