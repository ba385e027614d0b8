//! The server: opens the store, binds, serves, and ends in order.

use std::fs::{DirBuilder, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dial::accept::Patience;
use dial::authority::AnyAuthority;
use dial::files::{FilesError, Names};
use dial::server::ServerFiles;
use futures_util::{Stream, TryStreamExt as _};
use proto::ipam::v1::admin_service_server::AdminServiceServer;
use proto::ipam::v1::lease_service_server::LeaseServiceServer;
use proto::ipam::v1::pool_service_server::PoolServiceServer;
use proto::ipam::v1::reservation_service_server::ReservationServiceServer;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};

use crate::access::Access;
use crate::access::files::{Keeper, first_policy};
use crate::access::layer::Authorize;
use crate::access::policy::PolicyError;
use crate::access::token::{Reviewer, TokenError};
use crate::clock::SystemClock;
use crate::config::{Address, Config, StoreKind};
use crate::ending::EndStreams;
use crate::error::Error;
use crate::http::{self, Pages};
use crate::ledger::{Ledger, Limits};
use crate::listen::crowd::Crowd;
use crate::listen::incoming::Source;
use crate::listen::secure::Handshakes;
use crate::listen::{Bound, ListenError, Open, bind_tcp, kept};
use crate::measure::Measure;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::seed::{SeedError, seed};
use crate::service::Service;
use crate::store::folder::{Folder, InFolder};
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::store::{Store, StoreError};

/// The largest message that is taken: an import of 1000 items fits.
const MESSAGE_BYTES: usize = 4 << 20;
/// How often a silent connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long a connection may be silent: longer than a live peer takes to answer the keepalive.
const SILENCE: Duration = Duration::from_secs(90);
/// How much longer than --shutdown-seconds an earlier server of the same store is waited for.
const GRACE: Duration = Duration::from_secs(2);
/// From when on a clock that is behind is shown: less is the work of a time service.
const BEHIND: Duration = Duration::from_secs(60);
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
        Some(path) => seed(&ledger, path).await?,
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
        write_ready(path, &ready.to_string())?;
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

/// Opens the store and loads what it holds; also the store's folder, if it has one. A store that an earlier server has open
/// is tried until `patience` ends.
async fn open(
    config: &Config,
    clock: &Arc<SystemClock>,
    metrics: &Arc<Metrics>,
    patience: Instant,
) -> Result<(Ledger, Option<Folder>), ServerError> {
    let mut waited = false;
    loop {
        match try_open(config, clock.clone(), metrics.clone()).await {
            Err(ServerError::Store(error @ StoreError::Locked { .. }))
                if Instant::now() < patience =>
            {
                if !waited {
                    tracing::warn!(%error, "waiting for the end of the server that has the store open");
                }
                waited = true;
                tokio::time::sleep(POLL_INTERVAL / 10).await;
            }
            opened => return opened,
        }
    }
}

async fn try_open(
    config: &Config,
    clock: Arc<SystemClock>,
    metrics: Arc<Metrics>,
) -> Result<(Ledger, Option<Folder>), ServerError> {
    let limits = Limits {
        history_events: config.history_events,
        restore_wait: config.restore_wait,
        ..Limits::default()
    };
    let (kind, path, cache) = (
        config.store,
        config.store_dir.clone(),
        config.store_cache_bytes,
    );
    let opened = tokio::task::spawn_blocking(move || {
        let (store, folder): (Arc<dyn Store>, _) = match kind {
            StoreKind::Memory => (Arc::new(MemoryStore::default()), None),
            StoreKind::Sled => {
                keep_private(&path);
                let store = Arc::new(SledStore::open(&path, cache)?);
                let folder = Folder::of(&path);
                let guarded = InFolder::new(store, folder.clone());
                (Arc::new(guarded), Some(folder))
            }
        };
        let ledger = Ledger::start(store, clock, limits, Some(metrics));
        Ok((ledger.map_err(ServerError::Load)?, folder))
    });
    opened.await.unwrap_or_else(|panic| {
        Err(ServerError::Serve {
            what: "the store".into(),
            source: Box::new(panic),
        })
    })
}

