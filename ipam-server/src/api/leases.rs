//! The calls of LeaseService, but for ListLeases and Watch.

use std::sync::Arc;

use ipam_core::allocator::adopt::AdoptOutcome;
use ipam_core::lease::Lease;
use proto::ipam::v1 as ipam;

use super::{Api, own};
use crate::error::{Error, Refusal};
use crate::ledger::{Caller, Mode};
use crate::page::Page;
use crate::wire::problems::Problems;
use crate::wire::{answer, lease, request, time};

/// Leases that one BatchAllocate may ask for.
const BATCH: usize = 64;
/// Bytes of a node's name.
const NODE: usize = 253;

impl Api {
    /// See `LeaseService.Allocate`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn allocate(
        &self,
        caller: &Caller,
        mut message: ipam::AllocateRequest,
    ) -> Result<ipam::AllocateResponse, Error> {
        own(caller, &mut message);
        let mode = Mode::of(message.validate_only);
        let known = message.known_store.take().map(request::store_mark);
        let wish = request::wish(message, "")?;
        let (one, store) = self.ledger.allocate(caller, mode, wish, known).await?;
        Ok(answer::allocation(
            one,
            Some(store).filter(|_| mode.keeps()),
        ))
    }

    /// See `LeaseService.BatchAllocate`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn batch_allocate(
        &self,
        caller: &Caller,
        message: ipam::BatchAllocateRequest,
    ) -> Result<ipam::BatchAllocateResponse, Error> {
        if message.requests.len() > BATCH {
            return Err(Error::field("requests", format!("are more than {BATCH}")));
        }
        let decode = |(index, mut one): (usize, ipam::AllocateRequest)| {
            own(caller, &mut one);
            if one.validate_only != message.validate_only {
                let field = format!("requests[{index}].validate_only");
                let problem = "must be as that of the whole request";
                return Err(Refusal::field(field, problem));
            }
            request::wish(one, &format!("requests[{index}]."))
        };
        let wishes = message.requests.into_iter().enumerate().map(decode);
        let wishes = wishes.collect::<Result<Vec<_>, _>>()?;
        let mode = Mode::of(message.validate_only);
        let known = message.known_store.map(request::store_mark);
        let allocated = self.ledger.batch_allocate(caller, mode, wishes, known);
        let (all, store) = allocated.await?;
        let responses = all.into_iter().map(|one| answer::allocation(one, None));
        let store = Some(store).filter(|_| mode.keeps());
        Ok(ipam::BatchAllocateResponse {
            responses: responses.collect(),
            store: store.map(answer::store_mark),
        })
    }

    /// See `LeaseService.ReportHeld`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn report_held(
        &self,
        caller: &Caller,
        mut message: ipam::ReportHeldRequest,
    ) -> Result<ipam::ReportHeldResponse, Error> {
        if let Some(node) = &caller.node {
            message.node = node.to_string();
        }
        let mut problems = Problems::default();
        if message.node.is_empty() || message.node.len() > NODE {
            let problem = format!("must be the node's name, of {NODE} bytes at most");
            problems.add("node", problem);
        }
        if message.store.is_none() {
            problems.add("store", "must say which store the report is for");
        }
        problems.into_result()?;
        let mut outcome = AdoptOutcome::default();
        let mut leases = Vec::new();
        for mut one in message.held {
            own(caller, one.request.get_or_insert_default());
            let owner = one.request.as_ref().and_then(|asked| asked.owner.clone());
            match request::reported(one) {
                Ok(lease) => leases.push(lease),
                // One that cannot be must not keep the others from being heard.
                Err(error) => {
                    let owner = lease::decode_owner(owner.unwrap_or_default());
                    outcome.add_conflict(&owner, &error);
                }
            }
        }
        let known = message.store.map(request::store_mark);
        let reported = self
            .ledger
            .report_held(caller, &message.node, leases, known);
        let (adopted, store) = reported.await?;
        outcome.add(adopted);
        Ok(answer::adopted(outcome, store))
    }

    /// See `LeaseService.Release`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn release(
        &self,
        caller: &Caller,
        message: ipam::ReleaseRequest,
    ) -> Result<ipam::ReleaseResponse, Error> {
        let id = request::lease_id(&message.id)?;
        let mode = Mode::of(message.validate_only);
        let released = self.ledger.release(caller, mode, id, message.generation);
        let lease = Some(encode(released.await?));
        Ok(ipam::ReleaseResponse { lease })
    }

    /// See `LeaseService.ReleaseAttachment`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn release_attachment(
        &self,
        caller: &Caller,
        message: ipam::ReleaseAttachmentRequest,
    ) -> Result<ipam::ReleaseAttachmentResponse, Error> {
        let attachment = request::attachment(message)?;
        let released = self.ledger.release_attachment(caller, attachment);
        let lease = released.await?.map(encode);
        Ok(ipam::ReleaseAttachmentResponse { lease })
    }

    /// See `LeaseService.ReleaseUnlisted`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn release_unlisted(
        &self,
        caller: &Caller,
        mut message: ipam::ReleaseUnlistedRequest,
    ) -> Result<ipam::ReleaseUnlistedResponse, Error> {
        if let Some(node) = caller.node.as_deref().filter(|_| message.node.is_empty()) {
            node.clone_into(&mut message.node);
        }
        let mode = Mode::of(message.validate_only);
        let inventory = request::inventory(message)?;
        if let Some(own) = &caller.node
            && !own.eq_ignore_ascii_case(&inventory.node)
        {
            return Err(Error::Refused(Refusal::OtherNode {
                node: own.to_string(),
                what: "leases",
            }));
        }
        let ended = self.ledger.release_unlisted(caller, mode, inventory);
        let ended = ended.await?;
        Ok(ipam::ReleaseUnlistedResponse {
            count: ended.len() as u64,
            leases: fitting(ended),
        })
    }

    /// See `LeaseService.Renew`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn renew(
        &self,
        caller: &Caller,
        message: ipam::RenewRequest,
    ) -> Result<ipam::Lease, Error> {
        let ttl = request::ttl(message.ttl.as_ref())?;
        let which = (request::lease_id(&message.id)?, message.generation);
        Ok(encode(self.ledger.renew(caller, which, ttl).await?))
    }

    /// See `LeaseService.GetLease`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn get_lease(&self, caller: &Caller, id: String) -> Result<ipam::Lease, Error> {
        let id = request::lease_id(&id)?;
        Ok(encode(self.ledger.get_lease(caller, id).await?))
    }

    /// See `LeaseService.Lookup`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn lookup(
        &self,
        caller: &Caller,
        message: ipam::LookupRequest,
    ) -> Result<Vec<ipam::Lease>, Error> {
        let question =
            request::question(&message.address, message.vrf, message.owner, &message.mac)?;
        // A time that no clock shows was before everything.
        let at = message.at_time.as_ref();
        let at = at.map(|at| time::decode(at).unwrap_or_default());
        let leases = self.ledger.lookup(caller, question, at).await?;
        Ok(leases.into_iter().map(lease::encode).collect())
    }

    /// See `LeaseService.Explain`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn explain(
        &self,
        caller: &Caller,
        message: ipam::ExplainRequest,
    ) -> Result<ipam::ExplainResponse, Error> {
        let mut asked = message.request.unwrap_or_default();
        own(caller, &mut asked);
        let wish = request::wish(asked, "request.")?;
        let explanation = self.ledger.explain(caller, wish).await?;
        Ok(answer::explanation(explanation))
    }
}

fn encode(lease: Arc<Lease>) -> ipam::Lease {
    lease::encode(Arc::unwrap_or_clone(lease))
}

/// The leases for which an answer has room.
pub(super) fn fitting(leases: Vec<Arc<Lease>>) -> Vec<ipam::Lease> {
    let mut page = Page::new(usize::MAX);
    for lease in leases {
        page.fill(encode(lease));
    }
    page.into_entries()
}
