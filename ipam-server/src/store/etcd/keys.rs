//! The keys of the store, and the operations on them that a transaction has.
//!
//! | Key, below the prefix | Value |
//! |---|---|
//! | `head` | where the log ends, JSON ([`Head`](super::head::Head)); every append is conditioned on it |
//! | `groups/<revision>/<position>/<id>` | a group ([`Record`](super::record::Record)); the revision is that of its last event |
//! | `pieces/<revision>/<position>/<group>/<number>` | the events of a group that are too long for one value |
//! | `applied` | up to which group the keys below are written, JSON ([`Applied`](super::head::Applied)) |
//! | `origin`, `pools/<name>`, `reservations/<name>`, `leases/<id>` | what there is, JSON |
//!
//! A long value of the last row goes on at `<key>/<number>`. Numbers have leading zeros: the order of keys is theirs.

use std::sync::Arc;

use bytes::Bytes;
use ipam_core::lease::LeaseId;
use proto::etcd::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcd::etcdserverpb::request_op::Request;
use proto::etcd::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp};

/// What a key beside the log is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// Which store it is.
    Origin,
    /// A pool, by name.
    Pool(Arc<str>),
    /// A reservation, by name.
    Reservation(Arc<str>),
    /// A lease.
    Lease(LeaseId),
}

/// Makes the keys of one store.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// The keys below a prefix, which ends with `/`.
    pub(super) fn new(prefix: &str) -> Keys {
        let prefix = prefix.into();
        Keys { prefix }
    }

    fn key(&self, rest: &str) -> Bytes {
        format!("{}{rest}", self.prefix).into()
    }

    pub(super) fn head(&self) -> Bytes {
        self.key("head")
    }

    /// The mark of a copy that is not finished.
    pub(super) fn copy(&self) -> Bytes {
        self.key("copy")
    }

    /// Where all keys begin and end.
    pub(super) fn everything(&self) -> (Bytes, Bytes) {
        let (begin, end) = (self.key(""), self.prefix.trim_end_matches('/'));
        // `0` follows on `/`.
        (begin, format!("{end}0").into())
    }

    pub(super) fn applied(&self) -> Bytes {
        self.key("applied")
    }

    /// The group of an id that ends with a revision, and is the position's.
    pub(super) fn group(&self, (revision, position): (u64, u64), group: &str) -> Bytes {
        self.key(&format!("groups/{revision:020}/{position:020}/{group}"))
    }

    /// The first group that ends with a revision, or behind it.
    pub(super) fn groups_from(&self, revision: u64) -> Bytes {
        self.key(&format!("groups/{revision:020}/"))
    }

    /// Behind all groups.
    pub(super) fn groups_end(&self) -> Bytes {
        self.key("groups0")
    }

    /// A piece of a group.
    pub(super) fn piece(
        &self,
        (revision, position): (u64, u64),
        group: &str,
        number: u32,
    ) -> Bytes {
        self.key(&format!(
            "pieces/{revision:020}/{position:020}/{group}/{number:06}"
        ))
    }

    /// Behind the pieces of a group.
    pub(super) fn pieces_end(&self, (revision, position): (u64, u64), group: &str) -> Bytes {
        self.key(&format!("pieces/{revision:020}/{position:020}/{group}0"))
    }

    /// The pieces of the first group that ends with a revision, or behind it.
    pub(super) fn pieces_from(&self, revision: u64) -> Bytes {
        self.key(&format!("pieces/{revision:020}/"))
    }

    /// The key of a thing.
    pub(super) fn thing(&self, thing: &Thing) -> Bytes {
        self.key(&match thing {
            Thing::Origin => "origin".to_owned(),
            Thing::Pool(name) => format!("pools/{name}"),
            Thing::Reservation(name) => format!("reservations/{name}"),
            Thing::Lease(id) => format!("leases/{id}"),
        })
    }

    /// The thing of a key, and the number of the piece of its value that is there.
    pub(super) fn thing_of(&self, key: &[u8]) -> Option<(Thing, u32)> {
        let key = std::str::from_utf8(key).ok()?;
        let mut parts = key.strip_prefix(&*self.prefix)?.split('/');
        let thing = match parts.next()? {
            "origin" => Thing::Origin,
            "pools" => Thing::Pool(parts.next()?.into()),
            "reservations" => Thing::Reservation(parts.next()?.into()),
            "leases" => Thing::Lease(parts.next()?.parse().ok()?),
            _ => return None,
        };
        let piece = parts.next().map_or(Some(0), |piece| piece.parse().ok())?;
        parts.next().is_none().then_some((thing, piece))
    }

    /// Where the keys of all things of a kind begin and end: `origin`, `pools`, `reservations`, `leases`.
    pub(super) fn all_of(&self, kind: &str) -> (Bytes, Bytes) {
        match kind {
            "origin" => (self.key("origin"), self.key("origin0")),
            kind => (self.key(&format!("{kind}/")), self.key(&format!("{kind}0"))),
        }
    }

    /// Puts the value of a thing, in pieces of at most `most` bytes.
    pub(super) fn put_thing(&self, thing: &Thing, value: &[u8], most: usize) -> Vec<RequestOp> {
        let key = self.thing(thing);
        let pieces = value.chunks(most.max(1)).enumerate();
        let puts = pieces.map(|(number, piece)| match number {
            0 => put(key.clone(), piece.to_vec().into()),
            number => put(piece_of(&key, number), piece.to_vec().into()),
        });
        puts.collect()
    }

    /// Deletes the value of a thing.
    pub(super) fn delete_thing(&self, thing: &Thing) -> Vec<RequestOp> {
        let key = self.thing(thing);
        let pieces = |sign: char| -> Bytes { [&key[..], &[sign as u8]].concat().into() };
        vec![
            delete(key.clone(), Bytes::new()),
            // `0` follows on `/`.
            delete(pieces('/'), pieces('0')),
        ]
    }
}

