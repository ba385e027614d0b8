//! AdminService.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::pin::Pin;

use futures_util::Stream;
use proto::ipam::v1::admin_service_server::AdminService;
use proto::ipam::v1::{self as ipam, export_item::Item};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::caller::{caller, is_operator};
use super::{Service, page_token};
use crate::allocator::draft::lease_of;
use crate::allocator::lookup::Question;
use crate::error::Error;
use crate::lease::{millis, timestamp};
use crate::ledger::Ledger;
use crate::page::{self, Page};
use crate::store::LeaseId;

/// Leases or events that are read at once.
const CHUNK: usize = 1000;
/// Items that one message of an import may have.
const ITEMS: usize = 1000;
/// Conflicts that are told.
const DETAILS: usize = 100;
/// Events that one page looks at, at most.
const LOOKED_AT: usize = 50_000;

type Items = Pin<Box<dyn Stream<Item = Result<ipam::ExportItem, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for Service {
    type ExportStream = Items;

    async fn export(
        &self,
        request: Request<ipam::ExportRequest>,
    ) -> Result<Response<Items>, Status> {
        let whole = match is_operator(&request) {
            true => Form::Backup,
            false => Form::Reading,
        };
        let caller = caller(&request);
        let service = self.clone();
        let (sender, receiver) = channel(CHUNK);
        // Ends with the stream: a send fails when nobody reads any more.
        tokio::spawn(async move {
            if let Err(error) = service.export_to(&caller, whole, &sender).await {
                // Nobody reads any more.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn import(
        &self,
        request: Request<Streaming<ipam::ImportRequest>>,
    ) -> Result<Response<ipam::ImportResponse>, Status> {
        let mut caller = caller(&request);
        // A long import is not a slow one: each message has the time of a request.
        caller.deadline = None;
        let mut messages = request.into_inner();
        let mut answer = ipam::ImportResponse::default();
        let mut validate_only = None;
        while let Some(message) = messages.message().await? {
            if message.items.len() > ITEMS {
                return Err(
                    Error::field("items", format!("are more than {ITEMS} in one message")).into(),
                );
            }
            let validate_only = *validate_only.get_or_insert(message.validate_only);
            let one = self
                .ledger
                .import(&caller, message.items, validate_only)
                .await?;
            answer.imported += one.imported;
            answer.unchanged += one.unchanged;
            answer.conflicts += one.conflicts;
            answer.conflict_details.extend(one.conflict_details);
            answer.conflict_details.truncate(DETAILS);
        }
        Ok(Response::new(answer))
    }

    async fn check_consistency(
        &self,
        _request: Request<ipam::CheckConsistencyRequest>,
    ) -> Result<Response<ipam::CheckConsistencyResponse>, Status> {
        Ok(Response::new(self.ledger.check_consistency().await?))
    }

    async fn list_events(
        &self,
        request: Request<ipam::ListEventsRequest>,
    ) -> Result<Response<ipam::ListEventsResponse>, Status> {
        Ok(Response::new(self.events(request.into_inner()).await?))
    }

    async fn reclaim_orphans(
        &self,
        request: Request<ipam::ReclaimOrphansRequest>,
    ) -> Result<Response<ipam::ReclaimOrphansResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(
            self.ledger
                .reclaim_orphans(&caller, request.into_inner())
                .await?,
        ))
    }

    async fn get_server(
        &self,
        request: Request<ipam::GetServerRequest>,
    ) -> Result<Response<ipam::Server>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.ledger.server(&caller).await?))
    }
}

/// What an export is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// To be imported.
    Backup,
    /// To be read: without what makes a backup of it.
    Reading,
}

impl Form {
    fn of(self, lease: ipam::Lease) -> ipam::Lease {
        match self {
            Form::Backup => lease,
            Form::Reading => ipam::Lease {
                id: String::new(),
                generation: 0,
                request_id: String::new(),
                ..lease
            },
        }
    }
}

