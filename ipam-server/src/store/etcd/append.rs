//! Appending a group, and settling what became of one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::etcd::etcdserverpb::TxnRequest;
use tokio::time::{Instant, sleep};

use super::failure::Failure;
use super::follow::News;
use super::head::{self, Head, SCHEMA};
use super::keys::{has, put};
use super::record::Record;
use super::{Append, Group, Position, Shared, StoreError};

/// How long an append may take, and each piece of it that is written before: the choice of another leader takes 1 to 2 s.
const APPEND_LIMIT: Duration = Duration::from_secs(6);
/// How long the question may take whether the log ends where this server saw it.
const READ_LIMIT: Duration = Duration::from_secs(3);
/// How long a trial may take whether writing works again.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);
/// How often the head is overtaken by others while it is written without a group.
const SETTLE_ATTEMPTS: usize = 5;

impl Shared {
    /// See [`super::Log::append`].
    pub(super) async fn append(&self, at: Position, group: &Group) -> Result<Append, StoreError> {
        if let Some(behind) = self.behind(at) {
            return Ok(behind);
        }
        if group.is_empty() {
            self.follow(Instant::now() + READ_LIMIT).await?;
            return Ok(self.behind(at).unwrap_or(Append::Appended(at)));
        }
        let began = std::time::Instant::now();
        if self.commit(group).await? {
            self.appended.notify_one();
            let now = std::time::Instant::now();
            self.pace().won(now, now - began);
            return Ok(Append::Appended(Position(at.0 + 1)));
        }
        self.pace().lost(std::time::Instant::now());
        // The head was written anew without a group: the same is decided again.
        let none_missed = || Append::Behind(Vec::new(), at);
        Ok(self.behind(at).unwrap_or_else(none_missed))
    }

    /// See [`super::Log::await_turn`].
    pub(super) async fn await_turn(&self, at: Position) -> Append {
        let pause = self.pace().pause(std::time::Instant::now());
        if let Some(pause) = pause {
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            // What the others have appended meanwhile. A failure meets the append as well, which reports it.
            let _met_again = self.follow(Instant::now() + READ_LIMIT).await;
        }
        self.behind(at).unwrap_or(Append::Appended(at))
    }

    /// What a ledger has missed, if the mirror is not at its position.
    fn behind(&self, at: Position) -> Option<Append> {
        if self.is_reloaded.swap(false, Ordering::Relaxed) {
            return Some(Append::Compacted);
        }
        let mirror = self.mirror();
        if mirror.position == at.0 {
            return None;
        }
        let groups = mirror.groups_behind(at.0);
        Some(groups.map_or(Append::Compacted, |groups| {
            Append::Behind(groups, Position(mirror.position))
        }))
    }

    /// Appends a group behind the mirror; whether it is in the log then. The same transaction may be sent more than once, and
    /// takes effect at most once: it changes the head that it is conditioned on. If it has no effect, the log itself says
    /// whether an earlier sending had.
    async fn commit(&self, group: &Group) -> Result<bool, StoreError> {
        let (record, left) = Record::of(group);
        let (head, record, old) = self.place(group, record);
        let at = (record.revision, record.position);
        let key = self.keys.group(at, &record.id);
        let new = head::encode(&head);
        loop {
            let most = self.value_bytes.load(Ordering::Relaxed);
            let sent = async {
                let value = self.write_pieces(&record, most).await?;
                let request = TxnRequest {
                    compare: vec![has(self.keys.head(), old.clone())],
                    success: vec![put(self.keys.head(), new.clone()), put(key.clone(), value)],
                    failure: self.read_news(&self.mirror()),
                };
                self.client
                    .txn(&request, Instant::now() + APPEND_LIMIT)
                    .await
            };
            let answer = match sent.await {
                Ok(answer) => answer,
                Err(Failure::TooLarge) if self.shorten_values(most) => continue,
                Err(failure) => return Err(self.error(failure)),
            };
            if answer.succeeded {
                let mut mirror = self.mirror_mut();
                mirror.apply(&record, Arc::new(group.clone()), left);
                mirror.head = Some((head, new));
                return Ok(true);
            }
            let news = News::of(answer);
            let is_mine_in = news.has(&key);
            self.take_in(news, Instant::now() + READ_LIMIT).await?;
            return Ok(is_mine_in);
        }
    }

    /// Gives a group's record its place behind the mirror: the head with it, and the head that it is conditioned on.
    fn place(&self, group: &Group, record: Record) -> (Head, Record, Option<Bytes>) {
        let mut record = record;
        let mirror = self.mirror();
        let last = group.events.last();
        record.id = head::mark();
        record.previous = mirror.group.clone();
        record.position = mirror.position + 1;
        record.revision = last.map_or(mirror.revision, |event| event.revision);
        let forgotten = group.forget_events_to;
        let oldest = forgotten.map_or(0, |to| to.saturating_add(1));
        let head = Head {
            schema: SCHEMA,
            position: record.position,
            revision: record.revision,
            oldest_revision: mirror.oldest_revision.max(oldest),
            group: record.id.clone(),
            mark: head::mark(),
        };
        let old = mirror.head.as_ref().map(|(_, value)| value.clone());
        (head, record, old)
    }

    /// The value of a record. What is too long for a value is written in pieces before; nobody reads them until the record is
    /// in the log, and trimming deletes those that nobody will.
    async fn write_pieces(&self, record: &Record, most: usize) -> Result<Bytes, Failure> {
        if record.content.len() <= most {
            return Ok(record.encode_to_vec().into());
        }
        let of = (record.revision, record.position);
        let mut pieces = 0;
        for number in 0.. {
            let begin = number as usize * most;
            if begin >= record.content.len() {
                break;
            }
            let end = record.content.len().min(begin + most);
            let key = self.keys.piece(of, &record.id, number);
            let request = TxnRequest {
                success: vec![put(key, record.content.slice(begin..end))],
                ..TxnRequest::default()
            };
            self.client
                .txn(&request, Instant::now() + APPEND_LIMIT)
                .await?;
            pieces = number + 1;
        }
        let record = Record {
            content: Bytes::new(),
            pieces,
            ..record.clone()
        };
        Ok(record.encode_to_vec().into())
    }

    /// Writes the head anew, without a group: an append whose outcome is unknown was conditioned on the value before, so
    /// it is in the log now or never will be; and writing works.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let until = Instant::now() + SETTLE_LIMIT;
        for _ in 0..SETTLE_ATTEMPTS {
            let (head, old) = {
                let mirror = self.mirror();
                let head = Head {
                    schema: SCHEMA,
                    position: mirror.position,
                    revision: mirror.revision,
                    oldest_revision: mirror.oldest_revision,
                    group: mirror.group.clone(),
                    mark: head::mark(),
                };
                let old = mirror.head.as_ref();
                (head, old.map(|(_, value)| value.clone()))
            };
            let new = head::encode(&head);
            let request = TxnRequest {
                compare: vec![has(self.keys.head(), old)],
                success: vec![put(self.keys.head(), new.clone())],
                failure: self.read_news(&self.mirror()),
            };
            let answer = self.client.txn(&request, until).await;
            let answer = answer.map_err(|failure| self.error(failure))?;
            if answer.succeeded {
                self.mirror_mut().head = Some((head, new));
                return Ok(());
            }
            self.take_in(News::of(answer), until).await?;
        }
        // Others write, and the head is another one than before.
        Ok(())
    }
}
