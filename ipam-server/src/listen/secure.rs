//! TLS on the connections of a listener: handshakes side by side, each with the files as they are then, and none for longer
//! than a connection may stay without a request.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, Stream, StreamExt as _};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::incoming::Connection;
use crate::identity;
use crate::metrics::Metrics;

/// A connection whose handshake is done.
pub type Secured = TlsStream<Connection<TcpStream>>;

/// What makes plain connections secure.
pub struct Handshakes {
    /// The latest certificate, key and authorities.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// The longest that a handshake may take.
    pub longest: Duration,
    /// Counts those that fail.
    pub metrics: Arc<Metrics>,
}

impl Handshakes {
    /// The connections of a listener once their handshakes are done; the stream has no end and no error.
    pub fn of(
        self,
        connections: impl Stream<Item = io::Result<Connection<TcpStream>>> + Send + 'static,
    ) -> impl Stream<Item = io::Result<Secured>> + Send {
        let state = (self, Box::pin(connections), JoinSet::new());
        stream::unfold(state, |(own, mut connections, mut open)| async move {
            loop {
                tokio::select! {
                    accepted = connections.next() => match accepted {
                        Some(Ok(connection)) => own.begin(connection, &mut open),
                        Some(Err(error)) => return Some((Err(error), (own, connections, open))),
                        None => return None,
                    },
                    Some(done) = open.join_next() => match done {
                        Ok(Ok(secured)) => return Some((Ok(secured), (own, connections, open))),
                        Ok(Err(error)) => own.failed(&error),
                        Err(panic) => own.failed(&io::Error::other(panic)),
                    },
                }
            }
        })
    }

    fn begin(&self, connection: Connection<TcpStream>, open: &mut JoinSet<io::Result<Secured>>) {
        let acceptor = TlsAcceptor::from(self.tls.borrow().clone());
        let longest = self.longest;
        open.spawn(async move {
            let done = timeout(longest, acceptor.accept(connection)).await;
            let mut secured = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            let (connection, tls) = secured.get_mut();
            let certificate = tls.peer_certificates().and_then(|chain| chain.first());
            if let Some(left) = certificate.and_then(|certificate| time_left(certificate)) {
                connection.end_after(left);
            }
            Ok(secured)
        });
    }

    fn failed(&self, error: &io::Error) {
        self.metrics.handshake_failed();
        tracing::debug!(%error, "a TLS handshake failed");
    }
}

/// How long a certificate is valid from now on.
fn time_left(certificate: &[u8]) -> Option<Duration> {
    let end = identity::validity(certificate)?.end;
    Some(
        end.duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO),
    )
}
