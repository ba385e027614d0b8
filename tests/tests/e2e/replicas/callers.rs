//! Callers that allocate, release, update and read, and never give up: who fails or is silent is followed by the next server, with the same
//! request.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use e2e::dial::unix_channel;
use e2e::history::{Answer, Call};
use e2e::ipam::{pool, request};
use proto::ipam::v1::lease_service_client::LeaseServiceClient;
use proto::ipam::v1::pool_service_client::PoolServiceClient;
use proto::ipam::v1::{
    AllocateRequest, BatchAllocateRequest, GetLeaseRequest, Lease, ReleaseAttachmentRequest,
    UpdatePoolRequest,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

const CALLERS: usize = 32;
/// How long a server may take for one attempt.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long a call is made again before the test fails.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two calls, and before a call is made again: at most.
const PAUSE_MS: u64 = 40;

/// What the callers share.
struct Shared {
    channels: Vec<Channel>,
    began: Instant,
    is_over: AtomicBool,
    answers: watch::Sender<usize>,
    calls: Mutex<Vec<Call>>,
}

/// The callers, at work.
pub(crate) struct Callers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Callers {
    pub(crate) fn start(sockets: &[PathBuf], seed: u64) -> Callers {
        let shared = Arc::new(Shared {
            channels: sockets.iter().map(|socket| unix_channel(socket)).collect(),
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            answers: watch::Sender::new(0),
            calls: Mutex::default(),
        });
        let tasks = (0..CALLERS).map(|number| {
            let caller = Caller {
                shared: shared.clone(),
                number,
                chance: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
                held: Vec::new(),
                turn: 0,
            };
            caller.work()
        });
        Callers {
            tasks: tasks.collect(),
            shared,
        }
    }

    /// The time of their clock, in microseconds.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Waits until so many calls more are answered.
    pub(crate) async fn wait(&self, answers: usize) {
        let mut count = self.shared.answers.subscribe();
        let wanted = *count.borrow() + answers;
        let reached = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= wanted));
        let reached = reached.await.expect("callers are answered");
        reached.expect("the count lives as long as the callers");
    }

    /// Lets them finish what they began, and gives all calls.
    pub(crate) async fn stop(mut self) -> Vec<Call> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a caller is answered in the end");
        }
        let mut calls = self
            .shared
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut calls)
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a test is short")
    }
}

struct Caller {
    shared: Arc<Shared>,
    number: usize,
    chance: fastrand::Rng,
    held: Vec<Lease>,
    turn: usize,
}

