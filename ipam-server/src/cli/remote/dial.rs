//! Reaching a server: over a unix socket, TLS, or plain TCP on loopback.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower::service_fn;

use super::RemoteFlags;
use crate::cli::error::CliError;

/// Over an idle connection a lost server is noticed after twice this time.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How a server is reached.
#[derive(Debug)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// TCP on loopback.
    Plain(Uri),
    /// TLS.
    Tls {
        uri: Uri,
        ca: PathBuf,
        identity: Option<(PathBuf, PathBuf)>,
    },
}

impl Address {
    /// Reads `--server` and the TLS flags.
    pub(super) fn parse(flags: RemoteFlags) -> Result<Address, CliError> {
        if let Some(path) = flags.server.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(Address::Unix(PathBuf::from(path))),
                false => Err(wrong(&flags.server, "the socket's path must be absolute")),
            };
        }
        let uri: Uri = flags
            .server
            .parse()
            .map_err(|_| wrong(&flags.server, "this is not an address"))?;
        match uri.scheme_str() {
            Some("https") => tls(uri, flags),
            Some("http") if is_loopback(&uri) => Ok(Address::Plain(uri)),
            Some("http") => Err(wrong(
                &flags.server,
                "http is for loopback only; use https and --tls-ca",
            )),
            _ => Err(wrong(
                &flags.server,
                "it must begin with unix://, https:// or http://",
            )),
        }
    }
}

fn tls(uri: Uri, flags: RemoteFlags) -> Result<Address, CliError> {
    let ca = flags
        .tls_ca
        .ok_or_else(|| CliError::argument("--tls-ca", "needed for https"))?;
    let identity = match (flags.tls_cert, flags.tls_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            return Err(CliError::argument(
                "--tls-cert",
                "goes together with --tls-key",
            ));
        }
    };
    Ok(Address::Tls { uri, ca, identity })
}

fn wrong(server: &str, problem: &str) -> CliError {
    CliError::argument(format!("--server {server}"), problem)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Connects.
pub(super) async fn dial(
    name: &str,
    address: &Address,
    timeout: Duration,
) -> Result<Channel, CliError> {
    let connected = match address {
        Address::Unix(path) => unix(path, timeout).await,
        Address::Plain(uri) => endpoint(uri.clone(), timeout).connect().await,
        Address::Tls { uri, ca, identity } => {
            let mut config =
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
            if let Some((cert, key)) = identity {
                config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            match endpoint(uri.clone(), timeout).tls_config(config) {
                Ok(endpoint) => endpoint.connect().await,
                Err(error) => Err(error),
            }
        }
    };
    connected.map_err(|error| match (address, system_error(&error)) {
        (Address::Unix(socket), Some(cause)) if cause.kind() == io::ErrorKind::PermissionDenied => {
            CliError::Forbidden {
                socket: socket.clone(),
            }
        }
        _ => unreachable(name, &error),
    })
}

async fn unix(path: &Path, timeout: Duration) -> Result<Channel, tonic::transport::Error> {
    let path = path.to_owned();
    let connect = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    endpoint(Uri::from_static("http://localhost"), timeout)
        .connect_with_connector(connect)
        .await
}

fn endpoint(uri: Uri, timeout: Duration) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })
}

/// Nobody answers at `name`, and why.
pub(super) fn unreachable(name: &str, error: &(dyn Error + 'static)) -> CliError {
    let cause = system_error(error).map(io::Error::kind);
    let remedy = match cause {
        Some(io::ErrorKind::NotFound) => "start it, or name another one with --server",
        Some(io::ErrorKind::ConnectionRefused) => "it is not running; start it",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "it went away; try again"
        }
        _ => "is --server right, and does it run?",
    };
    CliError::Unreachable {
        server: name.to_owned(),
        why: innermost(error),
        remedy,
    }
}

fn system_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        // A TLS failure comes inside an io::Error without a number of the system.
        let system = error.downcast_ref::<io::Error>();
        if let Some(system) = system.filter(|found| found.raw_os_error().is_some()) {
            return Some(system);
        }
        at = error.source();
    }
    None
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
