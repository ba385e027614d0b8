//! ReportHeld, in groups: what a node's records hold becomes leases, and the node counts as heard at the end.

use std::sync::Arc;

use proto::ipam::v1 as ipam;

use super::{Caller, Ledger};
use crate::allocator::adopt::{DETAILS, Held, Listed, add_conflict};
use crate::error::Error;
use crate::pool::Problems;

/// Attachments that one group takes.
const GROUP: usize = 256;

impl Ledger {
    /// See `LeaseService.ReportHeld`.
    ///
    /// # Errors
    /// [`Error::InvalidFields`], [`Error::ReportFirst`], [`Error::Store`].
    pub async fn report_held(
        &self,
        caller: &Caller,
        mut request: ipam::ReportHeldRequest,
    ) -> Result<ipam::ReportHeldResponse, Error> {
        if let Some(node) = &caller.node {
            request.node = node.to_string();
        }
        let mut problems = Problems::default();
        if request.node.is_empty() || request.node.len() > 253 {
            problems.add("node", "must be the node's name, of 253 bytes at most");
        }
        if request.store.is_none() {
            problems.add("store", "must say which store the report is for");
        }
        problems.into_result()?;
        let mut answer = ipam::ReportHeldResponse::default();
        let mut held = Vec::new();
        for mut message in request.held {
            caller.own(message.request.get_or_insert_default());
            let asked = message.request.as_ref();
            let owner = asked.and_then(|asked| asked.owner.clone());
            match Held::decode(message) {
                Ok(one) => held.push(one),
                // One that cannot be must not keep the others from being heard.
                Err(error) => add_conflict(&mut answer, &owner.unwrap_or_default(), &error),
            }
        }
        let listed: Arc<Listed> = Arc::new(held.iter().map(Held::attachment).collect());
        let node: Arc<str> = request.node.into();
        let groups = held.len().div_ceil(GROUP).max(1);
        for group in 0..groups {
            let some: Vec<_> = held
                .iter()
                .skip(group * GROUP)
                .take(GROUP)
                .cloned()
                .collect();
            let (node, listed, known) = (node.clone(), listed.clone(), request.store.clone());
            let part = self
                .run(caller, true, move |draft| {
                    if !draft.is_known(known.as_ref()) {
                        return Ok(Err(draft.store_mark().id));
                    }
                    let mut part = draft.adopt(&node, &some, &listed)?;
                    if group + 1 == groups {
                        draft.heard(&node);
                    }
                    part.store = Some(draft.store_mark());
                    Ok(Ok(part))
                })
                .await?;
            let part = part.map_err(|store| Error::ReportFirst { store })?;
            answer.store = part.store;
            answer.adopted += part.adopted;
            answer.unchanged += part.unchanged;
            answer.conflicts += part.conflicts;
            answer.missing_pools += part.missing_pools;
            answer.conflict_details.extend(part.conflict_details);
            answer.conflict_details.truncate(DETAILS);
        }
        Ok(answer)
    }
}
