//! Loading: the keys of things as they were at one revision of etcd, and the groups behind those that they are written up to.
//!
//! Keys may be written further than `applied` says, and a long value may be half of one group and half of another. It does not
//! matter: whatever is written behind `applied` is about things of the groups behind it, which are applied here in their
//! order, and the last group about a thing says how it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::etcd::etcdserverpb::TxnRequest;
use proto::etcd::mvccpb::KeyValue;
use tokio::time::Instant;

use super::failure::Failure;
use super::follow::{ranges, shown};
use super::head::{self, Applied, Head};
use super::keys::{Thing, behind, get, range};
use super::mirror::Mirror;
use super::value::{self, Value};
use super::{Shared, StoreError};

/// How long reading one page may take.
const PAGE_LIMIT: Duration = Duration::from_secs(10);
/// Things that are read at once.
const THINGS: usize = 2_000;
/// Groups that are read at once.
const GROUPS: usize = 128;
/// How often loading begins anew because etcd has compacted the revision that is read.
const ATTEMPTS: usize = 5;
/// The kinds of things, as their keys begin.
const KINDS: [&str; 4] = ["origin", "pools", "reservations", "leases"];

/// Why a page is not read.
enum Unread {
    /// What is read is compacted: loading begins anew.
    Compacted,
    Failed(StoreError),
}

impl Shared {
    /// Loads everything.
    pub(super) async fn load(&self) -> Result<Mirror, StoreError> {
        for _ in 0..ATTEMPTS {
            match self.load_once().await {
                Ok(mirror) => return Ok(mirror),
                Err(Unread::Failed(error)) => return Err(error),
                Err(Unread::Compacted) => {
                    tracing::warn!("etcd compacted what was being loaded; loading begins anew");
                }
            }
        }
        Err(self.error(Failure::Compacted))
    }

    async fn load_once(&self) -> Result<Mirror, Unread> {
        let mut mirror = Mirror::new();
        let request = TxnRequest {
            success: vec![get(self.keys.head()), get(self.keys.applied())],
            ..TxnRequest::default()
        };
        let answer = self
            .client
            .txn(&request, Instant::now() + PAGE_LIMIT)
            .await
            .map_err(|failure| Unread::Failed(self.error(failure)))?;
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let mut found = ranges(answer).into_iter().map(|(mut kvs, _)| kvs.pop());
        let (head, applied) = (found.next().flatten(), found.next().flatten());
        let Some(head_value) = head.map(|kv| kv.value) else {
            return Ok(mirror);
        };
        let head = self.decode_head(&head_value).map_err(Unread::Failed)?;
        if let Some(kv) = applied {
            let applied: Applied = head::decode(&kv.value)
                .map_err(|error| self.unread(format!("applied: {error}")))?;
            mirror.position = applied.position;
            mirror.revision = applied.revision;
            mirror.group = applied.group;
        }
        let half_written = self.load_things(&mut mirror, revision).await?;
        self.load_groups(&mut mirror, revision).await?;
        if let Some((thing, what)) = half_written
            .iter()
            .find(|(thing, _)| !mirror.unwritten.contains_key(thing))
        {
            let key = self.keys.thing(thing);
            return Err(self.unread(format!("{}: {what}", shown(&key))));
        }
        self.check_end(&mirror, &head)?;
        mirror.oldest_revision = head.oldest_revision;
        mirror.head = Some((head, head_value));
        Ok(mirror)
    }

    fn check_end(&self, mirror: &Mirror, head: &Head) -> Result<(), Unread> {
        match mirror.position == head.position && mirror.group == head.group {
            true => Ok(()),
            false => Err(self.unread(format!(
                "the head is at group {}, and the groups end at {}",
                head.position, mirror.position
            ))),
        }
    }

