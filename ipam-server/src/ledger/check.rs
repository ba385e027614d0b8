//! CheckConsistency, a step at a time: the commands of other callers are decided in between.

use ipam_core::allocator::check::{Cursor, Step};
use tokio::sync::oneshot;

use super::Ledger;
use super::worker::Message;
use crate::error::Error;

/// Problems that are reported.
const PROBLEMS: usize = 100;

impl Ledger {
    /// See `AdminService.CheckConsistency`: everything that was read, and the first problems.
    ///
    /// # Errors
    /// [`Error::Refused`] if the store cannot be read; [`Error::Stopping`].
    pub async fn check_consistency(&self) -> Result<Step, Error> {
        let mut all = Step::default();
        let mut cursor = None;
        loop {
            let step = self.check_step(cursor).await?;
            all.leases += step.leases;
            all.pools += step.pools;
            all.problems.extend(step.problems);
            all.problems.truncate(PROBLEMS);
            if step.next.is_none() {
                return Ok(all);
            }
            cursor = step.next;
        }
    }

    /// One step; the first one without a cursor.
    pub(super) async fn check_step(&self, cursor: Option<Cursor>) -> Result<Step, Error> {
        let _permit = self.waiting.acquire().await.map_err(|_| Error::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let check = Message::Check(cursor, answer);
        self.queue.send(check).map_err(|_| Error::Stopping)?;
        Ok(answered.await.map_err(|_| Error::Stopping)??)
    }
}
