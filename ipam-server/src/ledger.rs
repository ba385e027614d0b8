//! The one thread that decides. It takes all that waits as a group, lets the allocator decide one after the
//! other, makes the group durable in one write, and answers then: nothing is told that could be lost.
//!
//! [`Ledger`] is the handle; `worker` is the thread; `reads` and `history` are what goes past it to the store; `check`
//! goes through everything in small steps.

mod check;
mod held;
mod history;
mod reads;
mod worker;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proto::ipam::v1::{self as ipam, EventType};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::allocator::lookup::Question;
use crate::allocator::restore::{new_id, new_secret};
use crate::allocator::{Draft, load};
use crate::clock::Clock;
use crate::error::Error;
use crate::lease::{Wish, is_of_node};
use crate::pool::Pool;
use crate::store::{Append, Group, Origin, OriginChange, Store, StoreError};
use worker::{Decision, Job, Message, Worker};

/// Leases that one BatchAllocate may ask for.
const BATCH: usize = 64;

/// Who asks, and until when an answer is of use.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// For the history: role and identity.
    pub actor: Arc<str>,
    /// When the caller gives up.
    pub deadline: Option<Instant>,
    /// The node whose leases are reached; none: all leases are.
    pub node: Option<Arc<str>>,
    /// Whether few leases at once are ended only.
    pub is_bounded: bool,
}

impl Caller {
    /// Whether a lease is reached.
    pub fn reaches(&self, lease: &ipam::Lease) -> bool {
        is_of_node(lease, self.node.as_deref())
    }

    /// Puts the node of a caller that is one into a request: no word of the request about that counts.
    fn own(&self, request: &mut ipam::AllocateRequest) {
        if let Some(node) = &self.node {
            let owner = request.owner.get_or_insert_default();
            owner.node = node.to_string();
        }
    }
}

/// How much a ledger takes and keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes that the history keeps at least.
    pub history_events: u64,
    /// Commands that are decided together at most.
    pub group: usize,
    /// Commands that may wait; more wait before they are queued.
    pub queue: usize,
    /// How long a restored store waits for the reports of nodes.
    pub restore_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            history_events: 200_000,
            group: 1024,
            queue: 8192,
            restore_wait: Duration::from_secs(60),
        }
    }
}

/// Is told what a ledger does, for metrics. Called on the ledger's thread: it must be quick.
pub trait Observer: Send + Sync + 'static {
    /// A group is durable: what changed, and how long the write took.
    fn committed(&self, changes: &[EventType], took: Duration);
    /// Whether the store can be written, when that changes.
    fn writable(&self, writable: bool);
}

/// Whether the store can be written, and why not.
pub type Health = Result<(), StoreError>;

