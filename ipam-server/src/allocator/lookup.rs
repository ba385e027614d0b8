//! Questions: one lease, who holds what now, and what Allocate would do. They change nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proto::ipam::v1 as ipam;

use super::draft::Draft;
use super::gone::{self, GONE};
use super::state::State;
use crate::error::{Error, Family};
use crate::lease::{Wish, attachment_key, owner_fields, pod_key, text_key};
use crate::pool::{Problems, family_of, number};
use crate::store::LeaseId;

/// What there is at one revision, but for the leases.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Of the last change.
    pub revision: u64,
    /// All pools, without counts.
    pub pools: Vec<ipam::Pool>,
    /// All reservations.
    pub reservations: Vec<ipam::Reservation>,
    /// How many leases there are.
    pub leases: u64,
}

/// What a Lookup asks, with everything checked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The address.
    pub address: Option<IpAddr>,
    /// The VRF of the address; empty: all.
    pub vrf: String,
    /// Fields that the owner has.
    pub owner: ipam::Owner,
    /// Lower case with colons, or empty.
    pub mac: String,
}

impl Question {
    /// Checks a request.
    ///
    /// # Errors
    /// [`Error::InvalidFields`].
    pub fn decode(request: &ipam::LookupRequest) -> Result<Question, Error> {
        let mut problems = Problems::default();
        let address = (!request.address.is_empty())
            .then(|| problems.address("address", &request.address, None))
            .flatten();
        let mac = crate::lease::mac("mac", &request.mac, &mut problems);
        let owner = request.owner.clone().unwrap_or_default();
        if request.address.is_empty() && mac.is_empty() && owner == ipam::Owner::default() {
            problems.add("address", "give an address, an owner or a mac");
        }
        problems.into_result()?;
        Ok(Question {
            address,
            vrf: request.vrf.clone(),
            owner,
            mac,
        })
    }

    /// Whether a lease is an answer.
    pub fn matches(&self, lease: &ipam::Lease) -> bool {
        let none = ipam::Owner::default();
        let there = lease.owner.as_ref().unwrap_or(&none);
        let owner = owner_fields(&self.owner)
            .iter()
            .zip(owner_fields(there))
            .all(|((_, wanted), (_, given))| wanted.is_empty() || *wanted == given);
        let held = |text: &str| {
            text.split_once('/')
                .and_then(|(plain, _)| plain.parse::<IpAddr>().ok())
        };
        let address = self.address.is_none_or(|address| {
            [&lease.ipv4, &lease.ipv6]
                .into_iter()
                .any(|text| held(text) == Some(address))
        });
        owner
            && address
            && (self.vrf.is_empty() || lease.vrf == self.vrf)
            && (self.mac.is_empty() || lease.mac == self.mac)
    }
}

