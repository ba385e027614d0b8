//! The ledger's thread: groups, one write for each, expiry, and the way back from a store that failed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ipam_core::allocator::check::{Cursor, Step};
use ipam_core::allocator::{Draft, State, load};
use ipam_core::log::{Append, Group, Origin, Position, Store, StoreError};
use tokio::sync::{oneshot, watch};

use super::{Health, Limits, Mode, Observer};
use crate::changes::{Line, log_origin};
use crate::clock::Clock;
use crate::error::Refusal;

/// How often a store that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The longest sleep: a clock that is set forward is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How often a group is decided before its callers are asked to come again.
const ATTEMPTS: u32 = 20;

/// What a command decides and answers.
pub(super) trait Decision: Send {
    /// Decides in a draft, and keeps the result; again, if the draft before did not become durable because another server
    /// was first.
    fn decide(&mut self, draft: &mut Draft<'_>);

    /// Answers with the result, or with why it is not durable.
    fn answer(self: Box<Self>, written: Result<(), &StoreError>);
}

/// One command.
pub(super) struct Job {
    pub(super) actor: Arc<str>,
    /// See [`super::Caller::node`].
    pub(super) node: Option<Arc<str>>,
    /// Whether it may change something.
    pub(super) mode: Mode,
    pub(super) decision: Box<dyn Decision>,
}

/// What became of a group.
enum Outcome {
    /// It is durable, or there was nothing to append.
    Settled,
    /// Another server was first: what it appended is applied.
    Overtaken,
    /// It is not known to be durable.
    Failed(StoreError),
}

pub(super) enum Message {
    Job(Job),
    /// One step of a check: the first one without a cursor.
    Check(Option<Cursor>, oneshot::Sender<Result<Step, Refusal>>),
    /// Another server has appended: what it appended is taken in with the next group, which may be empty.
    Wake,
    Stop,
}

/// A step of a check of the store: where it goes on, and who waits for it.
type CheckStep = (Option<Cursor>, oneshot::Sender<Result<Step, Refusal>>);

/// Messages that were taken out of the queue.
#[derive(Default)]
struct Taken {
    jobs: Vec<Job>,
    checks: Vec<CheckStep>,
    /// No more jobs come.
    stopping: bool,
}

impl Taken {
    /// Adds a message and those that wait, up to `room` jobs in all.
    fn add(&mut self, first: Option<Message>, queue: &Receiver<Message>, room: usize) {
        let mut first = first;
        while self.jobs.len() < room {
            match first.take().or_else(|| queue.try_recv().ok()) {
                Some(Message::Job(job)) => self.jobs.push(job),
                Some(Message::Check(cursor, answer)) => self.checks.push((cursor, answer)),
                Some(Message::Wake) => {}
                Some(Message::Stop) => self.stopping = true,
                None => return,
            }
        }
    }
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
    /// What is remembered does not agree with the log: it is loaded anew with the recovery.
    pub(super) is_stale: bool,
}

impl Worker {
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut taken = Taken::default();
        while !taken.stopping {
            let first = match queue.recv_timeout(self.sleep()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            taken.add(first, queue, self.limits.group);
            self.recover();
            self.group(&mut taken, queue);
            for (cursor, answer) in std::mem::take(&mut taken.checks) {
                let checked = self.check(cursor);
                // A caller that has gone gets no answer.
                let _ = answer.send(checked);
            }
        }
        // Whoever was queued before the end is still served.
        taken.add(None, queue, usize::MAX);
        self.group(&mut taken, queue);
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
        let recovered = self.store.recover().and_then(|()| match self.is_stale {
            true => self.load().map_err(|error| self.of_store(error)),
            false => Ok(()),
        });
        match recovered {
            Ok(()) => {
                self.is_stale = false;
                tracing::info!("the store can be written again");
                self.retry_at = None;
                self.report_health(Ok(()));
            }
            Err(error) => {
                tracing::debug!(%error, "the store still fails");
                self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
                self.report_health(Err(error));
            }
        }
    }

    fn report_health(&self, health: Health) {
        if let Some(observer) = &self.observer {
            observer.writable(health.is_ok());
        }
        // The value before is of no use.
        drop(self.health.send_replace(health));
    }

    /// Decides, appends, answers; decides again where another server was first, with the jobs that have come meanwhile: a server
    /// that waits for its turn appends all that its callers want at once.
    fn group(&mut self, taken: &mut Taken, queue: &Receiver<Message>) {
        let failed = self.health.borrow().clone().err();
        // What other servers have appended meanwhile is not known: an answer could be old.
        let is_known = failed.is_none() || !self.store.is_shared();
        let (mut decided, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut taken.jobs)
            .into_iter()
            .partition(|job| is_known && (failed.is_none() || !job.mode.keeps()));
        let mut lines = Vec::new();
        let mut times = 0;
        let outcome = loop {
            lines.clear();
            if !is_known {
                break Ok(());
            }
            if failed.is_none() {
                if let Outcome::Failed(error) = self.await_turn(&decided) {
                    break Err(error);
                }
                let room = self.limits.group.saturating_sub(decided.len());
                taken.add(None, queue, room);
                decided.append(&mut taken.jobs);
            }
            match self.attempt(failed.is_none(), &mut decided, &mut lines) {
                Outcome::Settled => break Ok(()),
                Outcome::Overtaken => {
                    lines.clear();
                    times += 1;
                    if times == ATTEMPTS {
                        let store = self.store.name().into();
                        break Err(StoreError::Contended { store, times });
                    }
                }
                Outcome::Failed(error) => {
                    lines.clear();
                    break Err(error);
                }
            }
        };
        for job in decided {
            job.decision.answer(outcome.as_ref().copied());
        }
        if let Some(error) = &failed {
            for job in refused {
                job.decision.answer(Err(error));
            }
        }
        // Behind the answers, which need not wait for it.
        lines.iter().for_each(Line::log);
    }

