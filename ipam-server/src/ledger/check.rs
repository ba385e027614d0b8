//! CheckConsistency, a step at a time: what else is asked is decided in between.

use proto::ipam::v1 as ipam;
use tokio::sync::oneshot;

use super::Ledger;
use super::worker::Message;
use crate::allocator::check::{Place, Step};
use crate::error::Error;

/// Problems that are told.
const TOLD: usize = 100;

impl Ledger {
    /// See `AdminService.CheckConsistency`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Stopping`].
    pub async fn check_consistency(&self) -> Result<ipam::CheckConsistencyResponse, Error> {
        let mut answer = ipam::CheckConsistencyResponse::default();
        let mut place = None;
        loop {
            let step = self.check_step(place).await?;
            answer.leases += step.leases;
            answer.pools += step.pools;
            answer.problems.extend(step.problems);
            answer.problems.truncate(TOLD);
            if step.next.is_none() {
                return Ok(answer);
            }
            place = step.next;
        }
    }

    /// One step; the first one without a place.
    pub(super) async fn check_step(&self, place: Option<Place>) -> Result<Step, Error> {
        let _place = self.waiting.acquire().await.map_err(|_| Error::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let check = Message::Check(place, answer);
        self.queue.send(check).map_err(|_| Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
    }
}
