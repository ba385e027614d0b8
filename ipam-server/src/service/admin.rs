//! AdminService.

use std::pin::Pin;

use futures_util::Stream;
use proto::ipam::v1 as ipam;
use proto::ipam::v1::admin_service_server::AdminService;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Service;
use super::caller::{caller, is_operator};
use super::export::{CHUNK, Form};
use crate::error::Error;

/// Items that one message of an import may have.
const ITEMS: usize = 1000;
/// Conflicts that an answer describes.
const DETAILS: usize = 100;

type Items = Pin<Box<dyn Stream<Item = Result<ipam::ExportItem, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for Service {
    type ExportStream = Items;

    async fn export(
        &self,
        request: Request<ipam::ExportRequest>,
    ) -> Result<Response<Items>, Status> {
        let form = match is_operator(&request) {
            true => Form::Backup,
            false => Form::Reading,
        };
        let caller = caller(&request);
        let service = self.clone();
        let (sender, receiver) = channel(CHUNK);
        // Ends with the stream: a send fails when nobody reads any more.
        tokio::spawn(async move {
            if let Err(error) = service.export_to(&caller, form, &sender).await {
                // Nobody reads any more.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn import(
        &self,
        request: Request<Streaming<ipam::ImportRequest>>,
    ) -> Result<Response<ipam::ImportResponse>, Status> {
        let mut caller = caller(&request);
        // A long import is not a slow one: each message has the time of a request.
        caller.deadline = None;
        let mut messages = request.into_inner();
        let mut answer = ipam::ImportResponse::default();
        let mut validate_only = None;
        while let Some(message) = messages.message().await? {
            if message.items.len() > ITEMS {
                return Err(
                    Error::field("items", format!("are more than {ITEMS} in one message")).into(),
                );
            }
            let validate_only = *validate_only.get_or_insert(message.validate_only);
            let one = self
                .api
                .import(&caller, message.items, validate_only)
                .await?;
            answer.imported += one.imported;
            answer.unchanged += one.unchanged;
            answer.conflicts += one.conflicts;
            answer.conflict_details.extend(one.conflict_details);
            answer.conflict_details.truncate(DETAILS);
        }
        Ok(Response::new(answer))
    }

    async fn check_consistency(
        &self,
        _request: Request<ipam::CheckConsistencyRequest>,
    ) -> Result<Response<ipam::CheckConsistencyResponse>, Status> {
        Ok(Response::new(self.api.check_consistency().await?))
    }

    async fn list_events(
        &self,
        request: Request<ipam::ListEventsRequest>,
    ) -> Result<Response<ipam::ListEventsResponse>, Status> {
        Ok(Response::new(
            self.list_events_of(request.into_inner()).await?,
        ))
    }

    async fn reclaim_orphans(
        &self,
        request: Request<ipam::ReclaimOrphansRequest>,
    ) -> Result<Response<ipam::ReclaimOrphansResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .reclaim_orphans(&caller, request.into_inner())
                .await?,
        ))
    }

    async fn get_server(
        &self,
        request: Request<ipam::GetServerRequest>,
    ) -> Result<Response<ipam::Server>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.api.server(&caller).await?))
    }
}
