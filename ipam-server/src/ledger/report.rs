//! ReportHeld, in groups: what a node's records hold becomes leases, and the node counts as heard at the end.

use std::sync::Arc;

use ipam_core::allocator::adopt::{AdoptOutcome, ReportedLease, Reporter};
use ipam_core::log::StoreMark;
use ipam_core::request::Attachments;

use super::{Caller, Ledger, Mode};
use crate::error::Error;

/// Attachments that one group takes.
const GROUP: usize = 256;

impl Ledger {
    /// See `LeaseService.ReportHeld`: `leases` are all attachments of a node, for the store `known`.
    ///
    /// # Errors
    /// [`Error::ReportFirst`]; [`Error::Refused`] if the store fails; [`Error::Stopping`], [`Error::DeadlineExceeded`].
    pub async fn report_held(
        &self,
        caller: &Caller,
        node: &str,
        leases: Vec<ReportedLease>,
        known: Option<StoreMark>,
    ) -> Result<(AdoptOutcome, Option<StoreMark>), Error> {
        let attachment = |lease: &ReportedLease| {
            let owner = &lease.has.owner;
            (owner.container_id.clone(), owner.ifname.clone())
        };
        let attachments: Attachments = leases.iter().map(attachment).collect();
        let (attachments, node): (Arc<Attachments>, Arc<str>) = (attachments.into(), node.into());
        let leases: Arc<[ReportedLease]> = leases.into();
        let (mut answer, mut mark) = (AdoptOutcome::default(), None);
        let groups = leases.len().div_ceil(GROUP).max(1);
        for group in 0..groups {
            let (node, attachments, leases) = (node.clone(), attachments.clone(), leases.clone());
            let is_last = group + 1 == groups;
            let adopted = self.run_known(caller, Mode::Keep, known.clone(), move |draft| {
                let reporter = Reporter {
                    node: &node,
                    attachments: &attachments,
                };
                let end = leases.len().min((group + 1) * GROUP);
                let part = leases.get(group * GROUP..end).unwrap_or_default();
                let adopted = draft.adopt(reporter, part)?;
                if is_last {
                    draft.heard(&node);
                }
                Ok(adopted)
            });
            let (part, store) = adopted.await?;
            answer.add(part);
            mark = Some(store);
        }
        Ok((answer, mark))
    }
}
