//! The agent of a node: knows pods and networks before they are asked for, and reports what was done. It runs no plugin.
//!
//! [`run`] is the one place where its parts are wired: [`watch`] keeps [`index`] as the API server ([`api`]) has it,
//! [`service`] answers from it over [`process::socket`], [`events`] posts behind the answers, `pages` shows [`metrics`]. Leases need
//! none of these: [`proxy`] passes them on, `held` reports those of this node's records, [`releases`] delivers what waits. What
//! meta-cni did comes from its journal: `operations` counts it, [`traces`] sends it on. All are tasks of `parts`.

mod accepted;
pub mod api;
pub mod config;
pub mod cri;
mod deletions;
pub mod events;
mod held;
pub mod index;
pub mod metrics;
mod missing;
mod operations;
mod orphans;
mod pages;
mod parts;
mod pauses;
pub mod proxy;
pub mod releases;
mod repair;
mod serve;
pub mod service;
mod taint;
mod tasks;
pub mod traces;
pub mod watch;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use meta_cni::cluster::ClusterError;
use meta_cni::cluster::api::Source;
use meta_cni::device::DeviceSource;
use meta_cni::host::host_name;
use process::daemon::write_ready;
use process::socket::{SocketError, Unpublished};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::{oneshot, watch as signal};
use tokio::task::JoinHandle;

use self::api::Api;
use self::config::Arguments;
use self::deletions::Failing;
use self::events::Events;
use self::index::Index;
use self::metrics::Metrics;
use self::missing::Missing;
use self::pages::Pages;
use self::parts::{Ended, Parts, blocking, ended};
use self::proxy::WrongUpstream;
use self::releases::Waiting;
use self::service::Service;
use self::traces::WrongEndpoint;
use self::watch::States;

pub use self::serve::serve;

