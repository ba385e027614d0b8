//! ListEvents: pages of the history, in both directions.

use ipam_core::event::Event;
use ipam_core::request::Question;
use proto::ipam::v1 as ipam;

use super::{Service, page_token};
use crate::error::Error;
use crate::page::{self, Page};
use crate::wire::{event, request, time};

/// Events that are read at once.
const CHUNK: usize = 1000;
/// Events that are read for one page at most.
const READ: usize = 50_000;

/// What a request asks of the history.
struct Query {
    question: Option<Question>,
    /// Milliseconds since 1970: from, and up to but without.
    from: i64,
    to: i64,
    is_descending: bool,
    /// Whether it goes on behind a page.
    is_continued: bool,
}

impl Query {
    /// Whether an event lies behind everything that is asked for.
    fn ends_before(&self, event: &Event) -> bool {
        let at = event.time.as_millisecond();
        match self.is_descending {
            true => at < self.from,
            false => at >= self.to,
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let is_of_time = (self.from..self.to).contains(&event.time.as_millisecond());
        is_of_time && concerns(event, self.question.as_ref())
    }
}

impl Service {
    pub(super) async fn list_events_of(
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
        let mut page = Page::new(page::size(request.page_size)?);
        let begin = page_token::key(&request.page_token, &binding)?;
        let (start, end) = (request.start_time.as_ref(), request.end_time.as_ref());
        let query = Query {
            question: question(&request)?,
            from: start.map_or(i64::MIN, |at| time::millis(Some(at))),
            to: end.map_or(i64::MAX, |at| time::millis(Some(at))),
            is_descending: request.descending,
            is_continued: begin.is_some(),
        };
        let cursor = match begin {
            Some(key) => key.parse().map_err(|_| Error::BadToken)?,
            None => self.first_cursor(&query, &request).await?,
        };
        let next = self.fill_page(&query, cursor, &mut page).await?;
        let token = next.map(|cursor| page_token::token(&cursor.to_string(), &binding));
        Ok(ipam::ListEventsResponse {
            events: page.into_entries(),
            next_page_token: token.unwrap_or_default(),
        })
    }

    /// The revision next to the first one of a query.
    async fn first_cursor(
        &self,
        query: &Query,
        request: &ipam::ListEventsRequest,
    ) -> Result<u64, Error> {
        if let Some(start) = &request.start_time {
            self.check_kept(start).await?;
        }
        let (has_start, has_end) = (request.start_time.is_some(), request.end_time.is_some());
        Ok(match query.is_descending {
            true if has_end => {
                let before = self.ledger.revision_before(query.to).await?;
                before.saturating_add(1)
            }
            true => u64::MAX,
            false if has_start => self.ledger.revision_before(query.from).await?,
            false => self.ledger.oldest_revision().saturating_sub(1),
        })
    }

    /// Fills a page behind a revision; returns the revision behind which the next page begins, if there is one.
    async fn fill_page(
        &self,
        query: &Query,
        mut cursor: u64,
        page: &mut Page<ipam::Event>,
    ) -> Result<Option<u64>, Error> {
        let mut read = 0;
        loop {
            let chunk = match query.is_descending {
                true => self.ledger.events_back(cursor, CHUNK).await,
                false => self.ledger.events(cursor, CHUNK).await,
            };
            let chunk = match chunk {
                // What was the oldest a moment ago is not kept any more; no page has shown any of it yet.
                Err(Error::Compacted { oldest, .. }) if !query.is_continued && read == 0 => {
                    cursor = oldest - 1;
                    continue;
                }
                chunk => chunk?,
            };
            let is_full = chunk.len() == CHUNK;
            read += chunk.len();
            for one in chunk {
                if query.ends_before(&one) {
                    return Ok(None);
                }
                let revision = one.revision;
                if query.wants(&one) && page.push(event::encode(one)).is_err() {
                    return Ok(Some(cursor));
                }
                cursor = revision;
            }
            if !is_full || read >= READ {
                return Ok(Some(cursor).filter(|_| is_full));
            }
        }
    }

    /// Refuses a time before what the history keeps: what was forgotten would be missing without a word.
    async fn check_kept(&self, start: &pbjson_types::Timestamp) -> Result<(), Error> {
        let oldest = self.ledger.oldest_revision();
        let first = self.ledger.events_back(oldest.saturating_add(1), 1).await?;
        let is_kept = first.first().is_none_or(|event| {
            event.revision <= 1 || event.time.as_millisecond() <= time::millis(Some(start))
        });
        if is_kept {
            return Ok(());
        }
        let start = time::decode(start).unwrap_or_default();
        Err(Error::Compacted {
            wanted: format!("time {start}"),
            oldest,
        })
    }
}

/// Whether an event is about a lease that is asked for.
fn concerns(event: &Event, question: Option<&Question>) -> bool {
    question.is_none_or(|question| event.leases().any(|lease| question.matches(lease)))
}

fn question(request: &ipam::ListEventsRequest) -> Result<Option<Question>, Error> {
    if request.address.is_empty() && request.owner.is_none() {
        return Ok(None);
    }
    let owner = request.owner.clone();
    let question = request::question(&request.address, String::new(), owner, "")?;
    Ok(Some(question))
}