impl Draft<'_> {
    /// One lease.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`].
    pub fn get_lease(&self, id: &str) -> Result<ipam::Lease, Error> {
        let found = self.by_id(id).map(|(_, lease)| lease);
        found.and_then(|lease| match self.reaches(&lease) {
            true => Ok(lease),
            false => Err(Error::LeaseNotFound { id: id.to_owned() }),
        })
    }

    /// Everything but the leases.
    pub fn summary(&self) -> Summary {
        let pools = self.state.pools.range(..GONE).map(|(_, state)| state);
        let gone = gone::resting(self.state).len();
        Summary {
            revision: self.state.revision,
            pools: pools.map(|state| state.pool.message.clone()).collect(),
            reservations: self.list_reservations(),
            leases: (self.state.leases.len() - gone) as u64,
        }
    }

    /// The leases that answer, found by the most telling of what is given; nothing if that needs a look at
    /// every lease.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn lookup(&self, question: &Question) -> Result<Option<Vec<ipam::Lease>>, Error> {
        let Some(candidates) = self.candidates(question) else {
            return Ok(None);
        };
        let mut leases = Vec::new();
        for id in candidates {
            leases.extend(self.lease(id)?.filter(|lease| question.matches(lease)));
        }
        Ok(Some(leases))
    }

    fn candidates(&self, question: &Question) -> Option<BTreeSet<LeaseId>> {
        let state = &self.state;
        let owner = &question.owner;
        if let Some(address) = question.address {
            let number = number(address);
            let halves = state
                .pools
                .values()
                .filter_map(|pool| pool.half(family_of(address)));
            return Some(
                halves
                    .filter_map(|half| half.held.get(&number).copied())
                    .collect(),
            );
        }
        let attachment = attachment_key(&owner.network, &owner.container_id, &owner.ifname);
        if attachment != 0 && !owner.network.is_empty() && !owner.ifname.is_empty() {
            return Some(State::with_key(&state.by_attachment, attachment).collect());
        }
        let pod = pod_key(&owner.namespace, &owner.pod);
        if pod != 0 && !owner.namespace.is_empty() {
            return Some(State::with_key(&state.by_pod, pod).collect());
        }
        let mac = text_key(&question.mac);
        (mac != 0).then(|| State::with_key(&state.by_mac, mac).collect())
    }

    /// What [`Draft::allocate`] would do, step by step.
    ///
    /// # Errors
    /// [`Error::Store`] only: any other error is a finding.
    pub fn explain(&mut self, wish: &Wish) -> Result<ipam::ExplainResponse, Error> {
        let mut answer = ipam::ExplainResponse::default();
        let mut step = |pool: &str, finding: String, reason: &str| {
            answer.steps.push(ipam::ExplainStep {
                pool: pool.to_owned(),
                finding,
                reason: reason.to_owned(),
            });
        };
        match self.existing(wish) {
            Ok(Some(lease)) => {
                step(
                    &lease.pool,
                    format!("lease {} is there for this request", lease.id),
                    "",
                );
                answer.would_give = Some(self.answer(lease, true)?);
                return Ok(answer);
            }
            Ok(None) => step(
                "",
                "no lease is there for this request or attachment".into(),
                "",
            ),
            Err(Error::Store(error)) => return Err(Error::Store(error)),
            Err(error) => {
                step("", error.to_string(), error.reason());
                return Ok(answer);
            }
        }
        if let Err(error) = self.check_heard() {
            step("", error.to_string(), error.reason());
            return Ok(answer);
        }
        for name in self.in_order(wish) {
            let open = self.state.pool(name);
            if let Some((id, state)) =
                open.filter(|(_, state)| state.pool.is_open_to(&wish.owner.namespace))
            {
                for family in [Family::V4, Family::V6] {
                    if let Some(half) = state.half(family) {
                        let (free, all) = (half.free.count(), half.subnet.leasable.count());
                        step(
                            name,
                            format!("{family}: {free} of {all} addresses are free"),
                            "",
                        );
                    }
                }
                let quota = state.pool.message.namespace_quota;
                if quota > 0 {
                    let namespace = &wish.owner.namespace;
                    let count = self.state.leases_of(id, namespace);
                    let finding = format!("namespace {namespace} has {count} of {quota} leases");
                    step(name, finding, "");
                }
                if let Some(kept) = self.reservation_for(id, wish) {
                    step(
                        name,
                        format!("reservation {} is for this owner", kept.message.name),
                        "",
                    );
                }
            }
            match self.try_pool(name, wish) {
                Ok(lease) => {
                    step(name, "gives".into(), "");
                    answer.would_give = Some(self.answer(lease, false)?);
                    return Ok(answer);
                }
                Err(Error::Store(error)) => return Err(Error::Store(error)),
                Err(error) => {
                    step(name, error.to_string(), error.reason());
                    let goes_on = matches!(
                        error,
                        Error::PoolExhausted { .. }
                            | Error::NamespaceQuota { .. }
                            | Error::PoolNotActive { .. }
                            | Error::AddressNotInPool { .. }
                    );
                    if !goes_on {
                        return Ok(answer);
                    }
                }
            }
        }
        Ok(answer)
    }
}
