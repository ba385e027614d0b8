//! Whom the agent's sockets let in.

use std::io;

use futures_util::{Stream, StreamExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;

/// The connections of root. Others, which the file's mode keeps out already, are closed.
pub(super) fn of_root(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> {
    UnixListenerStream::new(listener).filter(|accepted| {
        let let_in = match accepted {
            Ok(stream) => is_root(stream),
            Err(_) => true,
        };
        std::future::ready(let_in)
    })
}

/// SO_PEERCRED (unix(7)): who connected, as the kernel noted it then.
fn is_root(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 => true,
        Ok(peer) => {
            tracing::warn!(
                uid = peer.uid(),
                pid = peer.pid(),
                "a connection was closed: only root may ask"
            );
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a connection was closed: whose it is cannot be learnt");
            false
        }
    }
}
