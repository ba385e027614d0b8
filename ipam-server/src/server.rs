//! The server: opens the store, binds, serves, and ends in order.

mod checks;
mod open;
mod services;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::process::daemon::write_ready;
use dial::accept::Patience;
use dial::authority::AnyAuthority;
use dial::files::{FilesError, Names};
use dial::server::ServerFiles;
use futures_util::TryStreamExt as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic_health::ServingStatus;

use crate::access::Access;
use crate::access::files::{Keeper, first_policy};
use crate::access::layer::Authorize;
use crate::access::policy::PolicyError;
use crate::access::token::{Reviewer, TokenError};
use crate::api::Api;
use crate::clock::SystemClock;
use crate::config::{Address, Config};
use crate::error::Error;
use crate::http::{self, Pages};
use crate::listen::crowd::Crowd;
use crate::listen::incoming::Source;
use crate::listen::secure::Handshakes;
use crate::listen::{Bound, ListenError, Open, bind_tcp, kept};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::seed::{SeedError, seed};
use crate::service::Service;
use crate::store::StoreError;
use checks::{check_clock, check_folder, report_health};
use open::open;
use services::{builder, routes, serve};

/// How long a connection may be silent: longer than a live peer takes to answer the keepalive.
const SILENCE: Duration = Duration::from_secs(90);
/// How much longer than --shutdown-seconds an earlier server of the same store is waited for.
const GRACE: Duration = Duration::from_secs(2);
/// How often the store's folder is checked, and a store that an earlier server has open is tried.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The names that health is told of, beside the whole server's.
const SERVICES: [&str; 4] = [
    "ipam.v1.PoolService",
    "ipam.v1.LeaseService",
    "ipam.v1.ReservationService",
    "ipam.v1.AdminService",
];

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store cannot be opened.
    #[error("opening the store")]
    Store(#[from] StoreError),
    /// What the store holds cannot be loaded.
    #[error("loading the leases")]
    Load(#[source] Error),
    /// A socket cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] FilesError),
    /// Tokens cannot be reviewed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The file of pools cannot be used.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The ready file cannot be written.
    #[error("writing --ready-file {}", .path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Serving failed, or the reflection service cannot be made.
    #[error("serving {what}")]
    Serve {
        /// What was served.
        what: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Runs a server until `shutdown` becomes true; then finishes what was begun.
///
/// An earlier server that has the store, a socket or a port is waited for, as long as --shutdown-seconds lets it take.
///
/// # Errors
/// [`ServerError`] if it cannot start, or a listener fails.
pub async fn run(config: Config, mut shutdown: watch::Receiver<bool>) -> Result<(), ServerError> {
    let patience = Instant::now() + config.shutdown + GRACE;
    let mut bound = Vec::new();
    for address in &config.listen {
        bound.push(Bound::bind(address, patience).await?);
    }
    let metrics_listener = bind_metrics(&config, patience).await?;
    let (policy, policy_files) = first_policy(config.policy.as_ref())?;
    let access = Arc::new(Access::new(config.access.clone(), policy));
    let reviewer = match config.token_review {
        true => Some(Arc::new(Reviewer::new(config.kubeconfig.as_deref()).await?)),
        false => None,
    };
    warn_of_open_doors(&config);
    let metrics_address = metrics_listener
        .local_addr()
        .map(|at| at.to_string())
        .unwrap_or_default();
    let clock = Arc::new(SystemClock::default());
    let (metrics, readiness) = (Arc::new(Metrics::default()), Readiness::default());
    let mut keeper = Keeper::new(metrics.clone());
    let tls = tls_files(&config)
        .map(|files| keeper.tls(files))
        .transpose()?;
    if let (Some(files), Some(path)) = (policy_files, config.policy.clone()) {
        keeper.policy(files, path, access.clone());
    }
    let pages = Pages::new(metrics.clone(), readiness.clone());
    let mut pages_task = JoinSet::new();
    pages_task.spawn(http::serve(metrics_listener, pages.clone()));
    let opened = tokio::select! {
        opened = open(&config, &clock, &metrics, patience) => opened?,
        _ = shutdown.wait_for(|shutdown| *shutdown) => return Ok(()),
    };
    let (ledger, folder) = opened;
    let refused = match &config.pools {
        Some(path) => seed(&Api::new(ledger.clone()), path).await?,
        None => Vec::new(),
    };
    metrics.refused(&refused);
    let (stop, stopping) = watch::channel(false);
    let service = Service::new(ledger.clone(), stopping.clone());
    let watchers = service.watchers();
    let (reporter, routes) = routes(service)?;
    let addresses: Vec<_> = bound
        .iter()
        .filter_map(|bound| bound.address().ok())
        .collect();
    let patience = Patience {
        first_request: config.first_request,
        silence: SILENCE,
    };
    let crowd = Arc::new(Crowd::new(config.connections, metrics.clone()));
    let (mut tasks, mut keepers) = (JoinSet::new(), JoinSet::new());
    keepers.spawn(keeper.run());
    for (bound, address) in bound.into_iter().zip(&addresses) {
        let authorize = Authorize {
            access: access.clone(),
            reviewer: reviewer.clone(),
            metrics: metrics.clone(),
        };
        let server = builder(&config, authorize, &metrics, &stopping);
        let open = bound.open().await?;
        let (routes, stopping, what) = (routes.clone(), stopping.clone(), address.clone());
        match open {
            Open::Tcp(listener) => {
                let (_never, newer) = mpsc::channel(1);
                let source = Source::new(
                    address,
                    listener,
                    newer,
                    patience,
                    crowd.clone(),
                    metrics.clone(),
                );
                match tls.clone() {
                    Some(tls) => {
                        let handshakes = Handshakes {
                            tls,
                            longest: config.first_request,
                            metrics: metrics.clone(),
                        };
                        let connections = handshakes.of(source.connections());
                        tasks.spawn(serve(server, connections, routes, stopping, what));
                    }
                    None => {
                        tasks.spawn(serve(server, source.connections(), routes, stopping, what));
                    }
                }
            }
            Open::Unix(listener, place) => {
                let (give, newer) = mpsc::channel(1);
                let source = Source::new(
                    address,
                    listener,
                    newer,
                    patience,
                    crowd.clone(),
                    metrics.clone(),
                );
                keepers.spawn(kept::keep(place, give, readiness.clone()));
                let connections = source.connections().map_ok(AnyAuthority::new);
                tasks.spawn(serve(server, connections, routes, stopping, what));
            }
        }
    }
    if let Some(folder) = folder {
        keepers.spawn(check_folder(folder, readiness.clone()));
    }
    keepers.spawn(check_clock(clock, metrics.clone(), readiness.clone()));
    pages.loaded(ledger.clone(), watchers, refused);
    keepers.spawn(report_health(reporter.clone(), ledger.clone(), readiness));
    tracing::info!(?addresses, metrics = metrics_address, "serving");
    if let Some(path) = &config.ready_file {
        let ready = json!({"listen": addresses, "metrics": metrics_address});
        write_ready(path, &ready.to_string()).map_err(|source| ServerError::ReadyFile {
            path: path.clone(),
            source,
        })?;
    }
    let ended = tokio::select! {
        _ = shutdown.wait_for(|shutdown| *shutdown) => Ok(()),
        Some(ended) = tasks.join_next() => ended.unwrap_or_else(|panic| Err(ServerError::Serve {
            what: "requests".into(),
            source: Box::new(panic),
        })),
    };
    tracing::info!("stopping");
    // The sockets' files are removed first: nobody comes any more.
    keepers.shutdown().await;
    for name in SERVICES.into_iter().chain([""]) {
        reporter
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
    stop.send_replace(true);
    let finish = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(config.shutdown, finish).await.is_err() {
        tracing::warn!("requests that were begun are cut off");
        tasks.abort_all();
    }
    ledger.stop().await;
    tracing::info!("stopped");
    ended
}

async fn bind_metrics(config: &Config, patience: Instant) -> Result<TcpListener, ListenError> {
    let at = config.metrics_listen;
    bind_tcp(at, patience)
        .await
        .map_err(|source| ListenError::Io {
            address: format!("http://{at} (--metrics-listen)"),
            source,
        })
}

/// The files of TLS, if there is any.
fn tls_files(config: &Config) -> Option<ServerFiles> {
    let (cert, key) = config.tls.clone()?;
    Some(ServerFiles {
        cert,
        key,
        clients: config.tls_client_ca.clone(),
        is_certificate_optional: config.token_review,
        names: Names {
            ca: "--tls-client-ca",
            cert: "--tls-cert",
            key: "--tls-key",
        },
    })
}

/// Says at every start what is open.
fn warn_of_open_doors(config: &Config) {
    let has_tcp = config.listen.iter().any(|at| matches!(at, Address::Tcp(_)));
    if has_tcp && config.access.any_client {
        tracing::warn!(
            "every client that reaches the TCP address may do everything (--insecure, --insecure-any-client); \
             use --tls-client-ca and --policy"
        );
    }
}
