//! Reaching a server: over a unix socket, TLS, or plain TCP on loopback.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dial::Connector;
use dial::files::{Files, Names};
use dial::refusal::Refusal;
use dial::resolver;
use dial::stream::Noted;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::flags::RemoteFlags;
use crate::error::CliError;

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
        files: Files,
        /// What the server said of them.
        noted: Noted,
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
    Ok(Address::Tls {
        uri,
        files: Files {
            ca,
            identity,
            names: Names {
                ca: "--tls-ca",
                cert: "--tls-cert",
                key: "--tls-key",
            },
        },
        noted: Noted::default(),
    })
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
        Address::Plain(uri) => {
            endpoint(uri.clone(), timeout)
                .connect_with_connector(resolver::connector())
                .await
        }
        Address::Tls { uri, files, noted } => {
            let config = files.config(&files.read()?)?;
            let connector = Connector::new(uri.clone(), config, noted.clone());
            // tonic would want to speak TLS itself if it saw https; requests are addressed to it all the same.
            endpoint(Uri::from_static("http://ipam-server"), timeout)
                .origin(uri.clone())
                .connect_with_connector(connector)
                .await
        }
    };
    connected.map_err(|error| match (address, system_error(&error)) {
        (Address::Unix(socket), Some(cause)) if cause.kind() == io::ErrorKind::PermissionDenied => {
            CliError::Forbidden {
                socket: socket.clone(),
            }
        }
        _ => unreachable(name, address, &error),
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
        .http2_max_header_list_size(dial::HEADER_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// Nobody answers at `name`, or one side does not take the other one's certificate, and why.
pub(super) fn unreachable(
    name: &str,
    address: &Address,
    error: &(dyn Error + 'static),
) -> CliError {
    // Under TLS 1.3 a server refuses a client after the handshake: the call sees only that the connection broke.
    if let Address::Tls { files, noted, .. } = address
        && let Some(said) = noted.get()
        && let Ok(refusal) = Refusal::of(said.clone(), files, format!("the ipam-server at {name}"))
    {
        return CliError::Certificate(refusal);
    }
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
