//! The sockets of a server: bound before anything else, reachable once the store is open, each served by a task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dial::authority::AnyAuthority;
use futures_util::TryStreamExt as _;
use process::accept::Patience;
use process::socket::Published;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;

use super::callers::Callers;
use super::services::{builder, serve};
use super::{ServerError, Tasks};
use crate::config::Config;
use crate::listen::crowd::Crowd;
use crate::listen::incoming::Source;
use crate::listen::secure::Handshakes;
use crate::listen::{Bound, ListenError, Open, bind_tcp, kept};
use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// How long a connection may be silent: longer than a live peer takes to answer the keepalive.
const SILENCE: Duration = Duration::from_secs(90);

/// The sockets of a server, bound, and its pages' one.
#[derive(Debug)]
pub struct Sockets {
    bound: Vec<(Bound, String)>,
    metrics: TcpListener,
}

/// Where a server serves, as clients name it; ports are the real ones.
pub(super) struct Addresses {
    pub(super) listen: Vec<String>,
    pub(super) metrics: String,
}

impl Sockets {
    /// Binds all addresses of a configuration; a port that another server has is waited for until `patience` ends.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(config: &Config, patience: Instant) -> Result<Sockets, ListenError> {
        let io = |address: String| |source| ListenError::Io { address, source };
        let mut bound = Vec::new();
        for address in &config.listen {
            let socket = Bound::bind(address, patience).await?;
            let name = socket.address().map_err(io(format!("{address:?}")))?;
            bound.push((socket, name));
        }
        let at = config.metrics_listen;
        let metrics = bind_tcp(at, patience).await;
        let metrics = metrics.map_err(io(format!("http://{at} (--metrics-listen)")))?;
        Ok(Sockets { bound, metrics })
    }

    /// The sockets for requests, all addresses, and the socket for the pages.
    pub(super) fn split(self) -> (Vec<(Bound, String)>, Addresses, TcpListener) {
        let metrics = self.metrics.local_addr();
        let addresses = Addresses {
            listen: self.bound.iter().map(|(_, name)| name.clone()).collect(),
            metrics: metrics.map(|at| at.to_string()).unwrap_or_default(),
        };
        (self.bound, addresses, self.metrics)
    }
}

/// What serves the requests of all sockets.
pub(super) struct Serving<'a> {
    pub(super) config: &'a Config,
    pub(super) callers: Callers,
    pub(super) routes: Routes,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    /// True from when the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Serving<'_> {
    /// Makes sockets reachable, and serves each by a task.
    ///
    /// # Errors
    /// [`ServerError::Listen`] if one cannot be made reachable.
    pub(super) async fn over(
        &self,
        sockets: Vec<(Bound, String)>,
        tasks: &mut Tasks,
    ) -> Result<(), ServerError> {
        let crowd = Arc::new(Crowd::new(self.config.connections, self.metrics.clone()));
        for (bound, address) in sockets {
            match bound.open().await? {
                Open::Tcp(listener) => self.tcp(listener, address, &crowd, tasks),
                Open::Unix(listener, published) => {
                    self.unix(listener, published, address, &crowd, tasks);
                }
            }
        }
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience {
            first_request: self.config.first_request,
            silence: SILENCE,
        }
    }

    fn tcp(&self, listener: TcpListener, address: String, crowd: &Arc<Crowd>, tasks: &mut Tasks) {
        let (_never, newer) = mpsc::channel(1);
        let source = Source::new(&address, listener, newer, self.patience(), crowd.clone());
        let connections = source.connections();
        let authorize = self.callers.layer(&self.metrics);
        let server = builder(self.config, authorize, &self.metrics, &self.stopping);
        let (routes, stopping) = (self.routes.clone(), self.stopping.clone());
        match self.callers.tls.clone() {
            Some(tls) => {
                let handshakes = Handshakes {
                    tls,
                    longest: self.config.first_request,
                    metrics: self.metrics.clone(),
                };
                let connections = handshakes.of(connections);
                let serving = serve(server, connections, routes, stopping, address);
                tasks.serving.spawn(serving);
            }
            None => {
                let serving = serve(server, connections, routes, stopping, address);
                tasks.serving.spawn(serving);
            }
        }
    }

    fn unix(
        &self,
        listener: UnixListener,
        published: Published,
        address: String,
        crowd: &Arc<Crowd>,
        tasks: &mut Tasks,
    ) {
        let (replace, newer) = mpsc::channel(1);
        let source = Source::new(&address, listener, newer, self.patience(), crowd.clone());
        let connections = source.connections().map_ok(AnyAuthority::new);
        let authorize = self.callers.layer(&self.metrics);
        let server = builder(self.config, authorize, &self.metrics, &self.stopping);
        let (routes, stopping) = (self.routes.clone(), self.stopping.clone());
        let keep = kept::keep(published, replace, self.readiness.clone());
        tasks.keeping.spawn(keep);
        let serving = serve(server, connections, routes, stopping, address);
        tasks.serving.spawn(serving);
    }
}
