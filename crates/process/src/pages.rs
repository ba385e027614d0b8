//! /metrics, /healthz and /readyz over plain HTTP: what Prometheus and the kubelet ask every daemon.

use std::future::{Future, IntoFuture as _};
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::accept::{Backoff, Guarded, Patience};

/// The media type of the text that Prometheus reads (OpenMetrics 1.0); without it Prometheus 3 refuses the text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections that are served at once.
const CONNECTIONS: usize = 64;
/// How long a connection may be silent, and may live: its client connects again. Prometheus asks once a minute at most.
const PATIENCE: Patience = Patience {
    first_request: Duration::from_secs(600),
    silence: Duration::from_secs(90),
};

/// What the pages of a daemon say. The texts are lines, each with its end.
pub trait Pages: Clone + Send + Sync + 'static {
    /// /healthz: the process works. What needs a person, and no restart, is returned.
    fn health(&self) -> String;

    /// /readyz: what the daemon serves without.
    ///
    /// # Errors
    /// Why it does not serve.
    fn ready(&self) -> Result<String, String>;

    /// /metrics, in the text format of OpenMetrics.
    ///
    /// # Errors
    /// Why there are none now.
    fn metrics(&self) -> impl Future<Output = Result<String, String>> + Send;
}

/// Serves the pages until it is dropped.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, pages: impl Pages) -> io::Result<()> {
    let listener = Limited {
        listener,
        places: Arc::new(Semaphore::new(CONNECTIONS)),
        backoff: Backoff::new("--metrics-listen"),
    };
    axum::serve(listener, router(pages)).into_future().await
}

/// Accepts as file descriptors allow; connections above the limit are closed at once, and those that are silent, or old.
struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
    backoff: Backoff,
}

impl Listener for Limited {
    type Io = Guarded<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded<TcpStream>, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    self.backoff.succeeded();
                    if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                        return (Guarded::new(stream, PATIENCE).holding(place), from);
                    }
                }
                Err(error) => self.backoff.failed(&error).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn router<P: Pages>(pages: P) -> Router {
    Router::new()
        .route("/healthz", get(health::<P>))
        .route("/readyz", get(ready::<P>))
        .route("/metrics", get(metrics::<P>))
        .fallback(async || {
            let text = "the pages are /metrics, /healthz and /readyz\n";
            (StatusCode::NOT_FOUND, text)
        })
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "use GET\n"))
        .with_state(pages)
}

async fn health<P: Pages>(State(pages): State<P>) -> String {
    format!("ok\n{}", pages.health())
}

async fn ready<P: Pages>(State(pages): State<P>) -> (StatusCode, String) {
    match pages.ready() {
        Ok(details) => (StatusCode::OK, format!("ok\n{details}")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics<P: Pages>(State(pages): State<P>) -> Response {
    match pages.metrics().await {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[derive(Clone)]
    struct Fixed;

    impl Pages for Fixed {
        fn health(&self) -> String {
            "3 releases wait\n".into()
        }

        fn ready(&self) -> Result<String, String> {
            Err("the leases are being loaded\n".into())
        }

        async fn metrics(&self) -> Result<String, String> {
            Ok("# EOF\n".into())
        }
    }

    async fn ask(at: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_page_has_its_status_its_type_and_its_lines() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Fixed));
        for (request, status, kind, body) in [
            (
                "GET /healthz",
                "200",
                "text/plain; charset=utf-8",
                "ok\n3 releases wait\n",
            ),
            (
                "GET /readyz",
                "503",
                "text/plain; charset=utf-8",
                "the leases are being loaded\n",
            ),
            ("GET /metrics", "200", OPENMETRICS, "# EOF\n"),
            (
                "GET /",
                "404",
                "text/plain; charset=utf-8",
                "the pages are /metrics, /healthz and /readyz\n",
            ),
            (
                "POST /metrics",
                "405",
                "text/plain; charset=utf-8",
                "use GET\n",
            ),
        ] {
            let answer = ask(at, request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}: {answer}"
            );
            assert!(
                answer.contains(&format!("content-type: {kind}\r\n")),
                "{request}: {answer}"
            );
            assert!(
                answer.ends_with(&format!("\r\n\r\n{body}")),
                "{request}: {answer}"
            );
        }
        serving.abort();
    }

    #[tokio::test]
    async fn a_connection_above_the_limit_is_closed_and_one_that_ends_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Fixed));
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(TcpStream::connect(at).await.unwrap());
        }
        let mut above = TcpStream::connect(at).await.unwrap();
        assert_eq!(above.read(&mut [0; 1]).await.unwrap(), 0);
        drop(held);
        // The server notices the end of each connection on its own.
        while TcpStream::connect(at).await.is_err() || is_closed(at).await {
            tokio::task::yield_now().await;
        }
        assert!(ask(at, "GET /metrics").await.ends_with("# EOF\n"));
        serving.abort();
    }

    /// Whether the server closes a new connection without an answer.
    async fn is_closed(at: SocketAddr) -> bool {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer.is_empty()
    }
}
