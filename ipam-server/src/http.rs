//! /metrics, /healthz and /readyz over plain HTTP, also while the leases are still being loaded.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dial::accept::{Backoff, Guarded, Patience};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipam_core::allocator::restore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::ledger::{Caller, Ledger};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::seed::Refused;

/// Connections that are served at once.
const CONNECTIONS: usize = 64;
/// How long a connection may take to ask, and may be idle between two questions.
const SILENCE: Duration = Duration::from_secs(30);
/// For a connection that asks again and again, and for one that does not read its answer.
const PATIENCE: Patience = Patience {
    first_request: LIFETIME,
    silence: SILENCE,
};
/// The longest life of a connection: a client connects again.
const LIFETIME: Duration = Duration::from_secs(600);
/// The form of /metrics; without its name Prometheus 3 refuses the text.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// The form of everything else.
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What the pages tell of.
#[derive(Clone)]
pub struct Pages {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    loaded: Arc<OnceLock<Loaded>>,
}

/// What is there once the leases are.
struct Loaded {
    ledger: Ledger,
    /// Watches that are open.
    watchers: Arc<AtomicI64>,
    /// Pools of the file that are not in force.
    refused: Vec<Refused>,
}

/// Serves the pages until it is dropped.
pub async fn serve(listener: TcpListener, pages: Pages) {
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::new("--metrics-listen");
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pages.metrics.accept_failed();
                backoff.failed(&error).await;
                continue;
            }
        };
        backoff.succeeded();
        if connections.len() >= CONNECTIONS {
            continue;
        }
        let pages = pages.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let pages = pages.clone();
                async move { Ok::<_, Infallible>(pages.answer(&request).await) }
            });
            let mut connection = hyper::server::conn::http1::Builder::new();
            // Who says nothing must not keep a place for ever.
            connection
                .timer(TokioTimer::new())
                .header_read_timeout(SILENCE);
            // Also who asks and does not read the answer.
            let stream = Guarded::new(stream, PATIENCE);
            if let Err(error) = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await
            {
                tracing::debug!(%error, "a connection for metrics ended");
            }
        });
    }
}

impl Pages {
    /// The pages of a server that has not loaded its leases yet.
    pub fn new(metrics: Arc<Metrics>, readiness: Readiness) -> Pages {
        Pages {
            metrics,
            readiness,
            loaded: Arc::default(),
        }
    }

    /// From now on the server is ready.
    pub fn loaded(&self, ledger: Ledger, watchers: Arc<AtomicI64>, refused: Vec<Refused>) {
        // Only the first time counts.
        let _ = self.loaded.set(Loaded {
            ledger,
            watchers,
            refused,
        });
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".into());
        }
        match request.uri().path() {
            "/healthz" => page(StatusCode::OK, "ok\n".into()),
            "/readyz" => match self.ready() {
                Ok(details) => page(StatusCode::OK, format!("ok\n{details}")),
                Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => match self.metrics().await {
                Ok(text) => typed(StatusCode::OK, OPEN_METRICS, text),
                Err(error) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            },
            _ => page(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n".into(),
            ),
        }
    }

    /// Lines about what the server serves without.
    fn ready(&self) -> Result<String, String> {
        let loaded = self
            .loaded
            .get()
            .ok_or_else(|| "the leases are being loaded".to_owned())?;
        let health = loaded.ledger.health();
        let health = health.borrow();
        health.as_ref().copied().map_err(ToString::to_string)?;
        let problems = self.readiness.problems();
        let problems = problems.borrow();
        if !problems.is_empty() {
            let problems: Vec<_> = problems.values().map(String::as_str).collect();
            return Err(problems.join("\n"));
        }
        let refused = loaded.refused.iter().map(|pool| format!("{pool}\n"));
        let mut details: String = refused.collect();
        for note in self.readiness.notes() {
            details.push_str(&format!("{note}\n"));
        }
        let origin = loaded.ledger.origin();
        let origin = origin.borrow();
        if !origin.awaited.is_empty() {
            let nodes = restore::names(&origin);
            details.push_str("the store was restored: no new lease before these nodes have reported what they hold, ");
            details.push_str(&format!("or the wait is over: {nodes}\n"));
        }
        Ok(details)
    }

    async fn metrics(&self) -> Result<String, Error> {
        let Some(Loaded {
            ledger, watchers, ..
        }) = self.loaded.get()
        else {
            return Ok(self.metrics.text(&[], 0, 0));
        };
        let pools = ledger.list_pools(&Caller::default()).await?;
        self.metrics.awaited(ledger.origin().borrow().awaited.len());
        let revision = *ledger.revision().borrow();
        let watchers = watchers.load(Ordering::Relaxed);
        Ok(self.metrics.text(&pools, revision, watchers))
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    typed(status, PLAIN, text)
}

fn typed(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