/// A command on its way: what it decides, and who waits for its result.
struct Command<T, F> {
    /// False for what changes nothing.
    keep: bool,
    deadline: Option<Instant>,
    decide: F,
    result: Result<T, Error>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T: Send, F: FnMut(&mut Draft<'_>) -> Result<T, Error> + Send> Decision for Command<T, F> {
    fn decide(&mut self, draft: &mut Draft<'_>) {
        // Nobody waits for the answer: the caller has gone.
        let is_late = self.deadline.is_some_and(|at| at <= Instant::now());
        self.result = match is_late || self.answer.is_closed() {
            true => Err(Error::DeadlineExceeded),
            false => draft.attempt(self.keep, &mut self.decide),
        };
    }

    fn answer(self: Box<Self>, written: Result<(), &StoreError>) {
        let result = match written {
            Ok(()) => self.result,
            Err(error) => Err(Error::Store(error.clone())),
        };
        // A caller that has gone gets no answer.
        let _ = self.answer.send(result);
    }
}

/// A handle to the ledger. Clones are the same ledger.
#[derive(Clone)]
pub struct Ledger {
    queue: Sender<Message>,
    waiting: Arc<Semaphore>,
    store: Arc<dyn Store>,
    revision: watch::Receiver<u64>,
    oldest: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
    origin: watch::Receiver<Origin>,
    ended: Arc<Mutex<reads::Ended>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Ledger {
    /// Loads what the store holds and starts the thread.
    ///
    /// # Errors
    /// Those of the store; a stored pool that cannot be read.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Ledger, Error> {
        let mut state = load(store.as_ref())?;
        if let Ok(latest) = Timestamp::from_millisecond(state.latest) {
            clock.has_been(latest);
        }
        state.restore_wait = i64::try_from(limits.restore_wait.as_millis()).unwrap_or(i64::MAX);
        if state.origin.id.is_empty() || state.origin.secret.is_empty() {
            let before = (!state.origin.id.is_empty()).then(|| state.origin.clone());
            if before.is_none() {
                state.origin.id = new_id();
            }
            state.origin.secret = new_secret().map_err(|error| Error::System {
                what: "reading the system's random numbers",
                source: Arc::new(error),
            })?;
            let after = state.origin.clone();
            let origin = Some(OriginChange { before, after });
            let group = Group {
                origin,
                ..Group::default()
            };
            match store.append(state.position, &group)? {
                Append::Appended(position) => state.position = position,
                // Another server named the store meanwhile.
                Append::Behind(groups, position) => state.take_in(&groups, position)?,
                Append::Compacted => state = load(store.as_ref())?,
            }
        }
        let (queue, jobs) = std::sync::mpsc::channel();
        let (revision_sender, revision) = watch::channel(state.revision);
        let (oldest_sender, oldest) = watch::channel(state.oldest_revision);
        let (health_sender, health) = watch::channel(Ok(()));
        let (origin_sender, origin) = watch::channel(state.origin.clone());
        let worker = Worker {
            state,
            store: store.clone(),
            clock,
            limits,
            observer,
            revision: revision_sender,
            oldest: oldest_sender,
            health: health_sender,
            origin: origin_sender,
            retry_at: None,
            is_stale: false,
        };
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || worker.run(&jobs))
            .map_err(|source| Error::System {
                what: "starting the ledger's thread",
                source: Arc::new(source),
            })?;
        Ok(Ledger {
            queue,
            waiting: Arc::new(Semaphore::new(limits.queue)),
            store,
            revision,
            oldest,
            health,
            origin,
            ended: Arc::default(),
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Takes no new commands, finishes those that wait, and ends the thread.
    pub async fn stop(&self) {
        self.waiting.close();
        // A thread that has ended already has nothing left to do.
        let _ = self.queue.send(Message::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!("the ledger's thread panicked");
        }
    }

    /// The last durable revision.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Whether the store can be written.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Which store it is, and whose reports it waits for.
    pub fn origin(&self) -> watch::Receiver<Origin> {
        self.origin.clone()
    }

    /// Has a command decided. `keep` is false for what changes nothing.
    async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        keep: bool,
        decide: impl FnMut(&mut Draft<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.waiting.acquire().await.map_err(|_| Error::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let command = Command {
            keep,
            deadline: caller.deadline,
            decide,
            result: Err(Error::DeadlineExceeded),
            answer,
        };
        let job = Job {
            actor: caller.actor.clone(),
            node: caller.node.clone(),
            writes: keep,
            decision: Box::new(command),
        };
        self.queue
            .send(Message::Job(job))
            .map_err(|_| Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
    }

    /// The same of a caller who may have to report first; the answer comes with the store that gave it.
    async fn run_known<T: Send + 'static>(
        &self,
        caller: &Caller,
        keep: bool,
        known: Option<ipam::StoreMark>,
        mut decide: impl FnMut(&mut Draft<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<(T, ipam::StoreMark), Error> {
        // That the store turns out to be restored is kept although the caller is refused.
        let answer = self.run(caller, keep, move |draft| {
            if !draft.is_known(known.as_ref()) {
                return Ok(Err(draft.store_mark().id));
            }
            let answer = decide(draft)?;
            Ok(Ok((answer, draft.store_mark())))
        });
        answer.await?.map_err(|store| Error::ReportFirst { store })
    }

    /// See `PoolService.CreatePool`.
    pub async fn create_pool(
        &self,
        caller: &Caller,
        request: ipam::CreatePoolRequest,
    ) -> Result<ipam::Pool, Error> {
        let pool = Pool::decode(request.pool.unwrap_or_default())?;
        pool.check_sensible()?;
        pool.check_plain()?;
        let id = request.request_id;
        self.run(caller, !request.validate_only, move |draft| {
            draft.create_pool(pool.clone(), &id)
        })
        .await
    }

    /// See `PoolService.GetPool`.
    pub async fn get_pool(&self, caller: &Caller, name: String) -> Result<ipam::Pool, Error> {
        self.run(caller, false, move |draft| draft.get_pool(&name))
            .await
    }

    /// All pools with their counts, by name.
    pub async fn list_pools(&self, caller: &Caller) -> Result<Vec<ipam::Pool>, Error> {
        self.run(caller, false, |draft| Ok(draft.list_pools()))
            .await
    }

    /// See `PoolService.UpdatePool`.
    pub async fn update_pool(
        &self,
        caller: &Caller,
        request: ipam::UpdatePoolRequest,
    ) -> Result<ipam::Pool, Error> {
        let pool = request.pool.unwrap_or_default();
        let mask = request.update_mask;
        self.run(caller, !request.validate_only, move |draft| {
            draft.update_pool(&pool, &mask)
        })
        .await
    }

    /// See `PoolService.DeletePool`.
    pub async fn delete_pool(
        &self,
        caller: &Caller,
        request: ipam::DeletePoolRequest,
    ) -> Result<(), Error> {
        self.run(caller, !request.validate_only, move |draft| {
            draft.delete_pool(&request.name, &request.etag)
        })
        .await
    }

    /// See `PoolService.CordonPool` and `UncordonPool`.
    pub async fn cordon_pool(
        &self,
        caller: &Caller,
        name: String,
        cordon: bool,
    ) -> Result<ipam::Pool, Error> {
        self.run(caller, true, move |draft| draft.cordon_pool(&name, cordon))
            .await
    }

    /// See `LeaseService.Allocate`.
    pub async fn allocate(
        &self,
        caller: &Caller,
        mut request: ipam::AllocateRequest,
    ) -> Result<ipam::AllocateResponse, Error> {
        caller.own(&mut request);
        let known = request.known_store.clone();
        let wish = Wish::decode(request, "")?;
        let keep = !wish.validate_only;
        let mut answer = self
            .run_known(caller, keep, known, move |draft| draft.allocate(&wish))
            .await?;
        answer.0.store = Some(answer.1).filter(|_| keep);
        Ok(answer.0)
    }

    /// See `LeaseService.BatchAllocate`.
    pub async fn batch_allocate(
        &self,
        caller: &Caller,
        request: ipam::BatchAllocateRequest,
    ) -> Result<ipam::BatchAllocateResponse, Error> {
        if request.requests.len() > BATCH {
            return Err(Error::field("requests", format!("are more than {BATCH}")));
        }
        let (validate_only, known) = (request.validate_only, request.known_store);
        let decode = |(index, mut one): (usize, ipam::AllocateRequest)| {
            caller.own(&mut one);
            if one.validate_only != validate_only {
                let field = format!("requests[{index}].validate_only");
                return Err(Error::field(field, "must be as that of the whole request"));
            }
            Wish::decode(one, &format!("requests[{index}]."))
        };
        let wishes = request
            .requests
            .into_iter()
            .enumerate()
            .map(decode)
            .collect::<Result<Vec<_>, _>>()?;
        let mut answer = self
            .run_known(caller, !validate_only, known, move |draft| {
                draft.batch_allocate(&wishes)
            })
            .await?;
        answer.0.store = Some(answer.1).filter(|_| !validate_only);
        Ok(answer.0)
    }

    /// See `LeaseService.Release`.
    pub async fn release(
        &self,
        caller: &Caller,
        request: ipam::ReleaseRequest,
    ) -> Result<ipam::ReleaseResponse, Error> {
        self.run(caller, !request.validate_only, move |draft| {
            draft.release(&request)
        })
        .await
    }

    /// See `LeaseService.ReleaseAttachment`.
    pub async fn release_attachment(
        &self,
        caller: &Caller,
        request: ipam::ReleaseAttachmentRequest,
    ) -> Result<ipam::ReleaseAttachmentResponse, Error> {
        self.run(caller, true, move |draft| {
            draft.release_attachment(&request)
        })
        .await
    }

    /// See `LeaseService.Renew`.
    pub async fn renew(
        &self,
        caller: &Caller,
        request: ipam::RenewRequest,
    ) -> Result<ipam::Lease, Error> {
        let id = request.id.clone();
        let renewed = self.run(caller, true, move |draft| draft.renew(&request));
        match renewed.await {
            Err(Error::LeaseNotFound { .. }) if self.has_expired(caller, &id).await? => {
                Err(Error::LeaseExpired { id })
            }
            renewed => renewed,
        }
    }

    /// See `LeaseService.GetLease`.
    pub async fn get_lease(&self, caller: &Caller, id: String) -> Result<ipam::Lease, Error> {
        self.run(caller, false, move |draft| draft.get_lease(&id))
            .await
    }

    /// See `LeaseService.Explain`.
    pub async fn explain(
        &self,
        caller: &Caller,
        request: ipam::ExplainRequest,
    ) -> Result<ipam::ExplainResponse, Error> {
        let mut asked = request.request.unwrap_or_default();
        caller.own(&mut asked);
        let wish = Wish::decode(asked, "request.")?;
        self.run(caller, false, move |draft| draft.explain(&wish))
            .await
    }

    /// See `ReservationService.CreateReservation`.
    pub async fn create_reservation(
        &self,
        caller: &Caller,
        request: ipam::CreateReservationRequest,
    ) -> Result<ipam::Reservation, Error> {
        let wanted = request.reservation.unwrap_or_default();
        let id = request.request_id;
        self.run(caller, !request.validate_only, move |draft| {
            draft.create_reservation(wanted.clone(), &id)
        })
        .await
    }

    /// See `ReservationService.GetReservation`.
    pub async fn get_reservation(
        &self,
        caller: &Caller,
        name: String,
    ) -> Result<ipam::Reservation, Error> {
        self.run(caller, false, move |draft| draft.get_reservation(&name))
            .await
    }

    /// All reservations, by name.
    pub async fn list_reservations(
        &self,
        caller: &Caller,
    ) -> Result<Vec<ipam::Reservation>, Error> {
        self.run(caller, false, |draft| Ok(draft.list_reservations()))
            .await
    }

    /// See `ReservationService.DeleteReservation`.
    pub async fn delete_reservation(&self, caller: &Caller, name: String) -> Result<(), Error> {
        self.run(caller, true, move |draft| draft.delete_reservation(&name))
            .await
    }

    /// See `AdminService.Import`: one message's items.
    pub async fn import(
        &self,
        caller: &Caller,
        items: Vec<ipam::ExportItem>,
        validate_only: bool,
    ) -> Result<ipam::ImportResponse, Error> {
        self.run(caller, !validate_only, move |draft| draft.import(&items))
            .await
    }

    /// The leases that hold now, if they are found without a look at every lease.
    async fn lookup_now(
        &self,
        caller: &Caller,
        question: Question,
    ) -> Result<Option<Vec<ipam::Lease>>, Error> {
        self.run(caller, false, move |draft| draft.lookup(&question))
            .await
    }
}
