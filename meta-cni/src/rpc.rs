//! A gRPC connection to a Unix socket, for a process that lives for one call.

use std::io;
use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// A socket that cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What listens there does not speak gRPC.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Connects to the socket at `path`.
///
/// # Errors
/// [`DialError`].
pub async fn unix_channel(path: &Path) -> Result<Channel, DialError> {
    // Made before the channel, so that its error is told as it is; the address names nothing.
    let stream = UnixStream::connect(path).await?;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = stream
            .take()
            .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset));
        async move { stream }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(endpoint.connect_with_connector(connector).await?)
}
