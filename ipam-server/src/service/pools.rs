//! PoolService.

use std::collections::BTreeMap;

use ipam_core::pool::PoolState;
use proto::ipam::v1::pool_service_server::PoolService;
use proto::ipam::v1::{self as ipam};
use tonic::{Request, Response, Status};

use super::caller::{caller, reads_pools};
use super::filter::Filter;
use super::{Service, page_token};
use crate::error::Error;
use crate::page::{self, Page};

#[tonic::async_trait]
impl PoolService for Service {
    async fn create_pool(
        &self,
        request: Request<ipam::CreatePoolRequest>,
    ) -> Result<Response<ipam::Pool>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.create_pool(&caller, request.into_inner()).await?,
        ))
    }

    async fn get_pool(
        &self,
        request: Request<ipam::GetPoolRequest>,
    ) -> Result<Response<ipam::Pool>, Status> {
        let (caller, reads_all) = (caller(&request), reads_pools(&request));
        let pool = self.api.get_pool(&caller, request.into_inner().name);
        Ok(Response::new(shown(pool.await?, reads_all)))
    }

    async fn list_pools(
        &self,
        request: Request<ipam::ListPoolsRequest>,
    ) -> Result<Response<ipam::ListPoolsResponse>, Status> {
        let (caller, reads_all) = (caller(&request), reads_pools(&request));
        let request = request.into_inner();
        let filter = Filter::for_pools(&request.filter)
            .map_err(|error| Error::field("filter", error.to_string()))?;
        let size = page::size(request.page_size)?;
        let after = page_token::key(&request.page_token, &request.filter)?.unwrap_or_default();
        let pools = self.api.list_pools(&caller).await?;
        let rest = pools
            .into_iter()
            .map(|pool| shown(pool, reads_all))
            .filter(|pool| pool.name > after && filter.pool(pool));
        let (pools, is_cut) = Page::of(size, rest);
        let next_page_token = match pools.last().filter(|_| is_cut) {
            Some(last) => page_token::token(&last.name, &request.filter),
            None => String::new(),
        };
        Ok(Response::new(ipam::ListPoolsResponse {
            pools,
            next_page_token,
        }))
    }

    async fn update_pool(
        &self,
        request: Request<ipam::UpdatePoolRequest>,
    ) -> Result<Response<ipam::Pool>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api.update_pool(&caller, request.into_inner()).await?,
        ))
    }

    async fn delete_pool(
        &self,
        request: Request<ipam::DeletePoolRequest>,
    ) -> Result<Response<ipam::DeletePoolResponse>, Status> {
        let caller = caller(&request);
        self.api.delete_pool(&caller, request.into_inner()).await?;
        Ok(Response::new(ipam::DeletePoolResponse {}))
    }

    async fn cordon_pool(
        &self,
        request: Request<ipam::CordonPoolRequest>,
    ) -> Result<Response<ipam::Pool>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .set_pool_state(&caller, request.into_inner().name, PoolState::Cordoned)
                .await?,
        ))
    }

    async fn uncordon_pool(
        &self,
        request: Request<ipam::UncordonPoolRequest>,
    ) -> Result<Response<ipam::Pool>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .set_pool_state(&caller, request.into_inner().name, PoolState::Active)
                .await?,
        ))
    }
}

/// A pool as its reader may see it.
fn shown(pool: ipam::Pool, reads_all: bool) -> ipam::Pool {
    if reads_all {
        return pool;
    }
    ipam::Pool {
        allowed_namespaces: Vec::new(),
        labels: BTreeMap::new(),
        namespace_quota: 0,
        ..pool
    }
}