impl Caller {
    async fn work(mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.turn += 1;
            match self.chance.u32(..10) {
                0 => self.batch().await,
                1..=4 => self.allocate().await,
                5..=7 if !self.held.is_empty() => self.release().await,
                8 if self.number == 0 => self.update().await,
                _ => self.read().await,
            }
            let pause = Duration::from_millis(self.chance.u64(..PAUSE_MS));
            tokio::time::sleep(pause).await;
        }
    }

    fn wish(&self, part: usize) -> AllocateRequest {
        request("blue", &format!("pod-{}-{}-{part}", self.number, self.turn))
    }

    async fn allocate(&mut self) {
        let wish = self.wish(0);
        let answer = self.call(|channel| {
            let (mut client, asked) = (LeaseServiceClient::new(channel), limited(wish.clone()));
            async move { client.allocate(asked).await }
        });
        let (lease, times) = answer.await;
        let lease = lease.expect("nothing is refused").lease.expect("a lease");
        self.keep(vec![lease], times);
    }

    async fn batch(&mut self) {
        let batch = BatchAllocateRequest {
            requests: vec![self.wish(0), self.wish(1)],
            ..BatchAllocateRequest::default()
        };
        let answer = self.call(|channel| {
            let (mut client, asked) = (LeaseServiceClient::new(channel), limited(batch.clone()));
            async move { client.batch_allocate(asked).await }
        });
        let (leases, times) = answer.await;
        let leases = leases.expect("nothing is refused").responses.into_iter();
        let leases = leases.map(|one| one.lease.expect("a lease")).collect();
        self.keep(leases, times);
    }

    fn keep(&mut self, leases: Vec<Lease>, times: Times) {
        self.held.extend(leases.iter().cloned());
        self.note(times, Answer::Allocated(leases));
    }

    async fn release(&mut self) {
        let lease = self.held.swap_remove(self.chance.usize(..self.held.len()));
        let owner = lease.owner.unwrap_or_default();
        let release = ReleaseAttachmentRequest {
            network: owner.network,
            container_id: owner.container_id,
            ifname: owner.ifname,
        };
        let answer = self.call(|channel| {
            let (mut client, asked) = (LeaseServiceClient::new(channel), limited(release.clone()));
            async move { client.release_attachment(asked).await }
        });
        let (released, times) = answer.await;
        released.expect("nothing is refused");
        self.note(times, Answer::Released(lease.id));
    }

    async fn update(&mut self) {
        let turn = self.turn.to_string();
        let mut blue = pool("blue", "10.0.0.0/16", "fd00::/64");
        blue.labels.insert("turn".to_owned(), turn.clone());
        let update = UpdatePoolRequest {
            pool: Some(blue),
            update_mask: vec!["labels".to_owned()],
            ..UpdatePoolRequest::default()
        };
        let answer = self.call(|channel| {
            let (mut client, asked) = (PoolServiceClient::new(channel), limited(update.clone()));
            async move { client.update_pool(asked).await }
        });
        let (updated, times) = answer.await;
        updated.expect("nothing is refused");
        self.note(times, Answer::Updated(turn));
    }

    /// Reads a lease of its own, or one that anybody may have and may have ended.
    async fn read(&mut self) {
        let id = match self.held.last() {
            Some(lease) if self.chance.bool() => lease.id.clone(),
            _ => format!("l{}", self.chance.usize(2..=2 + self.turn * CALLERS / 2)),
        };
        let get = GetLeaseRequest { id: id.clone() };
        let answer = self.call(|channel| {
            let (mut client, asked) = (LeaseServiceClient::new(channel), limited(get.clone()));
            async move { client.get_lease(asked).await }
        });
        let (found, times) = answer.await;
        let found = match found {
            Ok(lease) => Some(Box::new(lease)),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status}"),
        };
        self.note(times, Answer::Read(id, found));
    }

    /// Asks a server, and the next one when that one fails or is silent; the answer, or a refusal, with its times.
    async fn call<A, F>(&mut self, send: impl Fn(Channel) -> F) -> (Result<A, Status>, Times)
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let began = self.shared.now();
        let first = self.chance.usize(..self.shared.channels.len());
        let end = Instant::now() + PATIENCE;
        for attempt in 0.. {
            let channel = &self.shared.channels[(first + attempt) % self.shared.channels.len()];
            let answered = tokio::time::timeout(ATTEMPT, send(channel.clone())).await;
            let answer = match answered {
                Ok(Ok(answer)) => Ok(Ok(answer.into_inner())),
                Ok(Err(status)) if !is_transient(&status) => Ok(Err(status)),
                Ok(Err(status)) => Err(status.to_string()),
                Err(_) => Err("it is silent".to_owned()),
            };
            let why = match answer {
                Ok(answer) => {
                    let times = Times {
                        began,
                        ended: self.shared.now(),
                        retries: attempt as u64,
                    };
                    return (answer, times);
                }
                Err(why) => why,
            };
            assert!(Instant::now() < end, "no answer within {PATIENCE:?}: {why}");
            let pause = Duration::from_millis(self.chance.u64(..PAUSE_MS));
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop has no end")
    }

    fn note(&self, times: Times, answer: Answer) {
        let mut calls = self
            .shared
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        calls.push(Call {
            began: times.began,
            ended: times.ended,
            retries: times.retries,
            answer,
        });
        self.shared.answers.send_modify(|count| *count += 1);
    }
}

/// See [`Call`].
struct Times {
    began: u64,
    ended: u64,
    retries: u64,
}

fn limited<Q>(question: Q) -> Request<Q> {
    let mut request = Request::new(question);
    request.set_timeout(ATTEMPT);
    request
}

/// Whether the same call may be answered by another server, or later.
fn is_transient(status: &Status) -> bool {
    let code = status.code();
    matches!(
        code,
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled
    ) || std::error::Error::source(status).is_some()
}
