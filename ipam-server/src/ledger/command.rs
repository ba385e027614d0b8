//! A command on its way to the thread and back.

use std::time::Instant;

use ipam_core::allocator::Draft;
use ipam_core::allocator::restore::Known;
use ipam_core::log::{StoreError, StoreMark};
use tokio::sync::oneshot;

use super::worker::{Decision, Job, Message};
use super::{Caller, Ledger, Mode};
use crate::error::{Error, Refusal};

/// A command on its way: what it decides, and who waits for its result.
struct Command<T, F> {
    mode: Mode,
    deadline: Option<Instant>,
    decide: F,
    result: Result<T, Error>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T: Send, F: FnMut(&mut Draft<'_>) -> Result<T, Refusal> + Send> Decision for Command<T, F> {
    fn decide(&mut self, draft: &mut Draft<'_>) {
        // Nobody waits for the answer: the caller has gone.
        let is_late = self.deadline.is_some_and(|at| at <= Instant::now());
        self.result = match is_late || self.answer.is_closed() {
            true => Err(Error::DeadlineExceeded),
            false => draft
                .attempt(self.mode.keeps(), &mut self.decide)
                .map_err(Error::Refused),
        };
    }

    fn answer(self: Box<Self>, written: Result<(), &StoreError>) {
        let result = match written {
            Ok(()) => self.result,
            Err(error) => Err(error.clone().into()),
        };
        // A caller that has gone gets no answer.
        let _ = self.answer.send(result);
    }
}

impl Ledger {
    /// Has a command decided; again, where another server appended first.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        mode: Mode,
        decide: impl FnMut(&mut Draft<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Error> {
        let _permit = self.waiting.acquire().await.map_err(|_| Error::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let command = Command {
            mode,
            deadline: caller.deadline,
            decide,
            result: Err(Error::DeadlineExceeded),
            answer,
        };
        let job = Job {
            actor: caller.actor.clone(),
            node: caller.node.clone(),
            mode,
            decision: Box::new(command),
        };
        self.queue
            .send(Message::Job(job))
            .map_err(|_| Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
    }

    /// The same of a caller who may have to report first; the answer comes with the store that gave it.
    pub(super) async fn run_known<T: Send + 'static>(
        &self,
        caller: &Caller,
        mode: Mode,
        known: Option<StoreMark>,
        mut decide: impl FnMut(&mut Draft<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<(T, StoreMark), Error> {
        let node = caller.node.clone();
        // That the store turns out to be restored is kept although the caller is refused.
        let answer = self.run(caller, mode, move |draft| {
            let known = draft.know(known.as_ref());
            log_known(&known, node.as_deref());
            if !known.is_known() {
                return Ok(Err(draft.store_mark().id));
            }
            let answer = decide(draft)?;
            Ok(Ok((answer, draft.store_mark())))
        });
        answer.await?.map_err(|store| Error::ReportFirst { store })
    }
}

/// Logs a caller who says that it saw a later revision than the store has.
fn log_known(known: &Known, node: Option<&str>) {
    match known {
        Known::Yes | Known::No => {}
        Known::Unproved { revision, seen } => tracing::warn!(
            node,
            revision,
            seen,
            "a node says that it saw a later revision, and cannot prove it"
        ),
        Known::Restored { revision, seen } => tracing::error!(
            revision,
            seen,
            "the store is older than a node saw it: a backup was put in its place, or its end was lost"
        ),
    }
}