    /// Waits for this server's turn, if a job may change something, and takes in what others have appended meanwhile: a group that is
    /// decided before would be decided for nothing.
    fn await_turn(&mut self, jobs: &[Job]) -> Outcome {
        if !jobs.iter().any(|job| job.mode.keeps()) {
            return Outcome::Settled;
        }
        match self.store.await_turn(self.state.position) {
            Append::Appended(_) => Outcome::Settled,
            Append::Behind(groups, position) => self.take_in(&groups, position),
            Append::Compacted => {
                let loaded = self.load();
                self.overtaken(loaded)
            }
        }
    }

    fn take_in(&mut self, groups: &[Group], position: Position) -> Outcome {
        let applied = self.state.apply_groups(groups, position);
        self.overtaken(applied)
    }

    /// Decides and appends once.
    fn attempt(&mut self, ends: bool, jobs: &mut [Job], lines: &mut Vec<Line>) -> Outcome {
        let now = self.clock.now();
        let mut draft = Draft::new(&mut self.state, self.store.as_ref(), now);
        if ends && let Err(error) = draft.end_due() {
            tracing::error!(%error, "leases whose time is over could not be read");
        }
        for job in jobs {
            draft.set_caller(&job.actor, job.node.clone());
            job.decision.decide(&mut draft);
        }
        let began = Instant::now();
        let position = draft.position();
        let group = draft.group(self.limits.history_events);
        let is_empty = group.is_empty();
        let origin = group.origin.clone();
        if tracing::enabled!(tracing::Level::INFO) {
            lines.extend(group.events.iter().map(Line::of));
        }
        let appended = self.store.append(position, group);
        if let (Ok(Append::Behind(..) | Append::Compacted), false, Some(observer)) =
            (&appended, is_empty, &self.observer)
        {
            observer.overtaken();
        }
        match appended {
            Ok(Append::Appended(_)) if is_empty => {
                draft.abandon();
                Outcome::Settled
            }
            Ok(Append::Appended(position)) => {
                let changes = draft.done(position);
                if let Some(observer) = &self.observer {
                    observer.committed(&changes, began.elapsed());
                }
                self.show_extent();
                if let Some(change) = origin {
                    log_origin(&change);
                    self.origin.send_replace(change.after);
                }
                Outcome::Settled
            }
            Ok(Append::Behind(groups, position)) => {
                draft.abandon();
                self.take_in(&groups, position)
            }
            Ok(Append::Compacted) => {
                draft.abandon();
                let loaded = self.load();
                self.overtaken(loaded)
            }
            Err(error) => {
                draft.abandon();
                self.fail(error)
            }
        }
    }

    /// Shows what other servers changed, if it was applied; else the state is loaded anew with the recovery.
    fn overtaken(&mut self, applied: Result<(), Refusal>) -> Outcome {
        match applied {
            Ok(()) => {
                self.show_extent();
                self.origin.send_replace(self.state.origin.clone());
                Outcome::Overtaken
            }
            Err(error) => {
                self.is_stale = true;
                let error = self.of_store(error);
                self.fail(error)
            }
        }
    }

    fn of_store(&self, error: Refusal) -> StoreError {
        match error {
            Refusal::Store(error) => error,
            error => StoreError::Corrupt {
                store: self.store.name().into(),
                what: error.to_string(),
            },
        }
    }

    fn load(&mut self) -> Result<(), Refusal> {
        let mut state = load(self.store.as_ref())?;
        state.restore_wait = self.state.restore_wait;
        self.state = state;
        Ok(())
    }

    fn show_extent(&self) {
        self.revision.send_replace(self.state.revision);
        self.oldest.send_replace(self.state.oldest_revision);
    }

    fn fail(&mut self, error: StoreError) -> Outcome {
        match self.retry_at {
            None => {
                tracing::error!(%error, "the store failed; nothing of this group is acknowledged");
            }
            Some(_) => tracing::debug!(%error, "the store still fails"),
        }
        self.retry_at.get_or_insert(Instant::now() + RETRY_INTERVAL);
        self.report_health(Err(error.clone()));
        Outcome::Failed(error)
    }

    fn check(&mut self, cursor: Option<Cursor>) -> Result<Step, Refusal> {
        let now = self.clock.now();
        let draft = Draft::new(&mut self.state, self.store.as_ref(), now);
        let checked = draft.check(cursor.unwrap_or_else(|| draft.check_begin()));
        draft.abandon();
        checked
    }
}
