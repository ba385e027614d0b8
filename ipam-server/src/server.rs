//! The server: opens the store, serves over sockets that are bound already, and ends in order.

mod callers;
mod checks;
mod open;
mod services;
mod sockets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dial::files::FilesError;
use process::daemon::write_ready;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::access::policy::PolicyError;
use crate::access::token::TokenError;
use crate::api::Api;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::listen::ListenError;
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::readiness::Readiness;
use crate::seed::{SeedError, seed};
use crate::service::Service;
use crate::store::StoreError;
use callers::Callers;
use checks::{check_clock, check_folder, report_health};
use open::open;
use services::routes;
pub use sockets::Sockets;

/// How often the store's folder is checked, and a store that an earlier server has open is tried.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The names whose health is reported, beside the whole server's.
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

/// The tasks of a server. All end with it.
#[derive(Default)]
struct Tasks {
    /// Each serves the requests of one socket, and ends by itself when the server stops.
    serving: JoinSet<Result<(), ServerError>>,
    /// The others, which end by being dropped.
    keeping: JoinSet<()>,
}

/// Runs a server over its sockets until `shutdown` becomes true; then finishes what was begun.
///
/// An earlier server that has the store or a socket's place is waited for until `patience` ends.
///
/// # Errors
/// [`ServerError`] if it cannot start, or a listener fails.
pub async fn run(
    sockets: Sockets,
    config: Config,
    patience: Instant,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ServerError> {
    let (metrics, readiness) = (Arc::new(Metrics::default()), Readiness::default());
    let (callers, files) = Callers::admit(&config, &metrics).await?;
    let (sockets, addresses, metrics_listener) = sockets.split();
    let pages = Pages::new(metrics.clone(), readiness.clone());
    // Served until the very end.
    let mut pages_task = JoinSet::new();
    let serve_pages = process::pages::serve(metrics_listener, pages.clone());
    pages_task.spawn(async {
        if let Err(error) = serve_pages.await {
            tracing::error!(%error, "the HTTP pages are not served any more");
        }
    });
    let mut tasks = Tasks::default();
    tasks.keeping.spawn(files.run());

    let clock = Arc::new(SystemClock::default());
    let (ledger, folder) = tokio::select! {
        opened = open(&config, &clock, &metrics, patience) => opened?,
        _ = shutdown.wait_for(|shutdown| *shutdown) => return Ok(()),
    };
    let refused = match &config.pools {
        Some(path) => seed(&Api::new(ledger.clone()), path).await?,
        None => Vec::new(),
    };
    metrics.refused(&refused);
    let (stop, stopping) = watch::channel(false);
    let service = Service::new(ledger.clone(), stopping.clone());
    let watchers = service.watchers();
    let (reporter, routes) = routes(service)?;
    let serving = sockets::Serving {
        config: &config,
        callers,
        routes,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        stopping,
    };
    serving.over(sockets, &mut tasks).await?;
    if let Some(folder) = folder {
        tasks.keeping.spawn(check_folder(folder, readiness.clone()));
    }
    tasks
        .keeping
        .spawn(check_clock(clock, metrics, readiness.clone()));
    pages.loaded(ledger.clone(), watchers, refused);
    tasks
        .keeping
        .spawn(report_health(reporter.clone(), ledger.clone(), readiness));
    announce(&config, &addresses)?;

    let ended = tokio::select! {
        _ = shutdown.wait_for(|shutdown| *shutdown) => Ok(()),
        Some(ended) = tasks.serving.join_next() => ended.unwrap_or_else(|panic| Err(ServerError::Serve {
            what: "requests".into(),
            source: Box::new(panic),
        })),
    };
    finish(tasks, &reporter, &stop, &ledger, config.shutdown).await;
    ended
}

/// Says where the server serves: in the log, and in the file of --ready-file.
fn announce(config: &Config, addresses: &sockets::Addresses) -> Result<(), ServerError> {
    let sockets::Addresses { listen, metrics } = addresses;
    tracing::info!(addresses = ?listen, metrics, "serving");
    let Some(path) = &config.ready_file else {
        return Ok(());
    };
    let ready = json!({"listen": listen, "metrics": metrics});
    write_ready(path, &ready.to_string()).map_err(|source| ServerError::ReadyFile {
        path: path.clone(),
        source,
    })
}

/// Finishes the requests that were begun, as far as `limit` allows, and closes the store.
async fn finish(
    mut tasks: Tasks,
    reporter: &HealthReporter,
    stop: &watch::Sender<bool>,
    ledger: &Ledger,
    limit: Duration,
) {
    tracing::info!("stopping");
    // The sockets' files are removed first: no new client comes.
    tasks.keeping.shutdown().await;
    for name in SERVICES.into_iter().chain([""]) {
        reporter
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
    stop.send_replace(true);
    let served = async { while tasks.serving.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, served).await.is_err() {
        tracing::warn!("requests that were begun are cut off");
        tasks.serving.abort_all();
    }
    ledger.stop().await;
    tracing::info!("stopped");
}
