//! Reservations.

use std::str::FromStr;

use ipam_core::reservation::{Identity, Reservation};
use proto::ipam::v1 as ipam;

use super::{Malformed, shared, time};

/// A reservation as messages have it.
pub fn encode(reservation: Reservation) -> ipam::Reservation {
    let identity = reservation.identity;
    ipam::Reservation {
        name: reservation.name.as_ref().to_owned(),
        pool: reservation.pool.as_ref().to_owned(),
        ipv4: reservation
            .ipv4
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        ipv6: reservation
            .ipv6
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        identity: Some(ipam::Identity {
            cluster: identity.cluster,
            namespace: identity.namespace,
            pod: identity.pod,
            claim: identity.claim,
            mac: identity.mac,
            network: identity.network,
            ifname: identity.ifname,
        }),
        labels: reservation.labels,
        create_time: reservation.create_time.map(time::encode),
    }
}

/// The reservation of a stored message.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn decode(reservation: ipam::Reservation) -> Result<Reservation, Malformed> {
    Ok(Reservation {
        ipv4: address("ipv4", &reservation.ipv4)?,
        ipv6: address("ipv6", &reservation.ipv6)?,
        create_time: time::stored("create_time", reservation.create_time.as_ref())?,
        identity: decode_identity(reservation.identity.unwrap_or_default()),
        name: shared(reservation.name),
        pool: shared(reservation.pool),
        labels: reservation.labels,
    })
}

/// The identity of a message.
pub fn decode_identity(identity: ipam::Identity) -> Identity {
    Identity {
        cluster: identity.cluster,
        namespace: identity.namespace,
        pod: identity.pod,
        claim: identity.claim,
        mac: identity.mac,
        network: identity.network,
        ifname: identity.ifname,
    }
}

fn address<A: FromStr>(field: &str, text: &str) -> Result<Option<A>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse().map_err(|_| Malformed::field(field, text));
    address.map(Some)
}
