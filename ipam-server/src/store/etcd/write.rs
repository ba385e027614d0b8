//! Writing the keys of things behind the log, and trimming the log. It may be done at any time by any server: every
//! transaction is conditioned on `applied` as the server before it left it, and changes it. So the transactions of two servers
//! never mix, and a server that was interrupted leaves nothing that `load` cannot read. And it is conditioned on the last group
//! that is written: after etcd was restored from a snapshot, a server that does not know it yet must not write what is lost.
//!
//! As long as there is something to write, one server writes what all of them append, and the others stand back: a server that is
//! interrupted has written for nothing, since the next one begins anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use proto::etcd::etcdserverpb::request_op::Request;
use proto::etcd::etcdserverpb::{RequestOp, TxnRequest};
use tokio::time::{Instant, sleep, timeout};

use super::failure::Failure;
use super::follow::ranges;
use super::head::{self, Applied};
use super::keys::{Thing, delete, exists, get, has, put};
use super::{Shared, StoreError, value};

/// How long after an append its server writes the keys: changes that follow at once are written with it.
const DELAY: Duration = Duration::from_millis(300);
/// When a server writes what another one has appended and not written.
const OTHERS_DELAY: Duration = Duration::from_secs(5);
/// How long one transaction may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause after a failure, and how long no other server may have written before this one writes: longer than `DELAY` and a
/// transaction.
const PAUSE: Duration = Duration::from_secs(2);

/// What became of a pass.
enum Pass {
    /// Everything is written.
    Done,
    /// Another server has written since this one saw `applied`, and may go on.
    StoodBack,
}

/// What is written: everything up to a group.
struct Target {
    /// The key of that group.
    key: Bytes,
    /// The value of `applied` then.
    applied: Applied,
    /// Events before this one are not kept.
    oldest_revision: u64,
    things: Vec<Thing>,
}

/// Operations of one transaction.
struct Chunk {
    operations: Vec<RequestOp>,
    bytes: usize,
    /// Things before this one are written with it.
    end: usize,
    /// Operations of the thing `end` that are in it.
    part: usize,
}

impl Shared {
    /// Writes until the store is closed.
    pub(super) async fn keep_writing(self: Arc<Shared>) {
        let mut seen = None;
        loop {
            let others = OTHERS_DELAY.mul_f64(1.0 + fastrand::f64());
            if timeout(others, self.appended.notified()).await.is_ok() {
                sleep(DELAY).await;
            }
            loop {
                match self.write_things(&mut seen).await {
                    Ok(Pass::Done) => break,
                    Ok(Pass::StoodBack) => {}
                    Err(error) => tracing::debug!(%error, "the keys of leases are not written"),
                }
                sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
            }
        }
    }

    /// Writes what changed since `applied`, unless another server does. `seen` is `applied` as this server wrote or saw it last.
    async fn write_things(&self, seen: &mut Option<Bytes>) -> Result<Pass, StoreError> {
        if self.mirror().unwritten.is_empty() {
            return Ok(Pass::Done);
        }
        let read = vec![get(self.keys.applied())];
        let request = TxnRequest {
            success: read.clone(),
            ..TxnRequest::default()
        };
        let answer = self.client.txn(&request, Instant::now() + LIMIT).await;
        let answer = answer.map_err(|failure| self.error(failure))?;
        let found = ranges(answer).pop().and_then(|(mut kvs, _)| kvs.pop());
        let found = found.map(|kv| kv.value);
        let applied: Applied = match &found {
            Some(value) => {
                head::decode(value).map_err(|error| self.corrupt(format!("applied: {error}")))?
            }
            None => Applied::default(),
        };
        let Some(target) = self.target(&applied) else {
            return Ok(Pass::Done);
        };
        if *seen != found {
            *seen = found;
            return Ok(Pass::StoodBack);
        }
        let (mut begin, mut part) = (0, 0);
        loop {
            let most = self.value_bytes.load(Ordering::Relaxed);
            let limit = self.operations.load(Ordering::Relaxed);
            let mut chunk = self.chunk(&target, (begin, part), most, limit)?;
            let is_last = chunk.end == target.things.len();
            let sent = chunk.operations.len();
            let next = match is_last {
                true => target.applied.clone(),
                false => applied.clone(),
            };
            let new = head::encode(&Applied {
                mark: head::mark(),
                ..next
            });
            chunk.operations.push(put(self.keys.applied(), new.clone()));
            let request = TxnRequest {
                compare: vec![
                    has(self.keys.applied(), seen.clone()),
                    exists(target.key.clone()),
                ],
                success: chunk.operations,
                failure: read.clone(),
            };
            match self.client.txn(&request, Instant::now() + LIMIT).await {
                Ok(answer) if !answer.succeeded => {
                    let found = ranges(answer).pop().and_then(|(mut kvs, _)| kvs.pop());
                    let found = found.map(|kv| kv.value);
                    if found.as_ref() != Some(&new) {
                        // Another server writes, or the log is another one.
                        *seen = found;
                        return Ok(Pass::StoodBack);
                    }
                    // An earlier sending of this transaction had its effect.
                }
                Ok(_) => {}
                Err(Failure::TooManyOps) if limit > 1 && sent > 1 => {
                    self.operations.fetch_min(limit / 2, Ordering::Relaxed);
                    continue;
                }
                Err(Failure::TooLarge) if self.shorten_values(most.min(chunk.bytes)) => {
                    // The pieces of a long value are others then.
                    part = 0;
                    continue;
                }
                Err(failure) => return Err(self.error(failure)),
            }
            *seen = Some(new.clone());
            if is_last {
                self.mirror_mut().written(target.applied.position);
                self.trim(&target, new).await?;
                return Ok(Pass::Done);
            }
            (begin, part) = (chunk.end, chunk.part);
        }
    }