/// Why an agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The flags do not say where ipam-server is.
    #[error(transparent)]
    Upstream(#[from] WrongUpstream),
    /// The flags do not say where the collector of traces is.
    #[error(transparent)]
    Endpoint(#[from] WrongEndpoint),
    /// The API server's address or our credentials cannot be had.
    #[error("reaching the API server as --kubeconfig, or else the pod's service account, says")]
    Api(#[source] ClusterError),
    /// The host's name is the pod's, or may be.
    #[error(
        "--node-name is missing: in a pod, give it spec.nodeName (as META_CNID_NODE_NAME, by the downward API)"
    )]
    NodeName,
    /// The host has no name that a node can have.
    #[error("the host's name is not Unicode; name the node with --node-name")]
    HostName,
    /// A socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The address for metrics cannot be listened on.
    #[error("listening on {address} (--metrics-listen)")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The ready file cannot be written.
    #[error("writing {} (--ready-file)", .path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A part ended by itself.
    #[error("{part} ended")]
    Ended {
        /// Which.
        part: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How long no call must be in flight before an agent ends: the last answer is on its way then.
const QUIET: Duration = Duration::from_millis(100);

/// Runs an agent until `shutdown` becomes true; then finishes the calls that were begun.
///
/// # Errors
/// [`AgentError`] if it cannot start, or a part of it fails.
pub async fn run(
    arguments: Arguments,
    mut shutdown: signal::Receiver<bool>,
) -> Result<(), AgentError> {
    let (mut agent, socket) = Agent::wire(&arguments).await?;
    let result = tokio::select! {
        _ = shutdown.wait_for(|shutdown| *shutdown) => Ok(()),
        ended = agent.serve(socket, &arguments) => ended,
    };
    tracing::info!("stopping");
    agent.finish(arguments.shutdown_seconds).await;
    result
}

/// An agent at work.
struct Agent {
    service: Service,
    parts: Parts,
    /// Where the pages are.
    pages: String,
    /// What is passed on, if anything is.
    passed_on: Option<proxy::Metrics>,
    /// Asks those who serve to stop.
    stop: signal::Sender<bool>,
    /// Posts Events, until no sender is left.
    posts: JoinHandle<()>,
    close: oneshot::Sender<()>,
}

impl Agent {
    /// Starts everything but answering meta-cni.
    async fn wire(arguments: &Arguments) -> Result<(Agent, Unpublished), AgentError> {
        let upstreams = arguments.upstreams()?;
        let node = node_name(arguments)?;
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let socket = Unpublished::bind(&arguments.socket).await?;
        let pages_at = self::pages::Binding::bind(arguments.metrics_listen).await;
        let pages_at = pages_at.map_err(|source| AgentError::Metrics {
            address: arguments.metrics_listen,
            source,
        })?;
        let (index, states) = (Arc::new(Index::default()), States::default());
        let api = Api::open(source(arguments), metrics.clone(), states.clone());
        let api = api.map_err(AgentError::Api)?;
        let (events, posted) = Events::new(metrics.clone());

        let (stop, stopping) = signal::channel(false);
        let mut parts = Parts::default();
        let mut passed_on = None;
        if let Some(upstreams) = upstreams {
            let counts = proxy::Metrics::register(&mut registry);
            let socket = Unpublished::bind(&arguments.ipam_socket).await?;
            let proxy = proxy::new(upstreams, counts.clone(), stopping);
            tasks::start_reports(&mut parts, arguments, &node, &proxy.0);
            tasks::start_proxy(&mut parts, socket, proxy);
            passed_on = Some(counts);
        }
        let waiting = Waiting::register(&mut registry);
        tasks::start_deliveries(&mut parts, arguments, waiting.clone());
        tasks::count_deletions(&mut parts, arguments, Failing::register(&mut registry));
        tasks::count_operations(&mut parts, arguments, &node, &mut registry)?;
        tasks::start_watches(&mut parts, &api, &node, &index, &states);
        tasks::start_untainting(&mut parts, &api, &node, arguments);
        let (close, closing) = oneshot::channel();
        let posting = events::run(
            posted,
            api.clone(),
            Arc::clone(&node),
            metrics.clone(),
            closing,
        );
        let posts = tokio::spawn(posting);
        let service = Service {
            node,
            index: Arc::clone(&index),
            states: states.clone(),
            api,
            events,
            devices: DeviceSource {
                kubelet_dir: arguments.kubelet_dir.clone(),
            },
            metrics: metrics.clone(),
            missing: Missing::default(),
            ipam_server: arguments.ipam_server.clone().unwrap_or_default().into(),
        };
        let pages_address = pages_at.address();
        let pages = Pages {
            registry: Arc::new(registry),
            metrics,
            index,
            states,
            waiting,
        };
        parts.work(
            async move { ended("the HTTP pages", self::pages::serve(pages_at, pages).await) },
        );
        let agent = Agent {
            service,
            parts,
            pages: pages_address,
            passed_on,
            stop,
            posts,
            close,
        };
        Ok((agent, socket))
    }

    /// Answers meta-cni once everything is known; ends only by failing.
    async fn serve(&mut self, socket: Unpublished, arguments: &Arguments) -> Ended {
        tokio::select! {
            () = self.service.index.synced() => {}
            ended = self.parts.first_to_end() => return ended,
        }
        let (socket, listener) = socket.publish()?;
        self.parts
            .work(async move { Err(socket.keep_published().await.into()) });
        let answering = tasks::answer(self.service.clone(), listener, self.stop.subscribe());
        self.parts.serve(answering);
        tasks::announce_socket(arguments);
        let state_dir = arguments.state_dir.clone();
        blocking(move || meta_cni::sweep::temporaries(&state_dir, SystemTime::now())).await;
        tasks::start_repairs(&mut self.parts, arguments, &self.service);
        tracing::info!(socket = %arguments.socket.display(), metrics = self.pages, "serving");
        if let Some(path) = &arguments.ready_file {
            let ready = json!({"socket": arguments.socket, "metrics": self.pages});
            write_ready(path, &ready.to_string()).map_err(|source| AgentError::ReadyFile {
                path: path.clone(),
                source,
            })?;
        }
        self.parts.first_to_end().await
    }

    /// Finishes the calls that were begun, and posts the Events that wait, within `limit`.
    async fn finish(mut self, limit: Duration) {
        // The places of the sockets go first: nobody comes any more.
        self.parts.stop_work().await;
        self.stop.send_replace(true);
        let (metrics, passed_on) = (&self.service.metrics, &self.passed_on);
        let in_flight = || {
            let passed_on = passed_on.as_ref().map(proxy::Metrics::calls_in_flight);
            metrics.calls_in_flight() + passed_on.unwrap_or_default()
        };
        let finish = async {
            tokio::select! {
                () = self.parts.served() => {}
                () = quiet(in_flight) => {}
            }
            drop(self.close);
            self.posts.await
        };
        match tokio::time::timeout(limit, finish).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "Events that waited are lost"),
            Err(_) => tracing::warn!("calls that were begun are cut off"),
        }
    }
}

/// Waits until the calls that were begun are answered. Not for their connections to be closed: a meta-cni that waits for
/// its plugins, and perhaps for the next agent, does not hear that this one ends.
async fn quiet(in_flight: impl Fn() -> u64) {
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        tokio::time::sleep(QUIET / 10).await;
        if in_flight() > 0 {
            since = Instant::now();
        }
    }
}

fn node_name(arguments: &Arguments) -> Result<Arc<str>, AgentError> {
    match (&arguments.node_name, &arguments.kubeconfig) {
        (Some(name), _) => Ok(name.as_str().into()),
        (None, Some(_)) => Ok(host_name().ok_or(AgentError::HostName)?.into()),
        (None, None) => Err(AgentError::NodeName),
    }
}

fn source(arguments: &Arguments) -> Source {
    match &arguments.kubeconfig {
        Some(path) => Source::Kubeconfig(path.clone()),
        None => Source::InCluster,
    }
}
