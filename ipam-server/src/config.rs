//! Settings of an ipam-server: flags, then the environment, then a file, then defaults.

mod arguments;
mod etcd;
mod file;

use std::path::PathBuf;
use std::time::Duration;

use process::daemon::LogFormat;

use crate::access::Setup;
use crate::listen::Address;
use crate::listen::crowd::Most;
pub use crate::store::StoreKind;
use crate::store::etcd::EtcdSettings;
pub use arguments::{Arguments, Command};
pub use etcd::EtcdOptions;

/// Everything settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Address>,
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Authorities of clients.
    pub tls_client_ca: Option<PathBuf>,
    /// Who has which roles.
    pub policy: Option<PathBuf>,
    /// Whether tokens are read.
    pub token_review: bool,
    /// The API server that reviews them; none: that of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// What callers are that no rule is about.
    pub access: Setup,
    /// What keeps the leases.
    pub store: StoreKind,
    /// How etcd is reached.
    pub etcd: Option<EtcdSettings>,
    /// The folder of sled.
    pub store_dir: PathBuf,
    /// What it may keep in memory, in bytes.
    pub store_cache_bytes: u64,
    /// Pools to make.
    pub pools: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics_listen: std::net::SocketAddr,
    /// Where to say that the server serves.
    pub ready_file: Option<PathBuf>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Level of the log.
    pub log_level: tracing::level_filters::LevelFilter,
    /// Changes that the history keeps.
    pub history_events: u64,
    /// Requests of one connection at once.
    pub max_concurrent_per_connection: usize,
    /// Connections at once.
    pub connections: Most,
    /// How long a restored store waits for the reports of nodes.
    pub restore_wait: Duration,
    /// How long a connection may stay without a first request.
    pub first_request: Duration,
    /// Time to finish.
    pub shutdown: Duration,
}

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading {} (--config); name a file that exists and that ipam-server may read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The setting and what is wrong with it.
        problem: String,
    },
    /// A setting is wrong.
    #[error("--{flag}{}{value}: {problem}", if .value.is_empty() { "" } else { " " })]
    Setting {
        /// Its flag.
        flag: &'static str,
        /// Its value; empty: it has none.
        value: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Config {
    /// Settles the settings.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting.
    pub fn settle(arguments: Arguments) -> Result<Config, ConfigError> {
        let file = arguments
            .config
            .as_deref()
            .map(file::read)
            .transpose()?
            .unwrap_or_default();
        let wrong = |flag, value: &str, problem: &str| ConfigError::Setting {
            flag,
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        let listen = [arguments.listen, file.listen]
            .into_iter()
            .find(|list| !list.is_empty());
        let listen = listen.unwrap_or_else(|| vec!["unix:///run/meta-cni/ipam.sock".to_owned()]);
        let listen = listen
            .iter()
            .map(|text| address(text))
            .collect::<Result<Vec<_>, _>>()?;
        let cert = arguments.tls_cert.or(file.tls_cert);
        let key = arguments.tls_key.or(file.tls_key);
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("tls-key", "", "is needed with --tls-cert")),
            (None, Some(_)) => return Err(wrong("tls-cert", "", "is needed with --tls-key")),
        };
        let tls_client_ca = arguments.tls_client_ca.or(file.tls_client_ca);
        if tls_client_ca.is_some() && tls.is_none() {
            return Err(wrong("tls-client-ca", "", "needs --tls-cert and --tls-key"));
        }
        let insecure = arguments.insecure || file.insecure;
        let token_review = arguments.token_review || file.token_review;
        let any_client = arguments.insecure_any_client || file.insecure_any_client;
        if any_client && tls_client_ca.is_some() {
            let problem = "contradicts --tls-client-ca; leave one of them out";
            return Err(wrong("insecure-any-client", "", problem));
        }
        for at in &listen {
            let Address::Tcp(at) = at else {
                continue;
            };
            if tls.is_some() && tls_client_ca.is_none() && !token_review && !any_client {
                let problem = "TCP needs --tls-client-ca, --token-review, or --insecure-any-client: then every client may do everything";
                return Err(wrong("listen", &format!("tcp://{at}"), problem));
            }
            if tls.is_none() && !(insecure && at.ip().is_loopback()) {
                let problem =
                    "TCP needs --tls-cert and --tls-key (or --insecure, on loopback only)";
                return Err(wrong("listen", &format!("tcp://{at}"), problem));
            }
        }
        let access = Setup {
            node: arguments
                .node_name
                .or(file.node_name)
                .unwrap_or_else(host_name),
            unix_operator: arguments.unix_operator || file.unix_operator,
            any_client: any_client || (insecure && tls.is_none()),
        };
        let metrics = arguments
            .metrics_listen
            .or(file.metrics_listen)
            .unwrap_or_else(|| "127.0.0.1:7480".into());
        let metrics_listen = metrics
            .parse()
            .map_err(|_| wrong("metrics-listen", &metrics, "is not ADDRESS:PORT"))?;
        let level = arguments
            .log_level
            .or(file.log_level)
            .unwrap_or_else(|| "info".into());
        let log_level = level
            .parse()
            .map_err(|_| wrong("log-level", &level, "use error, warn, info or debug"))?;
        let store = arguments.store.or(file.store).unwrap_or(StoreKind::Sled);
        let etcd = EtcdOptions {
            ca: arguments.etcd_ca.or(file.etcd_ca),
            cert: arguments.etcd_cert.or(file.etcd_cert),
            key: arguments.etcd_key.or(file.etcd_key),
            user: arguments.etcd_user.or(file.etcd_user),
            password_file: arguments.etcd_password_file.or(file.etcd_password_file),
        };
        Ok(Config {
            etcd: etcd.settle(&store)?,
            listen,
            tls,
            tls_client_ca,
            policy: arguments.policy.or(file.policy),
            token_review,
            kubeconfig: arguments.kubeconfig.or(file.kubeconfig),
            access,
            store,
            store_dir: arguments
                .store_dir
                .or(file.store_dir)
                .unwrap_or_else(|| "/var/lib/ipam-server".into()),
            store_cache_bytes: arguments
                .store_cache_bytes
                .or(file.store_cache_bytes)
                .unwrap_or(8 << 20),
            pools: arguments.pools.or(file.pools),
            metrics_listen,
            ready_file: arguments.ready_file.or(file.ready_file),
            log_format: arguments
                .log_format
                .or(file.log_format)
                .unwrap_or(LogFormat::Text),
            log_level,
            history_events: arguments
                .history_events
                .or(file.history_events)
                .unwrap_or(200_000),
            max_concurrent_per_connection: arguments
                .max_concurrent_per_connection
                .or(file.max_concurrent_per_connection)
                .unwrap_or(1024),
            connections: Most::of(
                arguments.max_connections.or(file.max_connections),
                arguments
                    .max_connections_per_peer
                    .or(file.max_connections_per_peer),
            ),
            restore_wait: Duration::from_secs(
                arguments
                    .restore_wait_seconds
                    .or(file.restore_wait_seconds)
                    .unwrap_or(60),
            ),
            first_request: Duration::from_secs(
                arguments
                    .first_request_seconds
                    .or(file.first_request_seconds)
                    .unwrap_or(30),
            ),
            shutdown: Duration::from_secs(
                arguments
                    .shutdown_seconds
                    .or(file.shutdown_seconds)
                    .unwrap_or(10),
            ),
        })
    }
}

