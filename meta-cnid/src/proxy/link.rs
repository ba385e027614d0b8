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
pub(super) enum State {
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

/// The side that makes the connection.
pub(super) struct Keeper {
    upstream: Arc<Upstream>,
    state: watch::Sender<State>,
    wanted: Arc<Notify>,
    metrics: Metrics,
    /// The present connection, and older ones whose calls are not finished.
    connections: JoinSet<()>,
    /// The last logged reason why there is none.
    logged: String,
    is_up: bool,
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
        is_up: false,
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

    /// Sends a request if there is a connection, and returns the answer once it begins. Else another server may have one.
    pub(super) async fn send_now(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Status> {
        let mut sender = match &*self.state.borrow() {
            State::Up(sender) => sender.clone(),
            State::Away(why) => {
                self.wanted.notify_one();
                return Err(why.clone());
            }
            State::Connecting => return Err(self.silent()),
        };
        let sent = sender.send_request(self.upstream.readdress(request));
        let sent = sent.await;
        sent.map_err(|error| broken(self.server().as_str(), &error))
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    /// Ends when a connection is made, also one that takes another one's place. `seen`: up to which state that is known.
    pub(super) async fn next_connection(seen: &mut watch::Receiver<State>) {
        loop {
            // Who keeps it may be gone: there is never one then.
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if matches!(*seen.borrow_and_update(), State::Up(_)) {
                return;
            }
        }
    }

    /// The states of the connection, of which the present one is new.
    pub(super) fn states(&self) -> watch::Receiver<State> {
        let mut states = self.state.clone();
        states.mark_changed();
        states
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
                self.count(false);
                self.state.send_replace(State::Connecting);
                return;
            }
        }
    }

    /// Counts the server as one that there is a connection to, or not.
    fn count(&mut self, is_up: bool) {
        if self.is_up != is_up {
            self.is_up = is_up;
            self.metrics.connected(is_up);
        }
    }

    fn use_now(&mut self, opened: Opened) -> Current {
        self.logged.clear();
        self.count(true);
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
