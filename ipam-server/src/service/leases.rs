//! LeaseService, but for the stream of Watch.

use ipam_core::lease::LeaseId;
use proto::ipam::v1::lease_service_server::LeaseService;
use proto::ipam::v1::{self as ipam};
use tonic::{Request, Response, Status};

use super::caller::caller;
use super::filter::Filter;
use super::watch::Changes;
use super::{Service, page_token};
use crate::error::Error;
use crate::page::{self, Page};
use crate::wire::lease;

/// Leases that are read from the store at once.
const CHUNK: usize = 1000;
/// Leases that are read for one page at most: a page may be short and have a next one.
const READ: usize = 50_000;

#[tonic::async_trait]
impl LeaseService for Service {
    type WatchStream = Changes;

    async fn allocate(
        &self,
        request: Request<ipam::AllocateRequest>,
    ) -> Result<Response<ipam::AllocateResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.allocate(&caller, request.into_inner()).await?,
        ))
    }

    async fn batch_allocate(
        &self,
        request: Request<ipam::BatchAllocateRequest>,
    ) -> Result<Response<ipam::BatchAllocateResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .batch_allocate(&caller, request.into_inner())
                .await?,
        ))
    }

    async fn report_held(
        &self,
        request: Request<ipam::ReportHeldRequest>,
    ) -> Result<Response<ipam::ReportHeldResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.report_held(&caller, request.into_inner()).await?,
        ))
    }

    async fn release(
        &self,
        request: Request<ipam::ReleaseRequest>,
    ) -> Result<Response<ipam::ReleaseResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.release(&caller, request.into_inner()).await?,
        ))
    }

    async fn release_attachment(
        &self,
        request: Request<ipam::ReleaseAttachmentRequest>,
    ) -> Result<Response<ipam::ReleaseAttachmentResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .release_attachment(&caller, request.into_inner())
                .await?,
        ))
    }

    async fn release_unlisted(
        &self,
        request: Request<ipam::ReleaseUnlistedRequest>,
    ) -> Result<Response<ipam::ReleaseUnlistedResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .release_unlisted(&caller, request.into_inner())
                .await?,
        ))
    }

    async fn renew(
        &self,
        request: Request<ipam::RenewRequest>,
    ) -> Result<Response<ipam::Lease>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.renew(&caller, request.into_inner()).await?,
        ))
    }

    async fn get_lease(
        &self,
        request: Request<ipam::GetLeaseRequest>,
    ) -> Result<Response<ipam::Lease>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.get_lease(&caller, request.into_inner().id).await?,
        ))
    }

    async fn list_leases(
        &self,
        request: Request<ipam::ListLeasesRequest>,
    ) -> Result<Response<ipam::ListLeasesResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let filter = lease_filter(&request.filter)?;
        let size = page::size(request.page_size)?;
        let mut after = LeaseId(0);
        if let Some(key) = page_token::key(&request.page_token, &request.filter)? {
            after = key.parse().map_err(|()| Error::BadToken)?;
        }
        let mut page = Page::new(size);
        let mut read = 0;
        let more = 'page: loop {
            let wanted = if filter.is_empty() && caller.node.is_none() {
                page.room()
            } else {
                CHUNK
            };
            let chunk = self.ledger.leases(after, wanted).await?;
            let whole = chunk.len() == wanted;
            read += chunk.len();
            for lease in chunk {
                let id = lease.id;
                let is_seen = caller.reaches(&lease) && filter.lease(&lease);
                if is_seen && page.push(lease::encode(lease)).is_err() {
                    break 'page true;
                }
                after = id;
            }
            if page.room() == 0 || read >= READ {
                break !self.ledger.leases(after, 1).await?.is_empty();
            }
            if !whole {
                break false;
            }
        };
        let next_page_token = if more {
            page_token::token(&after.to_string(), &request.filter)
        } else {
            String::new()
        };
        Ok(Response::new(ipam::ListLeasesResponse {
            leases: page.into_entries(),
            next_page_token,
        }))
    }

    async fn lookup(
        &self,
        request: Request<ipam::LookupRequest>,
    ) -> Result<Response<ipam::LookupResponse>, Status> {
        let caller = caller(&request);
        let leases = self.api.lookup(&caller, request.into_inner()).await?;
        Ok(Response::new(ipam::LookupResponse { leases }))
    }

    async fn watch(
        &self,
        request: Request<ipam::WatchRequest>,
    ) -> Result<Response<Changes>, Status> {
        let caller = caller(&request);
        let changes = self.changes(caller, request.into_inner()).await;
        changes.map(Response::new)
    }

    async fn explain(
        &self,
        request: Request<ipam::ExplainRequest>,
    ) -> Result<Response<ipam::ExplainResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.explain(&caller, request.into_inner()).await?,
        ))
    }
}

pub(super) fn lease_filter(text: &str) -> Result<Filter, Error> {
    Filter::for_leases(text).map_err(|error| Error::field("filter", error.to_string()))
}
