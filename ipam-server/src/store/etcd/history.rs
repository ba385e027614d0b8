//! The history: the events of the kept groups. Revisions have no gaps, so a part of the history is found by the revisions at
//! its ends, from the front and from the back alike.

use std::time::Duration;

use ipam_core::event::Event;
use proto::etcd::etcdserverpb::TxnRequest;
use tokio::time::Instant;

use super::follow::ranges;
use super::keys::{behind, range};
use super::{Shared, StoreError};

/// How long reading a part of the history may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Groups of the first page, and of the longest one: nobody knows how long they are.
const FIRST_PAGE: usize = 8;
const LONGEST_PAGE: usize = 512;

impl Shared {
    /// Up to `limit` events with a revision above `after`, up to the mirror's revision.
    pub(super) async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let (last, after) = {
            let mirror = self.mirror();
            let after = after.max(mirror.oldest_revision.saturating_sub(1));
            if let Some(events) = mirror.events_behind(after, limit) {
                return Ok(events);
            }
            (mirror.revision, after)
        };
        let limit = usize::try_from(last.saturating_sub(after)).map_or(limit, |all| limit.min(all));
        let until = Instant::now() + LIMIT;
        let mut events = Vec::new();
        let mut from = self.keys.groups_from(after.saturating_add(1));
        let mut page = FIRST_PAGE;
        while events.len() < limit {
            let request = TxnRequest {
                success: vec![range(from, self.keys.groups_end(), page, 0)],
                ..TxnRequest::default()
            };
            let answer = self.client.txn(&request, until).await;
            let answer = answer.map_err(|failure| self.error(failure))?;
            let (kvs, is_cut) = ranges(answer).pop().unwrap_or_default();
            for kv in &kvs {
                let record = self.whole_record(kv, 0).await?;
                let (group, _) = self.group_of(&kv.key, &record)?;
                let wanted = group.events.into_iter();
                let wanted = wanted.filter(|event| event.revision > after);
                events.extend(wanted.take(limit - events.len()));
            }
            match kvs.last().filter(|_| is_cut) {
                Some(kv) => from = behind(&kv.key),
                None => break,
            }
            page = LONGEST_PAGE.min(page * 4);
        }
        Ok(events)
    }

    /// Up to `limit` events with a revision below `before`, newest first.
    pub(super) async fn events_back(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let (end, oldest) = {
            let mirror = self.mirror();
            (before.min(mirror.revision + 1), mirror.oldest_revision)
        };
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let first = end.saturating_sub(limit).max(oldest);
        let count = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut events = self.events(first.saturating_sub(1), count).await?;
        events.reverse();
        Ok(events)
    }
}
