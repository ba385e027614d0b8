//! Moving the mirror on by the groups that other servers appended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::etcd::etcdserverpb::response_op::Response;
use proto::etcd::etcdserverpb::{RequestOp, TxnRequest, TxnResponse};
use proto::etcd::mvccpb::KeyValue;
use tokio::time::Instant;

use super::head::{self, Head, SCHEMA, Schema};
use super::keys::{behind, get, range};
use super::mirror::Mirror;
use super::record::{Left, Record};
use super::{Group, Shared, StoreError};

/// Groups, and pieces of a group, that are read at once.
const PAGE: usize = 64;
/// How long reading so many pieces may take.
const PIECES_LIMIT: Duration = Duration::from_secs(10);

/// What is new behind the mirror.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The head, if the log has one.
    head: Option<Bytes>,
    /// Groups behind the mirror's last one.
    pub(super) groups: Vec<KeyValue>,
    /// There are more.
    is_cut: bool,
}

impl News {
    /// The news in the answer to [`Shared::read_news`].
    pub(super) fn of(answer: TxnResponse) -> News {
        let mut ranges = ranges(answer).into_iter();
        let head = ranges.next().and_then(|(mut kvs, _)| kvs.pop());
        let (groups, is_cut) = ranges.next().unwrap_or_default();
        News {
            head: head.map(|kv| kv.value),
            groups,
            is_cut,
        }
    }

    /// Whether a group is among them.
    pub(super) fn has(&self, key: &Bytes) -> bool {
        self.groups.iter().any(|kv| kv.key == *key)
    }
}

/// What each range of a transaction has found, and whether a limit has cut keys off.
pub(super) fn ranges(answer: TxnResponse) -> Vec<(Vec<KeyValue>, bool)> {
    let ranges = answer
        .responses
        .into_iter()
        .filter_map(|op| match op.response {
            Some(Response::ResponseRange(range)) => Some((range.kvs, range.more)),
            _ => None,
        });
    ranges.collect()
}

impl Shared {
    /// Reads the head, and the groups behind the mirror's last one.
    pub(super) fn read_news(&self, mirror: &Mirror) -> Vec<RequestOp> {
        let at = (mirror.revision, mirror.position);
        let last = self.keys.group(at, &mirror.group);
        vec![
            get(self.keys.head()),
            range(behind(&last), self.keys.groups_end(), PAGE, 0),
        ]
    }

    /// Moves the mirror on to where the log ends when this is called, or later.
    pub(super) async fn follow(&self, until: Instant) -> Result<(), StoreError> {
        let request = TxnRequest {
            success: self.read_news(&self.mirror()),
            ..TxnRequest::default()
        };
        let answer = self.client.txn(&request, until).await;
        let answer = answer.map_err(|failure| self.error(failure))?;
        self.take_in(News::of(answer), until).await
    }

    /// Moves the mirror on to where the log ends, by news and what is behind them.
    pub(super) async fn take_in(&self, news: News, until: Instant) -> Result<(), StoreError> {
        let mut news = news;
        loop {
            if let Some(head) = &news.head {
                self.check_schema(head)?;
            }
            let is_cut = news.is_cut;
            let groups = std::mem::take(&mut news.groups);
            for kv in groups {
                let record = self.whole_record(&kv, 0).await?;
                if !self.mirror().is_next(&record) {
                    return self.reload("a group is missing").await;
                }
                let (group, left) = self.group_of(&kv.key, &record)?;
                self.mirror_mut().apply(&record, Arc::new(group), left);
            }
            if !is_cut {
                return self.arrive(news.head).await;
            }
            let request = TxnRequest {
                success: self.read_news(&self.mirror()),
                ..TxnRequest::default()
            };
            let answer = self.client.txn(&request, until).await;
            news = News::of(answer.map_err(|failure| self.error(failure))?);
        }
    }

    /// Takes note of the head, which is the mirror's; else the mirror is of another log.
    async fn arrive(&self, value: Option<Bytes>) -> Result<(), StoreError> {
        let Some(value) = value else {
            let is_new = self.mirror().head.is_none();
            return match is_new {
                true => Ok(()),
                false => self.reload("the head is gone").await,
            };
        };
        let head: Head = self.decode_head(&value)?;
        {
            let mut mirror = self.mirror_mut();
            if head.position == mirror.position && head.group == mirror.group {
                mirror.oldest_revision = head.oldest_revision;
                mirror.head = Some((head, value));
                return Ok(());
            }
        }
        self.reload("the log ends elsewhere").await
    }

    /// Forgets what is remembered and loads everything: the log is not the one that was seen before, or this server was away
    /// so long that the groups it missed are trimmed.
    async fn reload(&self, why: &str) -> Result<(), StoreError> {
        tracing::warn!(store = &*self.name, why, "everything is loaded anew");
        let loaded = self.load().await?;
        *self.mirror_mut() = loaded;
        self.is_reloaded.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn check_schema(&self, head: &Bytes) -> Result<(), StoreError> {
        match head::decode::<Schema>(head) {
            Ok(Schema { schema }) if schema > SCHEMA => Err(StoreError::NewerSchema {
                store: self.name.clone(),
                found: schema,
                known: SCHEMA,
            }),
            Ok(_) => Ok(()),
            Err(error) => Err(self.corrupt(format!("head: {error}"))),
        }
    }

    pub(super) fn decode_head(&self, value: &Bytes) -> Result<Head, StoreError> {
        self.check_schema(value)?;
        head::decode(value).map_err(|error| self.corrupt(format!("head: {error}")))
    }

    /// The record of a key with its content, as it was at a revision of etcd (0: now).
    pub(super) async fn whole_record(
        &self,
        kv: &KeyValue,
        revision: i64,
    ) -> Result<Record, StoreError> {
        let mut record = Record::decode(&kv.value[..])
            .map_err(|error| self.corrupt(format!("{}: {error}", shown(&kv.key))))?;
        if record.pieces == 0 {
            return Ok(record);
        }
        let of = (record.revision, record.position);
        let mut from = self.keys.piece(of, &record.id, 0);
        let end = self.keys.pieces_end(of, &record.id);
        let (mut content, mut found) = (Vec::new(), 0);
        loop {
            let request = TxnRequest {
                success: vec![range(from, end.clone(), PAGE, revision)],
                ..TxnRequest::default()
            };
            let until = Instant::now() + PIECES_LIMIT;
            let answer = self.client.txn(&request, until).await;
            let answer = answer.map_err(|failure| self.error(failure))?;
            let (kvs, is_cut) = ranges(answer).pop().unwrap_or_default();
            found += kvs.len();
            for kv in &kvs {
                content.extend_from_slice(&kv.value);
            }
            match kvs.last().filter(|_| is_cut) {
                Some(kv) => from = behind(&kv.key),
                None => break,
            }
        }
        if found != record.pieces as usize {
            let (key, all) = (shown(&kv.key), record.pieces);
            return Err(self.corrupt(format!("{key}: {found} of {all} pieces are there")));
        }
        record.content = content.into();
        Ok(record)
    }

    /// The group of a record, and what its events leave.
    pub(super) fn group_of(
        &self,
        key: &Bytes,
        record: &Record,
    ) -> Result<(Group, Left), StoreError> {
        let group = record.group();
        group.map_err(|what| self.corrupt(format!("{}: {what}", shown(key))))
    }
}

/// A key, for people.
pub(super) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