fn piece_of(key: &Bytes, number: usize) -> Bytes {
    [&key[..], format!("/{number:04}").as_bytes()]
        .concat()
        .into()
}

/// The key that follows on a key.
pub(super) fn behind(key: &Bytes) -> Bytes {
    [&key[..], &[0]].concat().into()
}

/// Writes a key.
pub(super) fn put(key: Bytes, value: Bytes) -> RequestOp {
    let put = PutRequest { key, value };
    RequestOp {
        request: Some(Request::RequestPut(put)),
    }
}

/// Deletes the keys from `key` on, below `range_end`; without it, `key` alone.
pub(super) fn delete(key: Bytes, range_end: Bytes) -> RequestOp {
    let delete = DeleteRangeRequest { key, range_end };
    RequestOp {
        request: Some(Request::RequestDeleteRange(delete)),
    }
}

/// Reads one key.
pub(super) fn get(key: Bytes) -> RequestOp {
    range(key, Bytes::new(), 0, 0)
}

/// Reads up to `limit` keys (0: all) as they were at a revision of etcd (0: now).
pub(super) fn range(key: Bytes, range_end: Bytes, limit: usize, revision: i64) -> RequestOp {
    let range = RangeRequest {
        key,
        range_end,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        revision,
    };
    RequestOp {
        request: Some(Request::RequestRange(range)),
    }
}

/// Whether a key has a value; none: whether it does not exist.
pub(super) fn has(key: Bytes, value: Option<Bytes>) -> Compare {
    let (target, union) = match value {
        Some(value) => (CompareTarget::Value, TargetUnion::Value(value)),
        None => (CompareTarget::Create, TargetUnion::CreateRevision(0)),
    };
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key,
        target_union: Some(union),
    }
}

/// Whether a key exists.
pub(super) fn exists(key: Bytes) -> Compare {
    Compare {
        result: CompareResult::Greater.into(),
        ..has(key, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_groups_is_the_order_of_keys() {
        let keys = Keys::new("/p/");
        let all = [
            keys.groups_from(0),
            keys.group((0, 1), "f"),
            keys.group((9, 2), "e"),
            keys.groups_from(10),
            keys.group((10, 3), "d"),
            keys.group((10, 4), "c"),
            behind(&keys.group((10, 4), "c")),
            keys.group((u64::MAX, u64::MAX), "a"),
            keys.groups_end(),
            keys.head(),
        ];
        assert!(all.is_sorted(), "{all:?}");
        let of = (7, 8);
        let pieces = [
            keys.pieces_from(7),
            keys.piece(of, "a", 0),
            keys.piece(of, "a", 10),
            keys.pieces_end(of, "a"),
            keys.pieces_from(8),
        ];
        assert!(pieces.is_sorted(), "{pieces:?}");
    }

    #[test]
    fn a_thing_is_found_by_its_key_and_a_long_value_goes_on_behind_it() {
        let keys = Keys::new("/p/");
        for thing in [
            Thing::Origin,
            Thing::Pool("blue-1.x".into()),
            Thing::Reservation("db-0".into()),
            Thing::Lease(LeaseId(7)),
        ] {
            assert_eq!(keys.thing_of(&keys.thing(&thing)), Some((thing.clone(), 0)));
            let puts = keys.put_thing(&thing, b"abcde", 2);
            let found = puts.into_iter().map(|op| match op.request {
                Some(Request::RequestPut(put)) => (keys.thing_of(&put.key), put.value),
                other => panic!("{other:?}"),
            });
            let found: Vec<_> = found.collect();
            let expected = [(0, "ab"), (1, "cd"), (2, "e")];
            let expected =
                expected.map(|(piece, text)| (Some((thing.clone(), piece)), text.into()));
            assert_eq!(found, expected);
        }
        for other in [
            "/p/head",
            "/p/groups/1/2",
            "/q/origin",
            "/p/leases/x",
            "/p/pools/a/b",
        ] {
            assert_eq!(keys.thing_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn deleting_a_thing_leaves_its_neighbours() {
        let keys = Keys::new("/p/");
        let deletes = keys.delete_thing(&Thing::Pool("blue".into()));
        let covers = |key: &Bytes| {
            deletes.iter().any(|op| match &op.request {
                Some(Request::RequestDeleteRange(range)) if range.range_end.is_empty() => {
                    range.key == *key
                }
                Some(Request::RequestDeleteRange(range)) => {
                    range.key <= *key && *key < range.range_end
                }
                other => panic!("{other:?}"),
            })
        };
        let pool = |name: &str| keys.thing(&Thing::Pool(name.into()));
        assert!(covers(&pool("blue")) && covers(&piece_of(&pool("blue"), 3)));
        for other in ["blue-1", "blue.x", "blue0", "blud", "bluf"] {
            assert!(!covers(&pool(other)), "{other}");
        }
    }
}
