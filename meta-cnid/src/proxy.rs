//! ipam.v1 for the plugins of this node, passed on to ipam-server over one connection that is always open (`link`); to several
//! servers of one store, over one connection to each (`links`).
//!
//! A call is passed on as HTTP/2 has it (head, messages, trailers), whatever its method: no message is decoded. Only
//! methods that plugins and people on a node need are let through (`allowed`).

mod allowed;
mod answer;
mod dial;
mod link;
mod links;
mod metrics;
mod upstream;

use std::io;
use std::sync::Arc;

use ::dial::authority::AnyAuthority;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::{FutureExt as _, Stream, TryStreamExt as _};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tonic::Status;
use tonic::service::Routes;

use self::answer::Answer;
use self::links::Links;
pub use self::links::{Connections, Keepers};
pub use self::metrics::Metrics;
pub use self::upstream::{Upstreams, WrongUpstream};

/// How errors call the files that authenticate ipam-server and this agent.
pub const NAMES: ::dial::files::Names = ::dial::files::Names {
    ca: "--ipam-ca of meta-cnid",
    cert: "--ipam-cert of meta-cnid",
    key: "--ipam-key of meta-cnid",
};

/// Streams that may be open at once. ipam-server takes 200 calls over one connection (hyper's default): those that end
/// by themselves must find room beside those that do not.
const STREAMS: usize = 32;

/// Passes calls on. Clones share the connections.
#[derive(Clone)]
pub struct Proxy {
    links: Links,
    metrics: Metrics,
    streams: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// A proxy, and what keeps its connections once [`serve`] runs. From when `stopping` is true, it ends.
pub fn new(
    upstreams: Upstreams,
    metrics: Metrics,
    stopping: watch::Receiver<bool>,
) -> (Proxy, Keepers) {
    let (links, keepers) = links::new(upstreams, &metrics);
    let proxy = Proxy {
        links,
        metrics,
        streams: Arc::new(Semaphore::new(STREAMS)),
        stopping,
    };
    (proxy, keepers)
}

/// Serves the connections of `incoming` until it is stopped, then finishes the calls that were begun; streams are ended,
/// for they would not end by themselves.
///
/// # Errors
/// If accepting connections fails.
pub async fn serve(
    proxy: Proxy,
    keepers: Keepers,
    incoming: impl Stream<Item = io::Result<UnixStream>>,
) -> Result<(), tonic::transport::Error> {
    let stop = stopped(proxy.stopping.clone());
    let calls = Router::new().fallback(move |request| {
        let proxy = proxy.clone();
        async move { proxy.pass(request).await }
    });
    let served = tonic::transport::Server::builder()
        .add_routes(Routes::from(calls))
        .serve_with_incoming_shutdown(incoming.map_ok(AnyAuthority::new), stop);
    tokio::select! {
        served = served => served,
        never = keepers.keep() => match never {},
    }
}

/// Ends when `stopping` becomes true, or cannot any more.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

impl Proxy {
    /// The connections to ipam-server, from now on.
    pub fn connections(&self) -> Connections {
        self.links.connections()
    }

    /// Ends once there is a connection to ipam-server, to one of several.
    pub async fn connected(&self) {
        self.links.connected().await;
    }

    async fn pass(&self, request: Request) -> Response {
        let Some(method) = allowed::method(request.uri().path()) else {
            let refusal = allowed::refusal(request.uri().path(), self.links.server());
            return self.refuse(metrics::OTHER, &refusal);
        };
        let mut open = None;
        if method.streams {
            match Arc::clone(&self.streams).try_acquire_owned() {
                Ok(permit) => open = Some((permit, stopped(self.stopping.clone()).boxed())),
                Err(_) => return self.refuse(method.name, &crowded(self.links.server())),
            }
        }
        let call = self.metrics.call(method.name);
        tracing::debug!(rpc = method.name, "passes on");
        match self.links.send(request, method.streams).await {
            Ok((answer, server)) => Answer::back(answer, call, server, open).map(Body::new),
            Err(status) => {
                call.ends(status.code());
                status.into_http()
            }
        }
    }

    fn refuse(&self, method: &'static str, status: &Status) -> Response {
        self.metrics.call(method).ends(status.code());
        status.clone().into_http()
    }
}

fn crowded(server: &str) -> Status {
    Status::resource_exhausted(format!(
        "meta-cnid passes on {STREAMS} streams at once and no more; close one, or ask ipam-server itself at {server}"
    ))
}
