//! The values of things: JSON, which people read with etcdctl.

use ipam_core::lease::{Lease, LeaseId};
use ipam_core::log::Origin;
use ipam_core::pool::Pool;
use ipam_core::reservation::Reservation;
use proto::ipam::v1 as ipam;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::Thing;
use super::mirror::Mirror;
use crate::store::origin;
use crate::wire::{Malformed, lease, pool, reservation};

/// A thing as it is.
#[derive(Debug)]
pub(super) enum Value {
    Origin(Origin),
    Pool(Box<Pool>),
    Reservation(Reservation),
    Lease(Box<Lease>),
}

/// The value of a thing; none: it is gone.
///
/// # Errors
/// What is wrong with what is remembered of it.
pub(super) fn encode(mirror: &Mirror, thing: &Thing) -> Result<Option<Vec<u8>>, String> {
    let value = match thing {
        Thing::Origin => mirror.origin.as_ref().map(origin::encode),
        Thing::Pool(name) => {
            let pool = mirror.pools.get(name);
            pool.map(|kept| json(&pool::encode(Pool::clone(kept))))
                .transpose()?
        }
        Thing::Reservation(name) => {
            let kept = mirror.reservations.get(name);
            kept.map(|kept| json(&reservation::encode(Reservation::clone(kept))))
                .transpose()?
        }
        Thing::Lease(id) => {
            let lease = mirror.lease(*id).transpose()?;
            lease.map(|lease| json(&lease)).transpose()?
        }
    };
    Ok(value)
}

fn json(message: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(message).map_err(|error| error.to_string())
}

/// The thing of a value.
///
/// # Errors
/// What is not as it is written.
pub(super) fn decode(thing: &Thing, value: &[u8]) -> Result<Value, String> {
    match thing {
        Thing::Origin => {
            let origin = origin::decode(value).map_err(|error| error.to_string())?;
            Ok(Value::Origin(origin))
        }
        Thing::Pool(name) => {
            let pool = message(value, pool::decode_stored)?;
            named(&pool.name, name)?;
            Ok(Value::Pool(Box::new(pool)))
        }
        Thing::Reservation(name) => {
            let reservation = message::<ipam::Reservation, _>(value, reservation::decode)?;
            named(&reservation.name, name)?;
            Ok(Value::Reservation(reservation))
        }
        Thing::Lease(id) => {
            let lease = message(value, lease::decode)?;
            numbered(lease.id, *id)?;
            Ok(Value::Lease(Box::new(lease)))
        }
    }
}

fn message<M: DeserializeOwned, T>(
    value: &[u8],
    decode: impl Fn(M) -> Result<T, Malformed>,
) -> Result<T, String> {
    let message = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    decode(message).map_err(|error| error.to_string())
}

fn named(found: &str, expected: &str) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("it is about {found:?}")),
    }
}

fn numbered(found: LeaseId, expected: LeaseId) -> Result<(), String> {
    named(&found.to_string(), &expected.to_string())
}