impl Service {
    /// Everything as it was at the header's revision: what changed while it is read is put back from the history.
    async fn export_to(
        &self,
        caller: &crate::ledger::Caller,
        form: Form,
        sender: &Sender<Result<ipam::ExportItem, Status>>,
    ) -> Result<(), Error> {
        let summary = self.ledger.summary(caller).await?;
        let header = ipam::ExportHeader {
            format: 1,
            revision: summary.revision,
            time: Some(timestamp(jiff::Timestamp::now())),
            pools: summary.pools.len() as u64,
            reservations: summary.reservations.len() as u64,
            leases: summary.leases,
        };
        let pools: BTreeSet<String> = summary.pools.iter().map(|pool| pool.name.clone()).collect();
        let first = std::iter::once(Item::Header(header))
            .chain(summary.pools.into_iter().map(Item::Pool))
            .chain(summary.reservations.into_iter().map(Item::Reservation));
        for item in first {
            if send(sender, item).await.is_err() {
                return Ok(());
            }
        }
        let mut after = LeaseId(0);
        let mut changed = Changed {
            revision: summary.revision,
            before: BTreeMap::new(),
        };
        loop {
            let page = self
                .ledger
                .read(move |store| Ok(store.leases(after, CHUNK)?))
                .await?;
            let end = page.last().filter(|_| page.len() == CHUNK);
            let end = end
                .and_then(|lease| lease.id.parse().ok())
                .unwrap_or(LeaseId(u64::MAX));
            changed.catch_up(&self.ledger).await?;
            for lease in changed.put_back(page, after, end) {
                // What rests after its pool was deleted belongs to no pool of the export.
                if !pools.contains(&lease.pool) {
                    continue;
                }
                if send(sender, Item::Lease(form.of(lease))).await.is_err() {
                    return Ok(());
                }
            }
            if end == LeaseId(u64::MAX) {
                return Ok(());
            }
            after = end;
        }
    }

    async fn events(
        &self,
        request: ipam::ListEventsRequest,
    ) -> Result<ipam::ListEventsResponse, Error> {
        let binding = (
            &request.address,
            request.descending,
            format!(
                "{:?}{:?}{:?}",
                request.owner, request.start_time, request.end_time
            ),
        );
        let size = page::size(request.page_size)?;
        let question = question(&request)?;
        let from = request
            .start_time
            .as_ref()
            .map_or(i64::MIN, |time| millis(Some(time)));
        let to = request
            .end_time
            .as_ref()
            .map_or(i64::MAX, |time| millis(Some(time)));
        let begin = page_token::key(&request.page_token, &binding)?;
        if let (None, Some(start)) = (&begin, request.start_time) {
            self.check_kept(start).await?;
        }
        let mut cursor = match (&begin, request.start_time, request.end_time) {
            (Some(key), ..) => key.parse().map_err(|_| Error::BadToken)?,
            (None, _, Some(end)) if request.descending => {
                self.ledger.revision_before(end).await?.saturating_add(1)
            }
            (None, ..) if request.descending => u64::MAX,
            (None, Some(start), _) => self.ledger.revision_before(start).await?,
            (None, None, _) => self.ledger.oldest_revision().saturating_sub(1),
        };
        let mut page = Page::new(size);
        let mut looked_at = 0;
        loop {
            let chunk = if request.descending {
                self.ledger.events_back(cursor, CHUNK).await
            } else {
                self.ledger.events(cursor, CHUNK).await
            };
            let chunk = match chunk {
                // What was the oldest a moment ago is not kept any more; nothing is told of it yet.
                Err(Error::Compacted { oldest, .. }) if begin.is_none() && looked_at == 0 => {
                    cursor = oldest - 1;
                    continue;
                }
                chunk => chunk?,
            };
            let whole = chunk.len() == CHUNK;
            looked_at += chunk.len();
            for event in chunk {
                let at = millis(event.time.as_ref());
                let over = if request.descending {
                    at < from
                } else {
                    at >= to
                };
                if over {
                    return Ok(ipam::ListEventsResponse {
                        events: page.into_entries(),
                        next_page_token: String::new(),
                    });
                }
                let revision = event.revision;
                let is_wanted = (from..to).contains(&at) && concerns(&event, question.as_ref());
                if is_wanted && page.push(event).is_err() {
                    return Ok(ipam::ListEventsResponse {
                        events: page.into_entries(),
                        next_page_token: page_token::token(&cursor.to_string(), &binding),
                    });
                }
                cursor = revision;
            }
            if !whole || looked_at >= LOOKED_AT {
                let next_page_token = if whole {
                    page_token::token(&cursor.to_string(), &binding)
                } else {
                    String::new()
                };
                return Ok(ipam::ListEventsResponse {
                    events: page.into_entries(),
                    next_page_token,
                });
            }
        }
    }
}

