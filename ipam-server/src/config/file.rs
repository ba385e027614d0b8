//! The file of ipam-server's settings.

use std::path::{Path, PathBuf};

use process::daemon::LogFormat;
use process::yaml;
use serde::Deserialize;

use super::{ConfigError, StoreKind};

/// The file of --config: any of the flags.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) listen: Vec<String>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_client_ca: Option<PathBuf>,
    pub(super) policy: Option<PathBuf>,
    pub(super) token_review: bool,
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) node_name: Option<String>,
    pub(super) unix_operator: bool,
    pub(super) insecure_any_client: bool,
    pub(super) insecure: bool,
    pub(super) store: Option<StoreKind>,
    pub(super) etcd_ca: Option<PathBuf>,
    pub(super) etcd_cert: Option<PathBuf>,
    pub(super) etcd_key: Option<PathBuf>,
    pub(super) etcd_user: Option<String>,
    pub(super) etcd_password_file: Option<PathBuf>,
    pub(super) store_dir: Option<PathBuf>,
    pub(super) store_cache_bytes: Option<u64>,
    pub(super) pools: Option<PathBuf>,
    pub(super) metrics_listen: Option<String>,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_level: Option<String>,
    pub(super) history_events: Option<u64>,
    pub(super) max_concurrent_per_connection: Option<usize>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_connections_per_peer: Option<usize>,
    pub(super) restore_wait_seconds: Option<u64>,
    pub(super) first_request_seconds: Option<u64>,
    pub(super) shutdown_seconds: Option<u64>,
}

/// Reads it.
pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    yaml::read(&text).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}