    /// Loads the keys of things. Returns those that cannot be read, and why.
    async fn load_things(
        &self,
        mirror: &mut Mirror,
        revision: i64,
    ) -> Result<BTreeMap<Thing, String>, Unread> {
        let mut unreadable = BTreeMap::new();
        for kind in KINDS {
            let (mut from, end) = self.keys.all_of(kind);
            // Long values, whose first piece alone is not whole.
            let mut pieces: BTreeMap<Thing, Vec<u8>> = BTreeMap::new();
            loop {
                let (kvs, is_cut) = self.page(from, &end, THINGS, revision).await?;
                from = kvs.last().map_or(Bytes::new(), |kv| behind(&kv.key));
                for kv in kvs {
                    let Some((thing, piece)) = self.keys.thing_of(&kv.key) else {
                        return Err(self.unread(format!("{} is no key of it", shown(&kv.key))));
                    };
                    match pieces.get_mut(&thing) {
                        // A whole value; what is behind it is left of a longer one.
                        None if piece > 0 => {}
                        Some(before) => before.extend_from_slice(&kv.value),
                        None => {
                            if let Ok(value) = value::decode(&thing, &kv.value) {
                                put(mirror, value);
                            } else {
                                pieces.insert(thing, kv.value.to_vec());
                            }
                            continue;
                        }
                    }
                    if let Some(whole) = pieces.get(&thing)
                        && let Ok(value) = value::decode(&thing, whole)
                    {
                        put(mirror, value);
                        pieces.remove(&thing);
                    }
                }
                if !is_cut {
                    break;
                }
            }
            for (thing, value) in pieces {
                if let Err(what) = value::decode(&thing, &value) {
                    unreadable.insert(thing, what);
                }
            }
        }
        Ok(unreadable)
    }

    /// Applies the groups behind the mirror.
    async fn load_groups(&self, mirror: &mut Mirror, revision: i64) -> Result<(), Unread> {
        let mut from = match mirror.position {
            0 => self.keys.groups_from(0),
            position => behind(&self.keys.group((mirror.revision, position), &mirror.group)),
        };
        loop {
            let (kvs, is_cut) = self
                .page(from, &self.keys.groups_end(), GROUPS, revision)
                .await?;
            from = kvs.last().map_or(Bytes::new(), |kv| behind(&kv.key));
            for kv in &kvs {
                let record = self.whole_record(kv, revision).await;
                let record = record.map_err(Unread::Failed)?;
                if !mirror.is_next(&record) {
                    let key = shown(&kv.key);
                    return Err(self.unread(format!("{key} does not follow on the group before")));
                }
                let decoded = self.group_of(&kv.key, &record);
                let (group, left) = decoded.map_err(Unread::Failed)?;
                mirror.apply(&record, Arc::new(group), left);
            }
            if !is_cut {
                return Ok(());
            }
        }
    }

    /// Reads up to `limit` keys; whether there are more.
    async fn page(
        &self,
        from: Bytes,
        end: &Bytes,
        limit: usize,
        revision: i64,
    ) -> Result<(Vec<KeyValue>, bool), Unread> {
        let request = TxnRequest {
            success: vec![range(from, end.clone(), limit, revision)],
            ..TxnRequest::default()
        };
        match self.client.txn(&request, Instant::now() + PAGE_LIMIT).await {
            Ok(answer) => Ok(ranges(answer).pop().unwrap_or_default()),
            Err(Failure::Compacted) => Err(Unread::Compacted),
            Err(failure) => Err(Unread::Failed(self.error(failure))),
        }
    }

    fn unread(&self, what: String) -> Unread {
        Unread::Failed(self.corrupt(what))
    }
}

/// Puts a thing as its key has it.
fn put(mirror: &mut Mirror, value: Value) {
    match value {
        Value::Origin(origin) => mirror.origin = Some(origin),
        Value::Pool(pool) => {
            mirror.pools.insert(pool.name.clone(), Arc::new(*pool));
        }
        Value::Reservation(reservation) => {
            let name = reservation.name.clone();
            mirror.reservations.insert(name, Arc::new(reservation));
        }
        Value::Lease(lease) => mirror.put_lease(&lease),
    }
}
