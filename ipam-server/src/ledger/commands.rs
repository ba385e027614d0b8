//! The commands that the thread decides.

use std::sync::Arc;
use std::time::Duration;

use ipam_core::allocator::allocate::Allocation;
use ipam_core::allocator::explain::Explanation;
use ipam_core::allocator::import::{ImportOutcome, Item};
use ipam_core::allocator::lookup::Summary;
use ipam_core::allocator::pools::PoolUsage;
use ipam_core::lease::{Lease, LeaseId, Owner};
use ipam_core::log::StoreMark;
use ipam_core::pool::{Pool, PoolState};
use ipam_core::request::{Question, Wish};
use ipam_core::reservation::Reservation;

use super::{Caller, Ledger, Mode};
use crate::error::{Error, Refusal};

impl Ledger {
    /// See `PoolService.CreatePool`.
    ///
    /// # Errors
    /// Those of the decision, as of every command; [`Error::Stopping`], [`Error::DeadlineExceeded`].
    pub async fn create_pool(
        &self,
        caller: &Caller,
        mode: Mode,
        pool: Pool,
        request_id: String,
    ) -> Result<PoolUsage, Error> {
        self.run(caller, mode, move |draft| {
            draft.create_pool(pool.clone(), &request_id)
        })
        .await
    }

    /// See `PoolService.GetPool`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn get_pool(&self, caller: &Caller, name: String) -> Result<PoolUsage, Error> {
        self.run(caller, Mode::Validate, move |draft| draft.get_pool(&name))
            .await
    }

    /// All pools with their counts, by name.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn list_pools(&self, caller: &Caller) -> Result<Vec<PoolUsage>, Error> {
        self.run(caller, Mode::Validate, |draft| Ok(draft.list_pools()))
            .await
    }

    /// See `PoolService.UpdatePool`; `edit` makes the pool as it becomes of the pool as it is.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn update_pool(
        &self,
        caller: &Caller,
        mode: Mode,
        (name, etag): (String, String),
        edit: impl Fn(&Pool) -> Result<Pool, Refusal> + Send + 'static,
    ) -> Result<PoolUsage, Error> {
        self.run(caller, mode, move |draft| {
            draft.update_pool(&name, &etag, &edit)
        })
        .await
    }

    /// See `PoolService.DeletePool`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn delete_pool(
        &self,
        caller: &Caller,
        mode: Mode,
        (name, etag): (String, String),
    ) -> Result<(), Error> {
        self.run(caller, mode, move |draft| draft.delete_pool(&name, &etag))
            .await
    }

    /// See `PoolService.CordonPool` and `UncordonPool`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn set_pool_state(
        &self,
        caller: &Caller,
        name: String,
        state: PoolState,
    ) -> Result<PoolUsage, Error> {
        self.run(caller, Mode::Keep, move |draft| {
            draft.set_pool_state(&name, state)
        })
        .await
    }

    /// See `LeaseService.Allocate`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`]; [`Error::ReportFirst`].
    pub async fn allocate(
        &self,
        caller: &Caller,
        mode: Mode,
        wish: Wish,
        known: Option<StoreMark>,
    ) -> Result<(Allocation, StoreMark), Error> {
        self.run_known(caller, mode, known, move |draft| draft.allocate(&wish))
            .await
    }

    /// See `LeaseService.BatchAllocate`.
    ///
    /// # Errors
    /// As [`Ledger::allocate`].
    pub async fn batch_allocate(
        &self,
        caller: &Caller,
        mode: Mode,
        wishes: Vec<Wish>,
        known: Option<StoreMark>,
    ) -> Result<(Vec<Allocation>, StoreMark), Error> {
        self.run_known(caller, mode, known, move |draft| {
            draft.batch_allocate(&wishes)
        })
        .await
    }

    /// See `LeaseService.Release`; generation 0 is any.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn release(
        &self,
        caller: &Caller,
        mode: Mode,
        id: LeaseId,
        generation: u64,
    ) -> Result<Arc<Lease>, Error> {
        self.run(caller, mode, move |draft| draft.release(id, generation))
            .await
    }

    /// See `LeaseService.ReleaseAttachment`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn release_attachment(
        &self,
        caller: &Caller,
        attachment: Owner,
    ) -> Result<Option<Arc<Lease>>, Error> {
        self.run(caller, Mode::Keep, move |draft| {
            draft.release_attachment(&attachment)
        })
        .await
    }

    /// See `LeaseService.Renew`; generation 0 is any.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn renew(
        &self,
        caller: &Caller,
        (id, generation): (LeaseId, u64),
        ttl: Option<Duration>,
    ) -> Result<Arc<Lease>, Error> {
        let renewed = self.run(caller, Mode::Keep, move |draft| {
            draft.renew(id, generation, ttl)
        });
        match renewed.await {
            Err(Error::Refused(Refusal::LeaseNotFound { .. }))
                if self.has_expired(caller, id).await? =>
            {
                let id = id.to_string();
                Err(Error::Refused(Refusal::LeaseExpired { id }))
            }
            renewed => renewed,
        }
    }

    /// See `LeaseService.GetLease`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn get_lease(&self, caller: &Caller, id: LeaseId) -> Result<Arc<Lease>, Error> {
        self.run(caller, Mode::Validate, move |draft| draft.get_lease(id))
            .await
    }

    /// See `LeaseService.Explain`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn explain(&self, caller: &Caller, wish: Wish) -> Result<Explanation, Error> {
        self.run(caller, Mode::Validate, move |draft| draft.explain(&wish))
            .await
    }

    /// See `ReservationService.CreateReservation`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn create_reservation(
        &self,
        caller: &Caller,
        mode: Mode,
        wanted: Reservation,
        request_id: String,
    ) -> Result<Arc<Reservation>, Error> {
        self.run(caller, mode, move |draft| {
            draft.create_reservation(wanted.clone(), &request_id)
        })
        .await
    }

    /// See `ReservationService.GetReservation`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn get_reservation(
        &self,
        caller: &Caller,
        name: String,
    ) -> Result<Arc<Reservation>, Error> {
        self.run(caller, Mode::Validate, move |draft| {
            draft.get_reservation(&name)
        })
        .await
    }

    /// All reservations, by name.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn list_reservations(&self, caller: &Caller) -> Result<Vec<Arc<Reservation>>, Error> {
        self.run(
            caller,
            Mode::Validate,
            |draft| Ok(draft.list_reservations()),
        )
        .await
    }

    /// See `ReservationService.DeleteReservation`.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn delete_reservation(&self, caller: &Caller, name: String) -> Result<(), Error> {
        self.run(caller, Mode::Keep, move |draft| {
            draft.delete_reservation(&name)
        })
        .await
    }

    /// See `AdminService.Import`: one message's items.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn import(
        &self,
        caller: &Caller,
        mode: Mode,
        items: Vec<Item>,
    ) -> Result<ImportOutcome, Error> {
        self.run(caller, mode, move |draft| draft.import(&items))
            .await
    }

    /// Everything but the leases, at one revision.
    ///
    /// # Errors
    /// As [`Ledger::create_pool`].
    pub async fn summary(&self, caller: &Caller) -> Result<Summary, Error> {
        self.run(caller, Mode::Validate, |draft| Ok(draft.summary()))
            .await
    }

    /// The leases that answer now, if they are found without reading every lease.
    pub(super) async fn lookup_now(
        &self,
        caller: &Caller,
        question: Question,
    ) -> Result<Option<Vec<Arc<Lease>>>, Error> {
        self.run(caller, Mode::Validate, move |draft| draft.lookup(&question))
            .await
    }
}
