//! Watch: a cursor into the history. The history itself is the buffer, so a watcher holds nobody up; one that
//! falls behind what is kept gets COMPACTED.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::Stream;
use ipam_core::event::Event;
use ipam_core::lease::{Lease, LeaseId};
use proto::ipam::v1::{self as ipam, EventType, subject, watch_response::Message};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Service;
use super::filter::Filter;
use super::leases::lease_filter;
use crate::error::Error;
use crate::ledger::Caller;
use crate::wire::{event, lease};

/// Events that are read at once.
const PAGE: usize = 500;
/// Messages that wait for a slow watcher; the rest waits in the history.
const AHEAD: usize = 64;
/// How often a watcher without changes gets a bookmark.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// The stream of one watcher.
pub(super) type Changes = Pin<Box<dyn Stream<Item = Result<ipam::WatchResponse, Status>> + Send>>;

/// Counts a watcher as long as it lives.
struct Counted(Arc<AtomicI64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The watcher has gone.
struct Gone;

/// What a watcher sees: what it asks for, of what it reaches.
struct Seen {
    filter: Filter,
    caller: Caller,
}

impl Seen {
    fn lease(&self, lease: &Lease) -> bool {
        self.caller.reaches(lease) && self.filter.lease(lease)
    }

    /// A change of a pool or a reservation is no change of a lease that a node reaches.
    fn event(&self, event: &Event) -> bool {
        let sees_all = self.filter.is_empty() && self.caller.node.is_none();
        sees_all || event.leases().any(|lease| self.lease(lease))
    }
}

impl Service {
    pub(super) async fn changes(
        &self,
        caller: Caller,
        request: ipam::WatchRequest,
    ) -> Result<Changes, Status> {
        let filter = Seen {
            filter: lease_filter(&request.filter)?,
            caller,
        };
        // A revision that another server returned is one that this store has.
        self.ledger.catch_up().await?;
        self.check_resumable(&request)?;
        let (sender, receiver) = channel(AHEAD);
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.watchers.clone());
        let service = self.clone();
        // Ends with the watcher (a send fails), with the server, or with an error that the watcher gets.
        tokio::spawn(async move {
            let _counted = counted;
            let mut stopping = service.stopping.clone();
            let ended = tokio::select! {
                ended = service.follow(&sender, &request, &filter) => ended,
                _ = stopping.wait_for(|stopping| *stopping) => Err(Some(Error::Stopping)),
                () = sender.closed() => Err(None),
            };
            if let Err(Some(error)) = ended {
                // A watcher that has gone gets nothing.
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    /// Refuses a revision that this store never had: the changes behind it would be others than the watcher believes.
    fn check_resumable(&self, request: &ipam::WatchRequest) -> Result<(), Error> {
        let (store, present) = (self.store_id(), *self.ledger.revision().borrow());
        if !request.store_id.is_empty() && request.store_id != store {
            return Err(Error::OtherStore {
                given: request.store_id.clone(),
                present: store,
                revision: present,
            });
        }
        if request.after_revision > present {
            return Err(Error::RevisionAhead {
                wanted: request.after_revision,
                present,
            });
        }
        Ok(())
    }

    fn store_id(&self) -> String {
        self.ledger.origin().borrow().id.clone()
    }

    /// Sends changes until something ends it.
    async fn follow(
        &self,
        sender: &Sender<Result<ipam::WatchResponse, Status>>,
        request: &ipam::WatchRequest,
        filter: &Seen,
    ) -> Result<(), Option<Error>> {
        let mut revision = self.ledger.revision();
        let mut cursor = request.after_revision;
        if cursor == 0 || request.include_existing {
            cursor = *revision.borrow_and_update();
        }
        if request.include_existing {
            self.existing(sender, filter).await?;
        }
        let mut is_bookmarked = false;
        loop {
            let events = self.ledger.events(cursor, PAGE).await.map_err(Some)?;
            if let Some(last) = events.last() {
                cursor = last.revision;
                for event in events.into_iter().filter(|event| filter.event(event)) {
                    send(sender, Message::Event(event::encode(event)))
                        .await
                        .map_err(|Gone| None)?;
                }
                continue;
            }
            if !is_bookmarked {
                let bookmark = ipam::WatchResponse {
                    message: Some(Message::BookmarkRevision(cursor)),
                    store_id: self.store_id(),
                };
                sender.send(Ok(bookmark)).await.map_err(|_| None)?;
                is_bookmarked = true;
            }
            match tokio::time::timeout(BOOKMARK_INTERVAL, revision.wait_for(|&now| now > cursor))
                .await
            {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(Some(Error::Stopping)),
                Err(_) => is_bookmarked = false,
            }
        }
    }

    /// The present leases, as if they were made now. A change meanwhile comes once more as itself.
    async fn existing(
        &self,
        sender: &Sender<Result<ipam::WatchResponse, Status>>,
        filter: &Seen,
    ) -> Result<(), Option<Error>> {
        let mut after = LeaseId(0);
        loop {
            let page = self.ledger.leases(after, PAGE).await.map_err(Some)?;
            let whole = page.len() == PAGE;
            for lease in page {
                after = lease.id;
                if filter.lease(&lease) {
                    let event = ipam::Event {
                        r#type: EventType::Created.into(),
                        after: Some(ipam::Subject {
                            subject: Some(subject::Subject::Lease(lease::encode(lease))),
                        }),
                        ..Default::default()
                    };
                    send(sender, Message::Event(event))
                        .await
                        .map_err(|Gone| None)?;
                }
            }
            if !whole {
                return Ok(());
            }
        }
    }
}

async fn send(
    sender: &Sender<Result<ipam::WatchResponse, Status>>,
    message: Message,
) -> Result<(), Gone> {
    let response = ipam::WatchResponse {
        message: Some(message),
        store_id: String::new(),
    };
    sender.send(Ok(response)).await.map_err(|_| Gone)
}
