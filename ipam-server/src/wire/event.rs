//! The history.

use std::sync::Arc;

use ipam_core::event::{Change, Event, EventType, Sides};
use proto::ipam::v1::{self as ipam, subject::Subject};

use super::lease::Decoder;
use super::{Malformed, lease, pool, reservation, shared, time};

/// An event as messages have it.
pub fn encode(event: Event) -> ipam::Event {
    let (before, after) = match event.change {
        Change::Lease(sides) => both(sides, |side| Subject::Lease(lease::encode(side))),
        Change::Pool(sides) => both(sides, |side| Subject::Pool(pool::encode(side))),
        Change::Reservation(sides) => both(sides, |side| {
            Subject::Reservation(reservation::encode(side))
        }),
    };
    ipam::Event {
        revision: event.revision,
        time: Some(time::encode(event.time)),
        r#type: encode_type(event.kind).into(),
        actor: event.actor.as_ref().to_owned(),
        before,
        after,
    }
}

/// The event of a stored message.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn decode(event: ipam::Event) -> Result<Event, Malformed> {
    decode_next(&mut Decoder::default(), event)
}

/// The events of stored messages: those that follow on one another share texts.
///
/// # Errors
/// As [`decode`].
pub fn decode_all(events: Vec<ipam::Event>) -> Result<Vec<Event>, Malformed> {
    let mut leases = Decoder::default();
    let events = events.into_iter();
    events.map(|one| decode_next(&mut leases, one)).collect()
}

fn decode_next(leases: &mut Decoder, event: ipam::Event) -> Result<Event, Malformed> {
    let time = time::stored("time", event.time.as_ref())?;
    let kind = decode_type(event.r#type)?;
    let subject = |side: Option<ipam::Subject>| side.and_then(|side| side.subject);
    Ok(Event {
        revision: event.revision,
        time: time.unwrap_or_default(),
        kind,
        actor: shared(event.actor),
        change: decode_change(leases, subject(event.before), subject(event.after))?,
    })
}

fn both<T: Clone>(
    sides: Sides<T>,
    encode: impl Fn(T) -> Subject,
) -> (Option<ipam::Subject>, Option<ipam::Subject>) {
    let side = |side: Option<Arc<T>>| {
        side.map(|side| ipam::Subject {
            subject: Some(encode(Arc::unwrap_or_clone(side))),
        })
    };
    (side(sides.before), side(sides.after))
}

fn decode_change(
    leases: &mut Decoder,
    before: Option<Subject>,
    after: Option<Subject>,
) -> Result<Change, Malformed> {
    let mixed = || Malformed {
        what: "an event is about two kinds of things".to_owned(),
    };
    match after.as_ref().or(before.as_ref()) {
        None => Ok(Change::default()),
        Some(Subject::Lease(_)) => sides(before, after, |side| match side {
            Subject::Lease(lease) => leases.decode(lease),
            _ => Err(mixed()),
        })
        .map(Change::Lease),
        Some(Subject::Pool(_)) => sides(before, after, |side| match side {
            Subject::Pool(pool) => pool::decode_stored(pool),
            _ => Err(mixed()),
        })
        .map(Change::Pool),
        Some(Subject::Reservation(_)) => sides(before, after, |side| match side {
            Subject::Reservation(reservation) => reservation::decode(reservation),
            _ => Err(mixed()),
        })
        .map(Change::Reservation),
    }
}

fn sides<T>(
    before: Option<Subject>,
    after: Option<Subject>,
    mut decode: impl FnMut(Subject) -> Result<T, Malformed>,
) -> Result<Sides<T>, Malformed> {
    let mut side = |side: Option<Subject>| side.map(&mut decode).transpose();
    Ok(Sides {
        before: side(before)?.map(Arc::new),
        after: side(after)?.map(Arc::new),
    })
}

/// The type of a message's event.
pub fn encode_type(kind: EventType) -> ipam::EventType {
    match kind {
        EventType::Created => ipam::EventType::Created,
        EventType::Updated => ipam::EventType::Updated,
        EventType::Released => ipam::EventType::Released,
        EventType::Expired => ipam::EventType::Expired,
        EventType::Reclaimed => ipam::EventType::Reclaimed,
        EventType::Freed => ipam::EventType::Freed,
        EventType::CutShort => ipam::EventType::CutShort,
        EventType::Deleted => ipam::EventType::Deleted,
    }
}

fn decode_type(kind: i32) -> Result<EventType, Malformed> {
    let unknown = || Malformed::field("the type of an event", kind);
    match ipam::EventType::try_from(kind).map_err(|_| unknown())? {
        ipam::EventType::Unspecified => Err(unknown()),
        ipam::EventType::Created => Ok(EventType::Created),
        ipam::EventType::Updated => Ok(EventType::Updated),
        ipam::EventType::Released => Ok(EventType::Released),
        ipam::EventType::Expired => Ok(EventType::Expired),
        ipam::EventType::Reclaimed => Ok(EventType::Reclaimed),
        ipam::EventType::Freed => Ok(EventType::Freed),
        ipam::EventType::CutShort => Ok(EventType::CutShort),
        ipam::EventType::Deleted => Ok(EventType::Deleted),
    }
}
