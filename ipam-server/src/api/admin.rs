//! The calls of AdminService, but for Export and ListEvents.

use ipam_core::lease::Lease;
use jiff::Timestamp;
use proto::ipam::v1 as ipam;

use super::Api;
use super::leases::fitting;
use crate::error::Error;
use crate::ledger::{Caller, Mode};
use crate::page::Page;
use crate::wire::{answer, import, lease, request, time};

impl Api {
    /// See `AdminService.Import`: one message's items.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn import(
        &self,
        caller: &Caller,
        items: Vec<ipam::ExportItem>,
        validate_only: bool,
    ) -> Result<ipam::ImportResponse, Error> {
        let items = import::items(items);
        let mode = Mode::of(validate_only);
        let outcome = self.ledger.import(caller, mode, items).await?;
        Ok(answer::import(outcome))
    }

    /// See `AdminService.CheckConsistency`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn check_consistency(&self) -> Result<ipam::CheckConsistencyResponse, Error> {
        let found = self.ledger.check_consistency().await?;
        Ok(ipam::CheckConsistencyResponse {
            leases: found.leases,
            pools: found.pools,
            problems: found.problems,
        })
    }

    /// See `AdminService.ReclaimOrphans`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn reclaim_orphans(
        &self,
        caller: &Caller,
        message: ipam::ReclaimOrphansRequest,
    ) -> Result<ipam::ReclaimOrphansResponse, Error> {
        let reclaim = request::reclaim(message)?;
        // What does not fit into the answer does not end.
        let room = || {
            let mut page = Page::new(usize::MAX);
            move |lease: &Lease| page.push(lease::encode(lease.clone())).is_ok()
        };
        let reclaimed = self.ledger.reclaim_orphans(caller, reclaim, room).await?;
        Ok(ipam::ReclaimOrphansResponse {
            reclaimed: fitting(reclaimed.reclaimed),
            suspected_count: reclaimed.suspected.len() as u64,
            suspected: fitting(reclaimed.suspected),
            pending_count: reclaimed.pending,
        })
    }

    /// See `AdminService.GetServer`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn server(&self, caller: &Caller) -> Result<ipam::Server, Error> {
        let status = self.ledger.server(caller).await?;
        let origin = status.origin;
        let until = Timestamp::from_millisecond(origin.until).ok();
        let until = until.filter(|_| !origin.awaited.is_empty());
        let problem = status.problem.map(|error| error.to_string());
        Ok(ipam::Server {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: status.store.to_owned(),
            revision: status.revision,
            oldest_revision: status.oldest_revision,
            writable: problem.is_none(),
            problem: problem.unwrap_or_default(),
            leases: status.leases,
            store_id: origin.id,
            awaited_nodes: origin.awaited.into_iter().collect(),
            awaited_until_time: until.map(time::encode),
        })
    }
}
