//! The store at the start: its folder is made private, it is opened, and the leases are loaded.

use std::fs::{DirBuilder, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{POLL_INTERVAL, ServerError};
use crate::clock::SystemClock;
use crate::config::{Config, StoreKind};
use crate::ledger::{Ledger, Limits};
use crate::metrics::Metrics;
use crate::store::etcd::EtcdStore;
use crate::store::folder::Folder;
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::store::{Store, StoreError};

/// Opens the store and loads what it holds; also the store's folder, if it has one. A store that an earlier server has open, and
/// an etcd that does not answer, are tried until `patience` ends.
pub(super) async fn open(
    config: &Config,
    clock: &Arc<SystemClock>,
    metrics: &Arc<Metrics>,
    patience: Instant,
) -> Result<(Ledger, Option<Folder>), ServerError> {
    let mut waited = false;
    loop {
        match try_open(config, clock.clone(), metrics.clone()).await {
            Err(ServerError::Store(
                error @ (StoreError::Locked { .. } | StoreError::Unreachable { .. }),
            )) if Instant::now() < patience => {
                if !waited {
                    tracing::warn!(%error, "waiting for the store");
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
    let (path, cache) = (config.store_dir.clone(), config.store_cache_bytes);
    let (kind, etcd) = (config.store.clone(), config.etcd.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let (store, folder): (Arc<dyn Store>, _) = match (etcd, kind) {
            (Some(settings), _) => (Arc::new(EtcdStore::open(&settings)?), None),
            (None, StoreKind::Memory) => (Arc::new(MemoryStore::default()), None),
            (None, _) => {
                keep_private(&path);
                let store = SledStore::open(&path, cache)?;
                let folder = store.folder().clone();
                (Arc::new(store), Some(folder))
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
