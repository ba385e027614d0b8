//! Reaching a server: over a unix socket, TLS, or plain TCP on loopback.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use dial::Connector;
use dial::address::{Address, Target};
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

/// A server: where it is, and how both sides are trusted.
#[derive(Debug)]
pub(super) struct Server {
    address: Address,
    tls: Option<Trust>,
}

/// The files of a TLS connection.
#[derive(Debug)]
struct Trust {
    files: Files,
    /// What the server said of them.
    noted: Noted,
}

impl Server {
    /// A server with the files of `https`, if it is reached so.
    pub(super) fn new(address: Address, files: Option<&Files>) -> Server {
        let files = files.filter(|_| address.is_tls()).cloned();
        Server {
            address,
            tls: files.map(|files| Trust {
                files,
                noted: Noted::default(),
            }),
        }
    }

    /// The address as the caller wrote it.
    fn name(&self) -> &str {
        self.address.as_str()
    }

    /// What one side has said of the other one's certificate, if it refuses it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let Trust { files, noted } = self.tls.as_ref()?;
        let name = format!("the ipam-server at {}", self.name());
        Refusal::of(noted.get()?.clone(), files, name).ok()
    }
}

/// The files of `https`, as the flags name them.
pub(super) fn files(flags: RemoteFlags) -> Result<Files, CliError> {
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
    Ok(Files {
        ca,
        identity,
        names: Names {
            ca: "--tls-ca",
            cert: "--tls-cert",
            key: "--tls-key",
        },
    })
}

/// Connects.
pub(super) async fn dial(server: &Server, timeout: Duration) -> Result<Channel, CliError> {
    let connected = match (server.address.target(), &server.tls) {
        (Target::Unix(path), _) => unix(path, timeout).await,
        (Target::Tls(uri), Some(Trust { files, noted })) => {
            let config = files.config(&files.read()?)?;
            let connector = Connector::new(uri.clone(), config, noted.clone());
            // tonic would want to speak TLS itself if it saw https; requests are addressed to it all the same.
            endpoint(Uri::from_static("http://ipam-server"), timeout)
                .origin(uri.clone())
                .connect_with_connector(connector)
                .await
        }
        (Target::Loopback(uri) | Target::Tls(uri), _) => {
            endpoint(uri.clone(), timeout)
                .connect_with_connector(resolver::connector())
                .await
        }
    };
    connected.map_err(
        |error| match (server.address.target(), system_error(&error)) {
            (Target::Unix(socket), Some(cause))
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                CliError::Forbidden {
                    socket: socket.clone(),
                }
            }
            _ => unreachable(server.name(), server.refusal(), &error),
        },
    )
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

/// Nobody answers at the server's address, or one side does not take the other one's certificate, and why.
pub(super) fn unreachable(
    name: &str,
    refusal: Option<Refusal>,
    error: &(dyn Error + 'static),
) -> CliError {
    // Under TLS 1.3 a server refuses a client after the handshake: the call sees only that the connection broke.
    if let Some(refusal) = refusal {
        return CliError::Certificate(refusal);
    }
    let cause = system_error(error).map(io::Error::kind);
    let remedy = match cause {
        Some(io::ErrorKind::NotFound) => "start it, or name another server with --server",
        Some(io::ErrorKind::ConnectionRefused) => "it is not running; start it",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "it closed the connection; try again"
        }
        _ => "check --server, and whether the server runs",
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
