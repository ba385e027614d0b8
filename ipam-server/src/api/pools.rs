//! The calls of PoolService, but for ListPools.

use ipam_core::pool::{Pool, PoolState};
use proto::ipam::v1 as ipam;

use super::Api;
use crate::error::{Error, Refusal};
use crate::ledger::{Caller, Mode};
use crate::wire::{answer, pool};

impl Api {
    /// See `PoolService.CreatePool`.
    ///
    /// # Errors
    /// Those of the call, see its comment in the contract; so do all calls.
    pub async fn create_pool(
        &self,
        caller: &Caller,
        request: ipam::CreatePoolRequest,
    ) -> Result<ipam::Pool, Error> {
        let pool = pool::decode(request.pool.unwrap_or_default())?;
        pool::check_new(&pool)?;
        let mode = Mode::of(request.validate_only);
        let made = self
            .ledger
            .create_pool(caller, mode, pool, request.request_id);
        Ok(answer::pool_usage(made.await?))
    }

    /// See `PoolService.GetPool`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn get_pool(&self, caller: &Caller, name: String) -> Result<ipam::Pool, Error> {
        let pool = self.ledger.get_pool(caller, name).await?;
        Ok(answer::pool_usage(pool))
    }

    /// All pools with their counts, by name.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn list_pools(&self, caller: &Caller) -> Result<Vec<ipam::Pool>, Error> {
        let pools = self.ledger.list_pools(caller).await?;
        Ok(pools.into_iter().map(answer::pool_usage).collect())
    }

    /// See `PoolService.UpdatePool`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn update_pool(
        &self,
        caller: &Caller,
        request: ipam::UpdatePoolRequest,
    ) -> Result<ipam::Pool, Error> {
        let wanted = request.pool.unwrap_or_default();
        let which = (wanted.name.clone(), wanted.etag.clone());
        let mode = Mode::of(request.validate_only);
        let mask = request.update_mask;
        let edit = move |before: &Pool| edited(before, &wanted, &mask);
        let updated = self.ledger.update_pool(caller, mode, which, edit);
        Ok(answer::pool_usage(updated.await?))
    }

    /// See `PoolService.DeletePool`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn delete_pool(
        &self,
        caller: &Caller,
        request: ipam::DeletePoolRequest,
    ) -> Result<(), Error> {
        let mode = Mode::of(request.validate_only);
        let which = (request.name, request.etag);
        self.ledger.delete_pool(caller, mode, which).await
    }

    /// See `PoolService.CordonPool` and `UncordonPool`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn set_pool_state(
        &self,
        caller: &Caller,
        name: String,
        state: PoolState,
    ) -> Result<ipam::Pool, Error> {
        let changed = self.ledger.set_pool_state(caller, name, state);
        Ok(answer::pool_usage(changed.await?))
    }
}

/// A pool with the fields of a mask as `wanted` has them. What was stored before something was checked stays as it is.
fn edited(before: &Pool, wanted: &ipam::Pool, mask: &[String]) -> Result<Pool, Refusal> {
    let mut message = pool::encode(before.clone());
    pool::update::update(&mut message, wanted, mask)?;
    let after = pool::decode(message)?;
    if after.labels != before.labels {
        pool::check_labels(&after)?;
    }
    let gateways = |pool: &Pool| {
        [&pool.ipv4, &pool.ipv6].map(|subnet| subnet.as_ref().and_then(|subnet| subnet.gateway))
    };
    if gateways(&after) != gateways(before) {
        pool::check_usable(&after)?;
    }
    Ok(after)
}
