//! The connection to ipam-server: made before it is needed, made again when it breaks or when our files are renewed.
//! [`Keeper`] makes it, every [`Link`] sends over it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cni::error::with_causes;
use dial::address::Address;
use dial::files::Credentials;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use meta_cni::random::dice;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Status;

use super::answer::broken;
use super::dial::{DialError, Opened};
use super::metrics::Metrics;
use super::upstream::Upstream;

/// How long a call waits for a connection that is just being made.
const HOLD: Duration = Duration::from_secs(1);
/// Between two tries to connect: at least.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries to connect as long as nobody calls: at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often our files are compared with what the connection was made with.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How the connection is.
#[derive(Clone)]
enum State {
    /// It is being made, for the first time or after it broke.
    Connecting,
    /// It is there.
    Up(SendRequest<Body>),
    /// It could not be made; callers get the error.
    Away(Status),
}

/// The callers' side. Clones share the connection.
#[derive(Clone)]
pub(super) struct Link {
    upstream: Arc<Upstream>,
    state: watch::Receiver<State>,
    wanted: Arc<Notify>,
}

/// The connections, as they are made.
pub struct Connections(watch::Receiver<State>);

impl Connections {
    /// Ends when a connection is made, also one that takes another one's place.
    pub async fn next(&mut self) {
        loop {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if matches!(*self.0.borrow_and_update(), State::Up(_)) {
                return;
            }
        }
    }
}

/// The side that makes the connection.
pub struct Keeper {
    upstream: Arc<Upstream>,
    state: watch::Sender<State>,
    wanted: Arc<Notify>,
    metrics: Metrics,
    /// The present connection, and older ones whose calls are not finished.
    connections: JoinSet<()>,
    /// The last logged reason why there is none.
    logged: String,
}

/// The present connection.
struct Current {
    task: AbortHandle,
    credentials: Option<Credentials>,
}

/// Both sides of a connection, which is made once [`Keeper::keep`] runs.
pub(super) fn new(upstream: Upstream, metrics: Metrics) -> (Link, Keeper) {
    let upstream = Arc::new(upstream);
    let (state, seen) = watch::channel(State::Connecting);
    let wanted = Arc::new(Notify::new());
    let link = Link {
        upstream: Arc::clone(&upstream),
        state: seen,
        wanted: Arc::clone(&wanted),
    };
    let keeper = Keeper {
        upstream,
        state,
        wanted,
        metrics,
        connections: JoinSet::new(),
        logged: String::new(),
    };
    (link, keeper)
}

impl Link {
    /// The address of ipam-server.
    pub(super) fn server(&self) -> &Address {
        &self.upstream.address
    }

    /// Sends a request, and gives the answer once it begins. If there is no connection it is waited for, but only while
    /// one is being made and for [`HOLD`] at most.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Status> {
        let mut request = self.upstream.readdress(request);
        let mut state = self.state.clone();
        let until = Instant::now() + HOLD;
        loop {
            let sender = tokio::time::timeout_at(until, self.sender(&mut state)).await;
            let mut sender = sender.unwrap_or_else(|_| Err(self.silent()))?;
            let mut failed = match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            // A request that comes back was not sent: the connection had just ended. The next one is waited for.
            let Some(unsent) = failed.take_message() else {
                return Err(broken(self.server().as_str(), failed.error()));
            };
            request = unsent;
            let changed = tokio::time::timeout_at(until, state.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Err(broken(self.server().as_str(), failed.error()));
            }
        }
    }

    async fn sender(
        &self,
        state: &mut watch::Receiver<State>,
    ) -> Result<SendRequest<Body>, Status> {
        loop {
            match &*state.borrow_and_update() {
                State::Up(sender) => return Ok(sender.clone()),
                State::Away(why) => {
                    self.wanted.notify_one();
                    return Err(why.clone());
                }
                State::Connecting => {}
            }
            if state.changed().await.is_err() {
                return Err(Status::unavailable("meta-cnid ends"));
            }
        }
    }

    /// The connections from now on.
    pub(super) fn connections(&self) -> Connections {
        let mut state = self.state.clone();
        state.mark_changed();
        Connections(state)
    }

    /// Ends once there is a connection.
    pub(super) async fn connected(&self) {
        let mut state = self.state.clone();
        // Who keeps it may be gone: there is never one then.
        if state
            .wait_for(|now| matches!(now, State::Up(_)))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    fn silent(&self) -> Status {
        Status::unavailable(format!(
            "ipam-server at {} is being connected to and does not answer yet",
            self.server()
        ))
    }
}

impl Keeper {
    /// Keeps the connection; never ends.
    pub(super) async fn keep(mut self) -> Infallible {
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.upstream.open().await {
                Ok(opened) => {
                    pause = SHORTEST_PAUSE;
                    let soonest = Instant::now() + SHORTEST_PAUSE;
                    self.hold(opened).await;
                    // A server that closes each connection is not dialled without end.
                    tokio::time::sleep_until(soonest).await;
                }
                Err(error) => {
                    self.log(&error, "leases cannot be passed on");
                    self.state.send_replace(State::Away(error.to_status()));
                    self.rest(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Uses a connection, and those that follow it when our files are renewed, until the present one ends.
    async fn hold(&mut self, opened: Opened) {
        let mut current = self.use_now(opened);
        let mut ticks = tokio::time::interval_at(Instant::now() + POLL_INTERVAL, POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(_) = self.connections.join_next() => {}
                _ = ticks.tick() => {
                    if let Some(renewed) = self.renewed(&current).await {
                        // The calls of the old connection are finished on it; nobody sends over it any more.
                        current = self.use_now(renewed);
                    }
                }
            }
            if current.task.is_finished() {
                tracing::info!(server = %self.upstream.address, "the connection to ipam-server ended");
                self.metrics.connected(false);
                self.state.send_replace(State::Connecting);
                return;
            }
        }
    }

    fn use_now(&mut self, opened: Opened) -> Current {
        self.logged.clear();
        self.metrics.connected(true);
        let task = self.connections.spawn(opened.connection);
        self.state.send_replace(State::Up(opened.sender));
        tracing::info!(server = %self.upstream.address, "connected to ipam-server");
        Current {
            task,
            credentials: opened.credentials,
        }
    }

    /// A connection made with our files as they are now, if they were renewed and it can be made.
    async fn renewed(&mut self, current: &Current) -> Option<Opened> {
        let opened = match self.upstream.credentials().await {
            Ok(found) if found == current.credentials => return None,
            Ok(_) => self.upstream.open().await,
            Err(error) => Err(error.into()),
        };
        opened
            .inspect_err(|error| self.log(error, "renewed files are not used yet"))
            .ok()
    }

    /// Says it once, until it is mended or something else is wrong.
    fn log(&mut self, error: &DialError, what: &str) {
        let error = with_causes(error);
        if self.logged != error {
            tracing::warn!(error, "{what}");
            self.logged = error;
        }
    }

    /// Waits before the next try: for a while, and no longer than that once somebody calls.
    async fn rest(&self, pause: Duration) {
        tokio::time::sleep(SHORTEST_PAUSE).await;
        tokio::select! {
            () = tokio::time::sleep((pause - SHORTEST_PAUSE).mul_f64(dice())) => {}
            () = self.wanted.notified() => {}
        }
    }
}
