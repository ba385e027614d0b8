//! /metrics, /healthz and /readyz over plain HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use dial::accept::{Backoff, Guarded, Patience};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};

use super::index::{Index, Kind};
use super::metrics::Metrics;
use super::releases::Waiting;
use super::watch::States;

/// The media type of the text that Prometheus reads (OpenMetrics 1.0).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How often an address that is in use is looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a connection may be silent, and may live: its client connects again.
const PATIENCE: Patience = Patience {
    first_request: Duration::from_secs(600),
    silence: Duration::from_secs(90),
};

/// What the pages tell of.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    pub(super) index: Arc<Index>,
    pub(super) states: States,
    pub(super) waiting: Waiting,
}

/// Where the pages are served; for now, perhaps, by an older agent.
pub(super) struct Binding {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Binding {
    /// The real address.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }
}

/// Listens at `address`. Where another process does, it is waited for once [`serve`] runs.
///
/// # Errors
/// What the system says, if nobody could listen there.
pub(super) async fn listen(address: SocketAddr) -> io::Result<Binding> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Binding {
            address: listener.local_addr()?,
            listener: Some(listener),
        }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(%address, "--metrics-listen is in use, by an older agent perhaps; it is waited for");
            Ok(Binding {
                address,
                listener: None,
            })
        }
        Err(error) => Err(error),
    }
}

/// Serves the pages; never ends but by failing.
///
/// # Errors
/// If listening fails.
pub(super) async fn serve(binding: Binding, pages: Pages) -> io::Result<()> {
    let mut listener = binding.listener;
    loop {
        if let Some(listener) = listener {
            return axum::serve(Guarding::new(listener), router(pages)).await;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        listener = match TcpListener::bind(binding.address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(bound?),
        };
    }
}

/// Accepts as file descriptors allow; connections that are silent, or old, are closed.
struct Guarding {
    listener: TcpListener,
    backoff: Backoff,
}

impl Guarding {
    fn new(listener: TcpListener) -> Guarding {
        let backoff = Backoff::new("--metrics-listen");
        Guarding { listener, backoff }
    }
}

impl Listener for Guarding {
    type Io = Guarded<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded<TcpStream>, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    self.backoff.succeeded();
                    return (Guarded::new(stream, PATIENCE), from);
                }
                Err(error) => self.backoff.failed(&error).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages)
}

/// The process works. What waits for others is told, and no reason to start it anew.
async fn health(State(pages): State<Pages>) -> String {
    let problem = pages.waiting.problem();
    problem.map_or_else(|| "ok\n".to_owned(), |problem| format!("ok\n{problem}\n"))
}

/// Ready once everything was listed; an interrupted watch is told, but what is in memory still serves.
async fn ready(State(pages): State<Pages>) -> Response {
    if pages.index.is_synced() {
        return "ok\n".into_response();
    }
    let problem = Kind::ALL
        .iter()
        .find_map(|kind| pages.states.of(*kind).problem)
        .unwrap_or_else(|| "pods and networks are being listed".into());
    (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    for kind in Kind::ALL {
        let age = pages.states.age(kind);
        pages
            .metrics
            .watch(kind.as_str(), pages.index.count(kind), age);
    }
    pages.metrics.of_process();
    pages.waiting.age();
    let mut text = String::new();
    match encode(&mut text, &pages.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
