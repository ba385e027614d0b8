//! A group as it is kept: one value, or one with its content in pieces.

use bytes::Bytes;
use ipam_core::log::{Group, OriginChange};
use prost::Message as _;
use proto::ipam::v1::{self as ipam, subject::Subject};

use crate::store::{origin, packed};
use crate::wire::event;

/// A group in its place.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    /// Names the group: random. Its writer recognises it by this.
    #[prost(string, tag = "1")]
    pub(super) id: String,
    /// The id of the group before it; empty: it is the first one.
    #[prost(string, tag = "2")]
    pub(super) previous: String,
    /// How many groups there are with it.
    #[prost(uint64, tag = "3")]
    pub(super) position: u64,
    /// The store's revision with it.
    #[prost(uint64, tag = "4")]
    pub(super) revision: u64,
    /// The packed [`Content`].
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) content: Bytes,
    /// If not 0, the packed content is in so many pieces instead.
    #[prost(uint32, tag = "6")]
    pub(super) pieces: u32,
}

/// What a group changes.
#[derive(Clone, PartialEq, prost::Message)]
struct Content {
    #[prost(message, repeated, tag = "1")]
    events: Vec<ipam::Event>,
    #[prost(uint64, optional, tag = "2")]
    forget_events_to: Option<u64>,
    /// The two sides of [`Group::origin`], JSON.
    #[prost(bytes = "vec", optional, tag = "3")]
    origin_before: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    origin_after: Option<Vec<u8>>,
}

/// The lease that each event of a group leaves, encoded, as the mirror keeps it; none: the event leaves no lease.
pub(super) type Left = Vec<Option<Box<[u8]>>>;

impl Record {
    /// The record of a group, without its place, and what its events leave.
    pub(super) fn of(group: &Group) -> (Record, Left) {
        let origin = group.origin.as_ref();
        let before = origin.and_then(|change| change.before.as_ref());
        let content = Content {
            events: group.events.iter().cloned().map(event::encode).collect(),
            forget_events_to: group.forget_events_to,
            origin_before: before.map(origin::encode),
            origin_after: origin.map(|change| origin::encode(&change.after)),
        };
        let record = Record {
            content: packed::pack(&content.encode_to_vec()).into(),
            ..Record::default()
        };
        (record, encode_left(&content.events))
    }

    /// The group of a record with its content, and what its events leave.
    ///
    /// # Errors
    /// What is not as it is written.
    pub(super) fn group(&self) -> Result<(Group, Left), String> {
        let bytes = packed::unpack(&self.content).ok_or("its content is not whole")?;
        let content = Content::decode(&bytes[..]).map_err(|error| error.to_string())?;
        let left = encode_left(&content.events);
        let events = event::decode_all(content.events);
        let decode = |bytes: Vec<u8>| origin::decode(&bytes).map_err(|error| error.to_string());
        let before = content.origin_before.map(decode).transpose()?;
        let after = content.origin_after.map(decode).transpose()?;
        let group = Group {
            events: events.map_err(|error| error.to_string())?,
            forget_events_to: content.forget_events_to,
            origin: after.map(|after| OriginChange { before, after }),
        };
        Ok((group, left))
    }
}

fn encode_left(events: &[ipam::Event]) -> Left {
    let lease = |event: &ipam::Event| match event.after.as_ref()?.subject.as_ref()? {
        Subject::Lease(lease) => Some(lease.encode_to_vec().into()),
        Subject::Pool(_) | Subject::Reservation(_) => None,
    };
    events.iter().map(lease).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ipam_core::event::{Change, Event, EventType};
    use ipam_core::lease::{Lease, LeaseId};
    use ipam_core::log::Origin;

    use super::*;

    #[test]
    fn a_group_is_read_as_it_was_written() {
        let lease = |number| Lease {
            id: LeaseId(number),
            pool: "blue".into(),
            vrf: "default".into(),
            generation: 1,
            ..Lease::default()
        };
        let event = |revision| Event {
            revision,
            kind: EventType::Created,
            change: Change::lease(None, Some(Arc::new(lease(revision)))),
            ..Event::default()
        };
        let origin = OriginChange {
            before: None,
            after: Origin {
                id: "a".into(),
                ..Origin::default()
            },
        };
        for group in [
            Group::default(),
            Group {
                events: (1..=100).map(event).collect(),
                forget_events_to: Some(7),
                origin: Some(origin),
            },
        ] {
            let (record, left) = Record::of(&group);
            let bytes = record.encode_to_vec();
            let record = Record::decode(&bytes[..]).unwrap();
            assert_eq!(record.group().unwrap(), (group, left));
        }
        let gone = Event {
            change: Change::lease(Some(Arc::new(lease(1))), None),
            ..event(2)
        };
        let group = Group {
            events: vec![event(1), gone],
            ..Group::default()
        };
        let encoded = crate::wire::lease::encode(lease(1)).encode_to_vec();
        assert_eq!(Record::of(&group).1, [Some(encoded.into()), None]);
        let cut = Record {
            content: vec![9, 0, 0, 0, 1].into(),
            ..Record::default()
        };
        assert!(cut.group().is_err());
    }
}
