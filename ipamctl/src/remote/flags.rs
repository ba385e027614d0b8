//! The flags that say where the server is.

use std::path::PathBuf;

/// Where the server is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct RemoteFlags {
    /// Address of the server: unix:///PATH, https://HOST:PORT with --tls-ca, or http://HOST:PORT on loopback. Several servers
    /// of one store, with commas: the next one is asked when one fails.
    #[arg(
        long,
        global = true,
        env = "IPAM_SERVER",
        default_value = "unix:///run/meta-cni/ipam.sock",
        value_name = "URL"
    )]
    pub(super) server: String,
    /// Authorities that the server's certificate must come from, PEM. Required for https.
    #[arg(long, global = true, env = "IPAM_TLS_CA", value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// Certificate of the caller, PEM. [default: none]
    #[arg(long, global = true, env = "IPAM_TLS_CERT", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Key of --tls-cert, PEM.
    #[arg(long, global = true, env = "IPAM_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Token of the caller, beside a certificate or instead of one; read again when it is renewed. [default: none]
    #[arg(long, global = true, env = "IPAM_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// How long one answer may take, in seconds.
    #[arg(long, global = true, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout_seconds: u64,
}
