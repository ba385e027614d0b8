//! The command line of ipam-server.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use process::daemon::LogFormat;

use super::StoreKind;

/// Leases IPv4/IPv6 pairs over gRPC (ipam.v1) from a durable store.
///
/// Every flag can also be given in the environment (IPAM_SERVER_…) or in the YAML file of --config, under its name
/// in camelCase (storeDir: /var/lib/ipam-server). A flag wins over the environment, the environment over the file.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ipam-server",
    version,
    after_help = "Examples:
  ipam-server --pools pools.yaml --unix-operator
        one machine: /run/meta-cni/ipam.sock, store in /var/lib/ipam-server, root may do everything
  ipam-server --listen tcp://0.0.0.0:7443 --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt --policy policy.yaml
        many machines, with certificates on both sides
  ipam-server --store etcd://etcd-1:2379,etcd-2:2379,etcd-3:2379 --etcd-ca ca.crt --etcd-cert tls.crt --etcd-key tls.key …
        one of several servers over one etcd cluster

Policy: a list `rules`, each with `name` (common name or SPIFFE URI of a certificate; one * is any text) or `uid` (on the
Unix socket), and `roles` (node, reader, reclaimer, operator). What no rule names may do nothing.

Signals: SIGTERM and SIGINT finish what was begun and end the server; a second one ends it at once.
Exit status: 0 ended as asked, 1 failure, 2 wrong arguments."
)]
pub struct Arguments {
    /// Where to listen: unix:///PATH or tcp://ADDRESS:PORT (port 0: any free one). Repeatable.
    /// [default: unix:///run/meta-cni/ipam.sock]
    #[arg(
        long,
        env = "IPAM_SERVER_LISTEN",
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    pub listen: Vec<String>,
    /// Certificate chain of the server, PEM. TCP needs it.
    #[arg(long, env = "IPAM_SERVER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM.
    #[arg(long, env = "IPAM_SERVER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose clients are let in, PEM. TCP needs it. Certificate, key and authorities are read anew when they change.
    #[arg(long, env = "IPAM_SERVER_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Which identity has which roles, YAML; read anew when it changes. Without it a certificate `system:node:NAME` is the
    /// node NAME, and every other one may do nothing.
    #[arg(long, env = "IPAM_SERVER_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Read bearer tokens: an API server says whose a token is (TokenReview, audience ipam.meta-cni.io), --policy what its user
    /// may do; for the role node the token must be bound to a node. A client then needs no certificate.
    #[arg(long, env = "IPAM_SERVER_TOKEN_REVIEW")]
    pub token_review: bool,
    /// The API server of --token-review. [default: that of the pod that ipam-server runs in]
    #[arg(long, env = "IPAM_SERVER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this machine's node: what root on the Unix socket is. [default: the host's name in lower case]
    #[arg(long, env = "IPAM_SERVER_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Root, and the user of this process, may do everything on the Unix socket: for one machine and its ipamctl.
    #[arg(long, env = "IPAM_SERVER_UNIX_OPERATOR")]
    pub unix_operator: bool,
    /// Allow TLS without --tls-client-ca: every client may do everything.
    #[arg(long, env = "IPAM_SERVER_INSECURE_ANY_CLIENT")]
    pub insecure_any_client: bool,
    /// Allow TCP without TLS, on loopback only: every process of this machine may do everything.
    #[arg(long, env = "IPAM_SERVER_INSECURE")]
    pub insecure: bool,
    /// What keeps the leases: sled (a folder, for one server), memory (this process, for trials), or
    /// etcd://HOST:PORT,HOST:PORT/PREFIX (an etcd cluster, for any number of servers; prefix /meta-cni.io/ipam). [default: sled]
    #[arg(long, env = "IPAM_SERVER_STORE", value_name = "STORE")]
    pub store: Option<StoreKind>,
    /// Authorities of etcd's certificates, PEM. Without it etcd must be on loopback.
    #[arg(long, env = "IPAM_SERVER_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// Certificate of this server for etcd, PEM. The three files are read anew for each connection.
    #[arg(long, env = "IPAM_SERVER_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// Key of --etcd-cert, PEM.
    #[arg(long, env = "IPAM_SERVER_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// User of this server in etcd; needs --etcd-password-file.
    #[arg(long, env = "IPAM_SERVER_ETCD_USER", value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// File with the password of --etcd-user; read anew for each token.
    #[arg(long, env = "IPAM_SERVER_ETCD_PASSWORD_FILE", value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
    /// Folder of the sled store; made if missing. [default: /var/lib/ipam-server]
    #[arg(long, env = "IPAM_SERVER_STORE_DIR", value_name = "DIR")]
    pub store_dir: Option<PathBuf>,
    /// What the store may keep in memory, in bytes. [default: 8388608]
    #[arg(long, env = "IPAM_SERVER_STORE_CACHE_BYTES", value_name = "BYTES")]
    pub store_cache_bytes: Option<u64>,
    /// Pools to make or change at the start: YAML with a list `pools`. None is removed; one that cannot be made or changed
    /// is reported by log, /readyz and ipam_pool_refused.
    #[arg(long, env = "IPAM_SERVER_POOLS", value_name = "FILE")]
    pub pools: Option<PathBuf>,
    /// YAML file with any of these settings.
    #[arg(long, env = "IPAM_SERVER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served over HTTP. [default: 127.0.0.1:7480]
    #[arg(long, env = "IPAM_SERVER_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,
    /// Written once the server serves: JSON with the real addresses.
    #[arg(long, env = "IPAM_SERVER_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Form of the log on standard error. [default: text]
    #[arg(long, env = "IPAM_SERVER_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// error, warn, info or debug. [default: info]
    #[arg(long, env = "IPAM_SERVER_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Changes that the history keeps at least. [default: 200000]
    #[arg(long, env = "IPAM_SERVER_HISTORY_EVENTS", value_name = "NUMBER")]
    pub history_events: Option<u64>,
    /// Requests of one connection that are served at once; the rest waits. [default: 1024, or a quarter of --max-connections]
    #[arg(
        long,
        env = "IPAM_SERVER_MAX_CONCURRENT_PER_CONNECTION",
        value_name = "NUMBER"
    )]
    pub max_concurrent_per_connection: Option<usize>,
    /// Connections that are open at once, of all peers. At a limit the oldest one over which no caller with a role made a
    /// request is closed for a new one.
    /// [default: three quarters of the limit of open files]
    #[arg(long, env = "IPAM_SERVER_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// The same of one peer: a user on the Unix socket, an IPv4 address, an IPv6 /64. [default: 1024, or a quarter of --max-connections]
    #[arg(
        long,
        env = "IPAM_SERVER_MAX_CONNECTIONS_PER_PEER",
        value_name = "NUMBER"
    )]
    pub max_connections_per_peer: Option<usize>,
    /// How long a store that was restored from a backup waits for the nodes that its leases name to report what they
    /// hold; until then no new lease is made. 0: not at all. [default: 60]
    #[arg(long, env = "IPAM_SERVER_RESTORE_WAIT_SECONDS", value_name = "SECONDS")]
    pub restore_wait_seconds: Option<u64>,
    /// How long a connection may stay without a first request before it is closed; one in use is closed when its peer is
    /// silent for 90 s, also to HTTP/2's keepalive. [default: 30]
    #[arg(
        long,
        env = "IPAM_SERVER_FIRST_REQUEST_SECONDS",
        value_name = "SECONDS"
    )]
    pub first_request_seconds: Option<u64>,
    /// How long requests that were begun may take after a signal to end. [default: 10]
    #[arg(long, env = "IPAM_SERVER_SHUTDOWN_SECONDS", value_name = "SECONDS")]
    pub shutdown_seconds: Option<u64>,
    /// What else it can do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else the program can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print the script that completes this command's arguments in a shell
    Completion {
        /// The shell
        shell: process::daemon::Shell,
    },
}
