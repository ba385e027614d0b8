//! A TLS connection to a server by its URI.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt as _;

use crate::address::bare_host;
use crate::resolver;
use crate::stream::{Noted, Overheard, tls_error};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host of the URI is neither a name nor an address.
    #[error("{host:?} is neither a name nor an address")]
    Host {
        /// The host.
        host: String,
    },
    /// The name has no address, or nobody listens there.
    #[error(transparent)]
    Tcp(Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke during the handshake.
    #[error(transparent)]
    Io(io::Error),
    /// One side refuses the other one.
    #[error(transparent)]
    Tls(rustls::Error),
}

/// Connects to the host and port of a URI. Under TLS 1.3 the server refuses us after that only: `noted` has its word then.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(
    uri: &Uri,
    config: Arc<ClientConfig>,
    noted: &Noted,
) -> Result<Overheard<TlsStream<TcpStream>>, ConnectError> {
    let host = bare_host(uri);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Host {
        host: host.to_owned(),
    })?;
    let tcp = resolver::connector().oneshot(uri.clone()).await;
    let tcp = tcp.map_err(|error| ConnectError::Tcp(error.into()))?;
    let connecting = TlsConnector::from(config).connect(name, tcp.into_inner());
    let stream = connecting.await.map_err(|error| match tls_error(&error) {
        Some(tls) => {
            noted.note(tls);
            ConnectError::Tls(tls.clone())
        }
        None => ConnectError::Io(error),
    })?;
    Ok(Overheard::new(stream, noted))
}

/// Connects for a gRPC channel, which asks for a connection whenever it has none.
#[derive(Clone, Debug)]
pub struct Connector {
    uri: Uri,
    config: Arc<ClientConfig>,
    noted: Noted,
}

impl Connector {
    /// Connects to the `https` URI, whatever the channel takes for the address. What TLS refuses is noted in `noted`.
    pub fn new(uri: Uri, config: ClientConfig, noted: Noted) -> Connector {
        Connector {
            uri,
            config: config.into(),
            noted,
        }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Overheard<TlsStream<TcpStream>>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector { uri, config, noted } = self.clone();
        Box::pin(async move { connect(&uri, config, &noted).await.map(TokioIo::new) })
    }
}