/// Shows when the clock of the machine is behind the server's time.
async fn check_clock(clock: Arc<SystemClock>, metrics: Arc<Metrics>, readiness: Readiness) {
    let mut was_behind = false;
    loop {
        let behind = clock.behind();
        metrics.clock_behind(behind);
        let is_behind = behind >= BEHIND;
        let seconds = behind.as_secs();
        if is_behind && !was_behind {
            tracing::error!(
                seconds,
                "the clock of this machine is behind the time of the store: leases end by the time that passes, and their \
                 times are ahead of the clock; correct the clock"
            );
        } else if was_behind && !is_behind {
            tracing::info!("the clock of this machine is right again");
        }
        was_behind = is_behind;
        let note = is_behind.then(|| {
            format!("the clock of this machine is {seconds} s behind the time of the store; correct the clock")
        });
        readiness.set_note("clock", note);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Shows by readiness when somebody removes the store's folder.
async fn check_folder(folder: Folder, readiness: Readiness) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let checked = folder.clone();
        match tokio::task::spawn_blocking(move || checked.check()).await {
            Ok(Err(StoreError::Io { path, source })) => {
                readiness.report("store", format!("{}: {source}", path.display()));
            }
            Ok(_) => readiness.solved("store"),
            Err(panic) => tracing::error!(%panic, "the store's folder could not be checked"),
        }
    }
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

/// Makes the store's folder one that only its owner enters, and its files ones that only its owner reads: also those of a
/// store that an earlier version made. Where that cannot be done, opening the store says why.
fn keep_private(folder: &Path) {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    if let Err(error) = made.and_then(|()| shut(folder)) {
        let folder = folder.display();
        tracing::warn!(%folder, %error, "the store's folder may be open to other users");
    }
}

/// Takes the rights of others from a folder, which may be behind a link, and from the files in it that are a store's. What
/// else is in it keeps its rights; nobody else enters the folder any more.
fn shut(folder: &Path) -> std::io::Result<()> {
    let folder = File::open(folder)?;
    let limit = |file: &File| {
        let mode = file.metadata()?.permissions().mode();
        match mode & 0o077 {
            0 => Ok(()),
            others => file.set_permissions(PermissionsExt::from_mode(mode & 0o7777 & !others)),
        }
    };
    limit(&folder)?;
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if !entry.file_type()?.is_symlink() && crate::store::is_own_file(&name.to_string_lossy()) {
            limit(&File::open(entry.path())?)?;
        }
    }
    Ok(())
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

/// All services, health and reflection among them.
fn routes(service: Service) -> Result<(HealthReporter, Routes), ServerError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::IPAM_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |source| ServerError::Serve {
        what: "reflection".into(),
        source: Box::new(source),
    };
    let routes = Routes::new(health)
        .add_service(reflection().build_v1().map_err(failed)?)
        // Python's client speaks only this one.
        .add_service(reflection().build_v1alpha().map_err(failed)?)
        .add_service(
            PoolServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES),
        )
        .add_service(
            LeaseServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES),
        )
        .add_service(
            ReservationServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES),
        )
        .add_service(AdminServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES));
    Ok((reporter, routes.prepare()))
}

type Layers = Stack<Authorize, Stack<Measure, Stack<EndStreams, Identity>>>;

fn builder(
    config: &Config,
    authorize: Authorize,
    metrics: &Arc<Metrics>,
    stopping: &watch::Receiver<bool>,
) -> Server<Layers> {
    let ends = EndStreams(stopping.clone());
    Server::builder()
        .concurrency_limit_per_connection(config.max_concurrent_per_connection)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(ends)
        .layer(Measure(metrics.clone()))
        // Behind the measure, so that refusals are measured, too.
        .layer(authorize)
}

async fn serve<Io>(
    mut server: Server<Layers>,
    connections: impl Stream<Item = std::io::Result<Io>> + Send + 'static,
    routes: Routes,
    mut stopping: watch::Receiver<bool>,
    what: String,
) -> Result<(), ServerError>
where
    Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let stop = async move {
        // A sender that is gone stops as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let router = server.add_routes(routes);
    let served = router.serve_with_incoming_shutdown(connections, stop).await;
    served.map_err(|source| ServerError::Serve {
        what,
        source: Box::new(source),
    })
}

/// Reports of all services whether they are of use: changes can be written, and the server is reachable.
async fn report_health(reporter: HealthReporter, ledger: Ledger, readiness: Readiness) {
    let (mut health, mut problems) = (ledger.health(), readiness.problems());
    loop {
        let writable = health.borrow_and_update().is_ok();
        let status = match writable && problems.borrow_and_update().is_empty() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in SERVICES.into_iter().chain([""]) {
            reporter.set_service_status(name, status).await;
        }
        let changed = tokio::select! {
            changed = health.changed() => changed,
            changed = problems.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Whoever waits for the file sees it whole.
fn write_ready(path: &Path, text: &str) -> Result<(), ServerError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|source| ServerError::ReadyFile {
            path: path.to_owned(),
            source,
        })
}