impl Service {
    /// Refuses a time before what the history keeps: what was forgotten would be missing without a word.
    async fn check_kept(&self, start: pbjson_types::Timestamp) -> Result<(), Error> {
        let oldest = self.ledger.oldest_revision();
        let first = self.ledger.events_back(oldest.saturating_add(1), 1).await?;
        let kept = first.first().is_none_or(|event| {
            event.revision <= 1 || millis(event.time.as_ref()) <= millis(Some(&start))
        });
        if kept {
            return Ok(());
        }
        let start = jiff::Timestamp::new(start.seconds, start.nanos).unwrap_or_default();
        Err(Error::Compacted {
            wanted: format!("time {start}"),
            oldest,
        })
    }
}

/// Whether an event is about a lease that is asked for.
fn concerns(event: &ipam::Event, question: Option<&Question>) -> bool {
    question.is_none_or(|question| {
        [&event.before, &event.after]
            .into_iter()
            .filter_map(|subject| lease_of(subject.as_ref()))
            .any(|lease| question.matches(lease))
    })
}

/// Leases that changed since an export began, as they were then.
struct Changed {
    /// Up to which the history was read.
    revision: u64,
    before: BTreeMap<LeaseId, Option<ipam::Lease>>,
}

impl Changed {
    /// Reads the history as far as it goes by now: what is in a page is in it.
    async fn catch_up(&mut self, ledger: &Ledger) -> Result<(), Error> {
        loop {
            let from = self.revision;
            let events = ledger
                .read(move |store| Ok(store.events(from, CHUNK)?))
                .await?;
            let Some(last) = events.last() else {
                return Ok(());
            };
            if from + 1 < ledger.oldest_revision() {
                return Err(Error::Compacted {
                    wanted: format!("revision {from}"),
                    oldest: ledger.oldest_revision(),
                });
            }
            self.revision = last.revision;
            for event in events {
                let before = lease_of(event.before.as_ref());
                let lease = before.or(lease_of(event.after.as_ref()));
                if let Some(id) = lease.and_then(|lease| lease.id.parse().ok()) {
                    self.before.entry(id).or_insert_with(|| before.cloned());
                }
            }
        }
    }

    /// The leases above `after` and up to `end` as they were, of which `page` are there now.
    fn put_back(&self, page: Vec<ipam::Lease>, after: LeaseId, end: LeaseId) -> Vec<ipam::Lease> {
        let mut leases: BTreeMap<LeaseId, ipam::Lease> = page
            .into_iter()
            .filter_map(|lease| Some((lease.id.parse().ok()?, lease)))
            .collect();
        let range = (Bound::Excluded(after), Bound::Included(end));
        for (id, before) in self.before.range(range) {
            match before {
                Some(lease) => leases.insert(*id, lease.clone()),
                None => leases.remove(id),
            };
        }
        leases.into_values().collect()
    }
}

fn question(request: &ipam::ListEventsRequest) -> Result<Option<Question>, Error> {
    if request.address.is_empty() && request.owner.is_none() {
        return Ok(None);
    }
    let lookup = ipam::LookupRequest {
        address: request.address.clone(),
        owner: request.owner.clone(),
        ..Default::default()
    };
    Question::decode(&lookup).map(Some)
}

async fn send(sender: &Sender<Result<ipam::ExportItem, Status>>, item: Item) -> Result<(), ()> {
    sender
        .send(Ok(ipam::ExportItem { item: Some(item) }))
        .await
        .map_err(|_| ())
}
