//! ReportHeld: leases of attachments that live on a node, made as the node's records have them.

use std::collections::HashSet;

use proto::ipam::v1::{self as ipam, EventType};

use super::choose::Choice;
use super::draft::Draft;
use crate::error::{Error, Family};
use crate::lease::Wish;
use crate::pool::number;

/// Conflicts that are told in full.
pub const DETAILS: usize = 100;

/// What an attachment has: the request of its Allocate, and the addresses that came of it.
#[derive(Clone, Debug)]
pub struct Held {
    /// As it asked.
    asked: Wish,
    /// The same with the addresses that it has.
    has: Wish,
}

/// The attachments of a report: container and interface.
pub type Listed = HashSet<(String, String)>;

impl Held {
    /// Checks what a node reports.
    ///
    /// # Errors
    /// As [`Wish::decode`]; [`Error::InvalidFields`] if it is no attachment or has no address.
    pub fn decode(message: ipam::HeldLease) -> Result<Held, Error> {
        let request = message.request.unwrap_or_default();
        let asked = Wish::decode(request.clone(), "request.")?;
        let ips = message.ips;
        let has = Wish::decode(ipam::AllocateRequest { ips, ..request }, "")?;
        if has.owner.container_id.is_empty() {
            return Err(Error::field("request.owner", "must be an attachment"));
        }
        if has.ipv4.or(has.ipv6).is_none() {
            return Err(Error::field("ips", "must not be empty"));
        }
        Ok(Held { asked, has })
    }

    /// Its container and interface.
    pub fn attachment(&self) -> (String, String) {
        let owner = &self.has.owner;
        (owner.container_id.clone(), owner.ifname.clone())
    }
}

impl Draft<'_> {
    /// Makes the leases that do not exist; `listed` is all that `node` reports.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn adopt(
        &mut self,
        node: &str,
        held: &[Held],
        listed: &Listed,
    ) -> Result<ipam::ReportHeldResponse, Error> {
        let mut answer = ipam::ReportHeldResponse::default();
        for held in held {
            let mark = self.mark();
            match self.adopt_one(node, held, listed) {
                Ok(true) => answer.adopted += 1,
                Ok(false) => answer.unchanged += 1,
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => {
                    self.go_back(&mark);
                    add_conflict(&mut answer, &held.has.owner, &error);
                }
            }
        }
        Ok(answer)
    }

    /// Whether a lease was made; false: the attachment has it.
    fn adopt_one(&mut self, node: &str, held: &Held, listed: &Listed) -> Result<bool, Error> {
        let has = &held.has;
        let addresses = [Family::V4, Family::V6].map(|family| Some((family, has.address(family)?)));
        let addresses = || addresses.iter().flatten().copied();
        if let Some(lease) = self.held_by_attachment(&has.owner)? {
            if !self.reaches_attachment(&lease) {
                return Err(Error::OtherNode {
                    node: node.to_owned(),
                    what: "an attachment",
                });
            }
            let of = |family| match family {
                Family::V4 => &lease.ipv4,
                Family::V6 => &lease.ipv6,
            };
            let plain = |text: &String| text.split('/').next().and_then(|text| text.parse().ok());
            if addresses().all(|(family, address)| plain(of(family)) == Some(address)) {
                self.keep_unended(lease, held.asked.ttl.is_some())?;
                return Ok(false);
            }
            return Err(Error::RequestMismatch {
                id: lease.id,
                difference: "addresses".to_owned(),
            });
        }
        // A store that waits for this node's report takes what the node's records hold; else it may be no more than what
        // Allocate would lease.
        let is_awaited = self.state.origin.awaited.contains(node);
        let namespace = &has.owner.namespace;
        let mut pools = has
            .pools
            .iter()
            .filter_map(|name| self.state.pool(name))
            .filter(|(_, state)| state.pool.is_open_to(namespace))
            .peekable();
        if let (None, Some(pool)) = (pools.peek(), has.pools.first()) {
            let pool = pool.clone();
            return Err(Error::PoolNotFound { pool });
        }
        let fits = pools.find(|(_, state)| {
            addresses().all(|(family, address)| {
                let half = state.half(family);
                half.is_some_and(|half| half.subnet.leasable.contains(number(address)))
            })
        });
        let Some((pool, _)) = fits else {
            let Some((_, address)) = addresses().next() else {
                return Ok(false);
            };
            let pools = has.pools.clone();
            return Err(Error::AddressNotInPool { address, pools });
        };
        for (family, address) in addresses() {
            let half = self.pool(pool)?.half(family);
            let kept_for = half.and_then(|half| half.reserved.get(&number(address)));
            if let Some(reservation) = kept_for
                && self
                    .reservation_for(pool, has)
                    .is_none_or(|own| *own.message.name != **reservation)
            {
                return Err(Error::AddressReserved {
                    address,
                    pool: self.pool(pool)?.pool.name().to_owned(),
                    why: self.kept_by(reservation),
                });
            }
            let Some(&holder) = half.and_then(|half| half.held.get(&number(address))) else {
                continue;
            };
            let Some(lease) = self.lease(holder)? else {
                continue;
            };
            let why = match lease.state() {
                // It rests, but it was given again meanwhile.
                ipam::lease::State::Quarantined if is_awaited || self.reaches(&lease) => {
                    EventType::Freed
                }
                _ if is_gone(&lease, node, listed) => EventType::Reclaimed,
                _ => {
                    return Err(Error::AddressInUse {
                        address,
                        pool: lease.pool,
                        holder: self.describe(holder)?,
                    });
                }
            };
            self.put_lease(why, holder, Some(lease), None)?;
        }
        if !is_awaited {
            self.check_quota(pool, namespace)?;
        }
        let id = self.next_lease();
        let choice = Choice {
            ipv4: has.ipv4.map(number),
            ipv6: has.ipv6.map(number),
        };
        let lease = self.new_lease(id, self.pool(pool)?, &held.asked, choice);
        self.put_lease(EventType::Created, id, None, Some(lease))?;
        Ok(true)
    }

    /// Takes the end from a lease that a node's record holds and whose request named none: older servers gave it that of the
    /// pool, which nobody renews.
    fn keep_unended(&mut self, lease: ipam::Lease, named: bool) -> Result<(), Error> {
        if named || lease.expire_time.is_none() {
            return Ok(());
        }
        let (id, _) = self.by_id(&lease.id)?;
        let after = ipam::Lease {
            expire_time: None,
            generation: lease.generation + 1,
            ..lease.clone()
        };
        self.put_lease(EventType::Updated, id, Some(lease), Some(after))
    }
}

/// Counts what cannot be adopted, and says why.
pub fn add_conflict(answer: &mut ipam::ReportHeldResponse, owner: &ipam::Owner, error: &Error) {
    answer.conflicts += 1;
    answer.missing_pools += u64::from(matches!(error, Error::PoolNotFound { .. }));
    if answer.conflict_details.len() < DETAILS {
        let ipam::Owner {
            network, ifname, ..
        } = owner;
        let (namespace, pod) = (&owner.namespace, &owner.pod);
        let detail = format!("pod {namespace}/{pod}, network {network} ({ifname}): {error}");
        answer.conflict_details.push(detail);
    }
}

/// Whether the holder of an address is an attachment of the reporting node that it does not have any more.
fn is_gone(lease: &ipam::Lease, node: &str, listed: &Listed) -> bool {
    lease.owner.as_ref().is_some_and(|owner| {
        let attachment = (owner.container_id.clone(), owner.ifname.clone());
        owner.node.eq_ignore_ascii_case(node)
            && !owner.container_id.is_empty()
            && !listed.contains(&attachment)
    })
}
