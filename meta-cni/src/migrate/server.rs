//! The calls of the address service that a migration makes.

use std::future::Future;
use std::time::Duration;

use dial::token::Token;
use futures_util::stream;
use proto::ipam::v1::admin_service_client::AdminServiceClient;
use proto::ipam::v1::export_item::Item;
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{
    CordonPoolRequest, DeletePoolRequest, ExportItem, ImportRequest, Lease, ListLeasesRequest,
    ListPoolsRequest, Pool, ReleaseRequest, UncordonPoolRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::MigrateError;
use crate::ipam::client::Client;
use crate::ipam::config;

/// The time for one call, with up to [`BATCH`] items.
const LIMIT: Duration = Duration::from_secs(60);
/// Entries of a page (ipam.v1: 1000 at most).
const PAGE: i32 = 500;
/// Items of an import (ipam.v1: 1000 at most).
pub(super) const BATCH: usize = 500;

/// A server, and who calls it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) server: config::Server,
    /// Beside a certificate or instead of one.
    pub(super) token: Option<Token>,
}

/// What an import did.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) imported: u64,
    /// A sentence for each item that was not.
    pub(super) conflicts: Vec<String>,
}

impl Server {
    /// Makes a call; its answer, if the server can be reached.
    fn ask<Q, A, F>(
        &self,
        question: Q,
        call: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<Result<A, Status>, MigrateError>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let client = Client::connect(&self.server, None, LIMIT, false);
        let client = client.map_err(|source| MigrateError::Server {
            source: Box::new(source),
        })?;
        Ok(client.ask(question, |channel, mut request| {
            if let Some(token) = &self.token {
                let headers = request.metadata_mut().as_mut();
                headers.insert(http::header::AUTHORIZATION, token.authorization());
            }
            call(channel, request)
        }))
    }

    /// All pools.
    pub(super) fn pools(&self) -> Result<Vec<Pool>, MigrateError> {
        let mut pools = Vec::new();
        let mut page_token = String::new();
        loop {
            let question = ListPoolsRequest {
                page_size: PAGE,
                page_token,
                filter: String::new(),
            };
            let answer = self.ask(question, |channel, request| async move {
                PoolServiceClient::new(channel).list_pools(request).await
            })?;
            let page = answer.map_err(refused("listing pools"))?;
            pools.extend(page.pools);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(pools);
            }
        }
    }

    /// The active leases of a pool; none if there is no such pool.
    pub(super) fn leases(&self, pool: &str) -> Result<Vec<Lease>, MigrateError> {
        let filter = format!("pool=\"{pool}\" AND state=ACTIVE");
        let mut leases = Vec::new();
        let mut page_token = String::new();
        loop {
            let question = ListLeasesRequest {
                page_size: PAGE,
                page_token,
                filter: filter.clone(),
            };
            let answer = self.ask(question, |channel, request| async move {
                LeaseServiceClient::new(channel).list_leases(request).await
            })?;
            let page = answer.map_err(refused(&format!("listing the leases of pool {pool}")))?;
            leases.extend(page.leases);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(leases);
            }
        }
    }

    /// Imports up to [`BATCH`] items in one durable write.
    pub(super) fn import(&self, items: Vec<Item>) -> Result<Imported, MigrateError> {
        let question = ImportRequest {
            items: items
                .into_iter()
                .map(|item| ExportItem { item: Some(item) })
                .collect(),
            validate_only: false,
        };
        let answer = self.ask(question, |channel, request| async move {
            let mut client = AdminServiceClient::new(channel);
            let request = request.map(|one| stream::iter([one]));
            client.import(request).await
        })?;
        let answer = answer.map_err(refused("importing"))?;
        let missing =
            answer.conflicts - (answer.conflict_details.len() as u64).min(answer.conflicts);
        let mut conflicts = answer.conflict_details;
        if missing > 0 {
            conflicts.push(format!("and {missing} more items"));
        }
        Ok(Imported {
            imported: answer.imported,
            conflicts,
        })
    }

    /// Ends a lease of this generation; one that has ended or changed is left alone. Whether it ended.
    pub(super) fn release(&self, lease: &Lease) -> Result<bool, MigrateError> {
        let question = ReleaseRequest {
            id: lease.id.clone(),
            generation: lease.generation,
            validate_only: false,
        };
        let answer = self.ask(question, |channel, request| async move {
            LeaseServiceClient::new(channel).release(request).await
        })?;
        match answer {
            Ok(_) => Ok(true),
            Err(status) if matches!(status.code(), Code::NotFound | Code::Aborted) => Ok(false),
            Err(status) => Err(refused(&format!("releasing lease {}", lease.id))(status)),
        }
    }

    /// Removes a pool; one that does not exist is as good as removed.
    pub(super) fn delete_pool(&self, name: &str) -> Result<(), MigrateError> {
        let question = DeletePoolRequest {
            name: name.to_owned(),
            ..DeletePoolRequest::default()
        };
        let answer = self.ask(question, |channel, request| async move {
            PoolServiceClient::new(channel).delete_pool(request).await
        })?;
        match answer {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            answer => answer
                .map(drop)
                .map_err(refused(&format!("deleting pool {name}"))),
        }
    }

    /// Lets a pool allocate nothing new.
    pub(super) fn cordon(&self, name: &str) -> Result<(), MigrateError> {
        let question = CordonPoolRequest {
            name: name.to_owned(),
        };
        let answer = self.ask(question, |channel, request| async move {
            PoolServiceClient::new(channel).cordon_pool(request).await
        })?;
        answer
            .map(drop)
            .map_err(refused(&format!("cordoning pool {name}")))
    }

    /// Lets a pool allocate again.
    pub(super) fn uncordon(&self, name: &str) -> Result<(), MigrateError> {
        let question = UncordonPoolRequest {
            name: name.to_owned(),
        };
        let answer = self.ask(question, |channel, request| async move {
            PoolServiceClient::new(channel).uncordon_pool(request).await
        })?;
        answer
            .map(drop)
            .map_err(refused(&format!("uncordoning pool {name}")))
    }
}

fn refused(doing: &str) -> impl FnOnce(Status) -> MigrateError {
    let doing = doing.to_owned();
    move |status| MigrateError::Refused {
        doing,
        code: status.code(),
        message: status.message().to_owned(),
    }
}
