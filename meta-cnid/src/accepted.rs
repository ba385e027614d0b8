//! Whom the agent's sockets let in.

use std::io;

use futures_util::{Stream, stream};
use process::accept::Backoff;
use tokio::net::{UnixListener, UnixStream};

/// The connections of root. Others, which the file's mode keeps out already, are closed. Without file descriptors it waits.
pub(super) fn of_root(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> {
    let backoff = Backoff::new("a socket of the agent");
    stream::unfold((listener, backoff), |(listener, mut backoff)| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    backoff.succeeded();
                    if is_root(&stream) {
                        return Some((Ok(stream), (listener, backoff)));
                    }
                }
                Err(error) => backoff.failed(&error).await,
            }
        }
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
