//! The ledger's thread: groups, one write for each, expiry, and the way back from a store that failed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::{Health, Limits, Observer};
use crate::allocator::check::{Place, Step};
use crate::allocator::{Draft, State, restore};
use crate::changes::Line;
use crate::clock::Clock;
use crate::error::Error;
use crate::store::{Origin, Store, StoreError};

/// How often a store that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The longest sleep: a clock that is set forward is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Answers a command, once it is known whether its group is durable.
type Answer = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

/// Decides, in a draft; without one, only the answer is made, for a store that failed.
type Decide = Box<dyn FnOnce(Option<&mut Draft<'_>>) -> Answer + Send>;

/// One command.
pub(super) struct Job {
    pub(super) actor: Arc<str>,
    /// See [`super::Caller::node`].
    pub(super) node: Option<Arc<str>>,
    /// Whether it may change something.
    pub(super) writes: bool,
    pub(super) decide: Decide,
}

pub(super) enum Message {
    Job(Job),
    /// One step of a check: the first one without a place.
    Check(Option<Place>, oneshot::Sender<Result<Step, Error>>),
    Stop,
}

pub(super) struct Worker {
    pub(super) state: State,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) revision: watch::Sender<u64>,
    pub(super) oldest: watch::Sender<u64>,
    pub(super) health: watch::Sender<Health>,
    pub(super) origin: watch::Sender<Origin>,
    /// When a store that failed is tried again.
    pub(super) retry_at: Option<Instant>,
}

impl Worker {
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut stopping = false;
        while !stopping {
            let first = match queue.recv_timeout(self.sleep()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut jobs = Vec::new();
            let mut checks = Vec::new();
            let waiting = std::iter::from_fn(|| queue.try_recv().ok());
            for message in first.into_iter().chain(waiting) {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::Check(place, answer) => checks.push((place, answer)),
                    Message::Stop => stopping = true,
                }
                if jobs.len() >= self.limits.group {
                    break;
                }
            }
            self.recover();
            self.group(jobs);
            for (place, answer) in checks {
                let checked = self.check(place);
                // A caller that has gone is told nothing.
                let _ = answer.send(checked);
            }
        }
        // Whoever was queued before the end is still served.
        let rest = std::iter::from_fn(|| queue.try_recv().ok());
        let jobs = rest.filter_map(|message| match message {
            Message::Job(job) => Some(job),
            Message::Check(..) | Message::Stop => None,
        });
        let jobs = jobs.collect();
        self.group(jobs);
    }

    /// Until the next lease ends, and not for long.
    fn sleep(&self) -> Duration {
        let due = self.state.next_deadline().map(|at| {
            let left = at.saturating_sub(self.clock.now().as_millisecond());
            Duration::from_millis(u64::try_from(left).unwrap_or(0))
        });
        let retry = self
            .retry_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        match (retry, due) {
            // Nothing can end while nothing can be written.
            (Some(retry), _) => retry.min(LONGEST_SLEEP),
            (None, Some(due)) => due.min(LONGEST_SLEEP),
            (None, None) => LONGEST_SLEEP,
        }
    }

    fn recover(&mut self) {
        if self.retry_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        match self.store.recover() {
            Ok(()) => {
                tracing::info!("the store can be written again");
                self.retry_at = None;
                self.tell_health(Ok(()));
            }
            Err(error) => {
                tracing::debug!(%error, "the store still fails");
                self.retry_at = Some(Instant::now() + RETRY);
                self.tell_health(Err(error));
            }
        }
    }

    fn tell_health(&self, health: Health) {
        if let Some(observer) = &self.observer {
            observer.writable(health.is_ok());
        }
        // The value before is of no use.
        drop(self.health.send_replace(health));
    }

    /// Decides, writes, answers.
    fn group(&mut self, jobs: Vec<Job>) {
        let now = self.clock.now();
        let failed = self.health.borrow().clone().err();
        let mut draft = Draft::new(&mut self.state, self.store.as_ref(), now);
        if failed.is_none()
            && let Err(error) = draft.end_due()
        {
            tracing::error!(%error, "leases whose time is over could not be read");
        }
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            match &failed {
                Some(error) if job.writes => answers.push(((job.decide)(None), Err(error.clone()))),
                _ => {
                    draft.set_caller(&job.actor, job.node.clone());
                    answers.push(((job.decide)(Some(&mut draft)), Ok(())));
                }
            }
        }
        let began = Instant::now();
        let mut origin = None;
        let mut lines = Vec::new();
        let written = match draft.batch(self.limits.history_events) {
            Some(batch) => {
                origin.clone_from(&batch.origin);
                if tracing::enabled!(tracing::Level::INFO) {
                    lines = batch.events.iter().map(Line::of).collect();
                }
                Some(self.store.commit(batch))
            }
            None => None,
        };
        let outcome = match written {
            None => {
                draft.abandon();
                Ok(())
            }
            Some(Ok(())) => {
                let changes = draft.done();
                if let Some(observer) = &self.observer {
                    observer.committed(&changes, began.elapsed());
                }
                self.revision.send_replace(self.state.revision);
                self.oldest.send_replace(self.state.oldest_revision);
                if let Some(change) = origin {
                    restore::log(&change);
                    self.origin.send_replace(change.after);
                }
                Ok(())
            }
            Some(Err(error)) => {
                draft.abandon();
                lines.clear();
                tracing::error!(%error, "the store failed; nothing of this group is acknowledged");
                self.retry_at = Some(Instant::now() + RETRY);
                self.tell_health(Err(error.clone()));
                Err(error)
            }
        };
        for (answer, own) in answers {
            answer(own.as_ref().and(outcome.as_ref()).copied());
        }
        // Behind the answers, which need not wait for it.
        lines.iter().for_each(Line::log);
    }

    fn check(&mut self, place: Option<Place>) -> Result<Step, Error> {
        let now = self.clock.now();
        let draft = Draft::new(&mut self.state, self.store.as_ref(), now);
        let checked = draft.check(place.unwrap_or_else(|| draft.check_begin()));
        draft.abandon();
        checked
    }
}
