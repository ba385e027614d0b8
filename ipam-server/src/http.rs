//! /metrics, /healthz and /readyz over plain HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ledger::{Caller, Ledger};
use crate::metrics::Metrics;

/// Connections that are served at once.
const CONNECTIONS: usize = 64;
/// How long a connection may take to ask, and may be idle between two questions.
const SILENCE: Duration = Duration::from_secs(30);

/// What the pages tell of.
#[derive(Clone)]
pub struct Pages {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The ledger.
    pub ledger: Ledger,
    /// Watches that are open.
    pub watchers: Arc<AtomicI64>,
}

/// Serves the pages until it is dropped.
pub async fn serve(listener: TcpListener, pages: Pages) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
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
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".into());
        }
        match request.uri().path() {
            "/healthz" => page(StatusCode::OK, "ok\n".into()),
            "/readyz" => match self.ledger.health().borrow().as_ref() {
                Ok(()) => page(StatusCode::OK, "ok\n".into()),
                Err(error) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            },
            "/metrics" => match self.ledger.list_pools(&Caller::default()).await {
                Ok(pools) => {
                    let revision = *self.ledger.revision().borrow();
                    page(
                        StatusCode::OK,
                        self.metrics.text(&pools, revision, &self.watchers),
                    )
                }
                Err(error) => page(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            },
            _ => page(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n".into(),
            ),
        }
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
