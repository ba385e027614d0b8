//! The calls of ReservationService, but for ListReservations.

use std::sync::Arc;

use ipam_core::reservation::Reservation;
use proto::ipam::v1 as ipam;

use super::Api;
use crate::error::Error;
use crate::ledger::{Caller, Mode};
use crate::wire::{request, reservation};

impl Api {
    /// See `ReservationService.CreateReservation`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn create_reservation(
        &self,
        caller: &Caller,
        message: ipam::CreateReservationRequest,
    ) -> Result<ipam::Reservation, Error> {
        let wanted = request::reservation(message.reservation.unwrap_or_default())?;
        let mode = Mode::of(message.validate_only);
        let made = self
            .ledger
            .create_reservation(caller, mode, wanted, message.request_id);
        Ok(encode(made.await?))
    }

    /// See `ReservationService.GetReservation`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn get_reservation(
        &self,
        caller: &Caller,
        name: String,
    ) -> Result<ipam::Reservation, Error> {
        let reservation = self.ledger.get_reservation(caller, name).await?;
        Ok(encode(reservation))
    }

    /// All reservations, by name.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn list_reservations(
        &self,
        caller: &Caller,
    ) -> Result<Vec<ipam::Reservation>, Error> {
        let reservations = self.ledger.list_reservations(caller).await?;
        Ok(reservations.into_iter().map(encode).collect())
    }

    /// See `ReservationService.DeleteReservation`.
    ///
    /// # Errors
    /// As [`Api::create_pool`].
    pub async fn delete_reservation(&self, caller: &Caller, name: String) -> Result<(), Error> {
        self.ledger.delete_reservation(caller, name).await
    }
}

fn encode(reservation: Arc<Reservation>) -> ipam::Reservation {
    reservation::encode(Arc::unwrap_or_clone(reservation))
}