    /// What is to be written behind `applied`; none: nothing.
    fn target(&self, applied: &Applied) -> Option<Target> {
        let mut mirror = self.mirror_mut();
        mirror.written(applied.position);
        if mirror.position <= applied.position {
            return None;
        }
        let at = (mirror.revision, mirror.position);
        Some(Target {
            key: self.keys.group(at, &mirror.group),
            applied: Applied {
                position: mirror.position,
                revision: mirror.revision,
                group: mirror.group.clone(),
                mark: String::new(),
            },
            oldest_revision: mirror.oldest_revision,
            things: mirror.unwritten.keys().cloned().collect(),
        })
    }

    /// The operations of the next transaction, from the operation `part` of the thing `begin` on. A thing is written as it is
    /// now, which may be later than the target.
    fn chunk(
        &self,
        target: &Target,
        (begin, part): (usize, usize),
        most: usize,
        limit: usize,
    ) -> Result<Chunk, StoreError> {
        let mirror = self.mirror();
        let mut chunk = Chunk {
            operations: Vec::new(),
            bytes: 0,
            end: begin,
            part,
        };
        for thing in target.things.iter().skip(begin) {
            let value = value::encode(&mirror, thing);
            let operations = match value.map_err(|what| self.corrupt(what))? {
                Some(value) => self.keys.put_thing(thing, &value, most),
                None => self.keys.delete_thing(thing),
            };
            for operation in operations.into_iter().skip(chunk.part) {
                let bytes = length(&operation);
                let is_full = chunk.operations.len() >= limit || chunk.bytes + bytes > most;
                if is_full && !chunk.operations.is_empty() {
                    return Ok(chunk);
                }
                chunk.operations.push(operation);
                chunk.bytes += bytes;
                chunk.part += 1;
            }
            chunk.end += 1;
            chunk.part = 0;
        }
        Ok(chunk)
    }

    /// Deletes the groups whose events are not kept any more. A group that ends before the revision of `applied` is written.
    async fn trim(&self, target: &Target, applied: Bytes) -> Result<(), StoreError> {
        let bound = target.oldest_revision.min(target.applied.revision);
        if bound <= self.trimmed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let keys = &self.keys;
        let request = TxnRequest {
            compare: vec![has(keys.applied(), Some(applied))],
            success: vec![
                delete(keys.groups_from(0), keys.groups_from(bound)),
                delete(keys.pieces_from(0), keys.pieces_from(bound)),
            ],
            ..TxnRequest::default()
        };
        let answer = self.client.txn(&request, Instant::now() + LIMIT).await;
        if answer.map_err(|failure| self.error(failure))?.succeeded {
            self.trimmed.fetch_max(bound, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The bytes of an operation, about.
fn length(operation: &RequestOp) -> usize {
    let bytes = |some: &[&Bytes]| some.iter().map(|bytes| bytes.len()).sum::<usize>();
    match &operation.request {
        Some(Request::RequestPut(put)) => bytes(&[&put.key, &put.value]),
        Some(Request::RequestDeleteRange(delete)) => bytes(&[&delete.key, &delete.range_end]),
        Some(Request::RequestRange(_)) | None => 0,
    }
}
