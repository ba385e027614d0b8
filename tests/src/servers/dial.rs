//! gRPC over a Unix socket.

use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// A connection of its own, which dials again when the server was away.
pub fn unix_channel(socket: &Path) -> Channel {
    connect(socket, Endpoint::from_static("http://localhost"))
}

/// The same with settings of the test's own.
pub fn connect(socket: &Path, endpoint: Endpoint) -> Channel {
    let socket = socket.to_owned();
    let dial = move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    };
    endpoint.connect_with_connector_lazy(tower::service_fn(dial))
}