/// The host's name as Kubernetes names its node.
fn host_name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_default().to_ascii_lowercase()
}

fn address(text: &str) -> Result<Address, ConfigError> {
    let wrong = || ConfigError::Setting {
        flag: "listen",
        value: text.to_owned(),
        problem: "use unix:///absolute/path or tcp://ADDRESS:PORT".into(),
    };
    if let Some(path) = text.strip_prefix("unix://") {
        return path
            .starts_with('/')
            .then(|| Address::Unix(path.into()))
            .ok_or_else(wrong);
    }
    let at = text.strip_prefix("tcp://").ok_or_else(wrong)?;
    at.parse().map(Address::Tcp).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, Parser};

    use super::*;

    fn settle(arguments: &[&str]) -> Result<Config, ConfigError> {
        let all = ["ipam-server"].iter().chain(arguments);
        Config::settle(Arguments::try_parse_from(all).unwrap())
    }

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_settings_it_is_a_socket_and_a_folder() {
        let config = settle(&[]).unwrap();
        assert_eq!(
            config.listen,
            [Address::Unix("/run/meta-cni/ipam.sock".into())]
        );
        assert_eq!(config.store_dir, Path::new("/var/lib/ipam-server"));
    }

    #[test]
    fn tcp_needs_tls_and_authorities_of_clients_or_a_word() {
        const TLS: [&str; 6] = [
            "--listen",
            "tcp://10.0.0.1:7443",
            "--tls-cert",
            "c",
            "--tls-key",
            "k",
        ];
        for (arguments, good) in [
            (&["--listen", "tcp://127.0.0.1:0"][..], false),
            (&["--listen", "tcp://127.0.0.1:0", "--insecure"], true),
            (&["--listen", "tcp://10.0.0.1:7443", "--insecure"], false),
            (&TLS, false),
            (&[&TLS[..], &["--tls-client-ca", "a"]].concat(), true),
            (&[&TLS[..], &["--insecure-any-client"]].concat(), true),
            (
                &[&TLS[..], &["--tls-client-ca", "a", "--insecure-any-client"]].concat(),
                false,
            ),
            (
                &["--listen", "tcp://10.0.0.1:7443", "--tls-cert", "c"],
                false,
            ),
            (&["--listen", "10.0.0.1:7443"], false),
            (&["--listen", "unix://relative"], false),
            (&["--tls-client-ca", "c"], false),
        ] {
            assert_eq!(settle(arguments).is_ok(), good, "{arguments:?}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_an_unknown_key_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "storeDir: /a\nhistoryEvents: 7\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = settle(&["--config", path, "--store-dir", "/b"]).unwrap();
        assert_eq!((config.store_dir, config.history_events), ("/b".into(), 7));
        std::fs::write(&file, "storeDirr: /a\n").unwrap();
        let error = settle(&["--config", path]).unwrap_err().to_string();
        assert!(error.contains("storeDirr"), "{error}");
    }
}
