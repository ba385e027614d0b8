//! ReservationService.

use proto::ipam::v1::reservation_service_server::ReservationService;
use proto::ipam::v1::{self as ipam};
use tonic::{Request, Response, Status};

use super::caller::caller;
use super::{Service, page_token};
use crate::page::{self, Page};

#[tonic::async_trait]
impl ReservationService for Service {
    async fn create_reservation(
        &self,
        request: Request<ipam::CreateReservationRequest>,
    ) -> Result<Response<ipam::Reservation>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .create_reservation(&caller, request.into_inner())
                .await?,
        ))
    }

    async fn get_reservation(
        &self,
        request: Request<ipam::GetReservationRequest>,
    ) -> Result<Response<ipam::Reservation>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.api
                .get_reservation(&caller, request.into_inner().name)
                .await?,
        ))
    }

    async fn list_reservations(
        &self,
        request: Request<ipam::ListReservationsRequest>,
    ) -> Result<Response<ipam::ListReservationsResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let after = page_token::key(&request.page_token, &request.pool)?.unwrap_or_default();
        let all = self.api.list_reservations(&caller).await?;
        let rest = all.into_iter().filter(|reservation| {
            reservation.name > after
                && (request.pool.is_empty() || reservation.pool == request.pool)
        });
        let (reservations, is_cut) = Page::of(size, rest);
        let next_page_token = match reservations.last().filter(|_| is_cut) {
            Some(last) => page_token::token(&last.name, &request.pool),
            None => String::new(),
        };
        Ok(Response::new(ipam::ListReservationsResponse {
            reservations,
            next_page_token,
        }))
    }

    async fn delete_reservation(
        &self,
        request: Request<ipam::DeleteReservationRequest>,
    ) -> Result<Response<ipam::DeleteReservationResponse>, Status> {
        let caller = caller(&request);
        self.api
            .delete_reservation(&caller, request.into_inner().name)
            .await?;
        Ok(Response::new(ipam::DeleteReservationResponse {}))
    }
}
