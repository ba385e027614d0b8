//! The connections of a listener, for as long as it listens: accepted as file descriptors allow, and closed when they are
//! of no use.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use dial::accept::{Backoff, Guarded, Patience, Used};
use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;

use super::crowd::{Crowd, Origin, Place};
use crate::access::identity::Identity;
use crate::metrics::Metrics;

/// Something that accepts connections.
pub trait Accept: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Who is at its other end.
    fn peer(io: &Self::Io) -> Origin;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // An answer waits for no further data.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn peer(io: &TcpStream) -> Origin {
        let address = io.peer_addr().ok();
        address.map_or(Origin::Unknown, |at| Origin::of(at.ip()))
    }
}

impl Accept for UnixListener {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }

    fn peer(io: &UnixStream) -> Origin {
        let peer = io.peer_cred().ok();
        peer.map_or(Origin::Unknown, |peer| Origin::User(peer.uid()))
    }
}

/// Where connections come from.
pub struct Source<L> {
    listener: L,
    /// Listeners that take the place of this one.
    newer: mpsc::Receiver<L>,
    patience: Patience,
    crowd: Arc<Crowd>,
    backoff: Backoff,
    metrics: Arc<Metrics>,
}

impl<L: Accept> Source<L> {
    /// The connections of a listener at `address`, and then of each listener that takes its place.
    pub fn new(
        address: &str,
        listener: L,
        newer: mpsc::Receiver<L>,
        patience: Patience,
        crowd: Arc<Crowd>,
        metrics: Arc<Metrics>,
    ) -> Source<L> {
        Source {
            listener,
            newer,
            patience,
            crowd,
            backoff: Backoff::new(address),
            metrics,
        }
    }

    /// The connections; the stream has no end and no error.
    pub fn connections(self) -> impl Stream<Item = io::Result<Connection<L::Io>>> + Send {
        stream::unfold(self, |mut source| async {
            let accepted = source.next().await;
            Some((Ok(accepted), source))
        })
    }

    async fn next(&mut self) -> Connection<L::Io> {
        loop {
            let accepted = tokio::select! {
                Some(newer) = self.newer.recv() => {
                    self.listener = newer;
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    self.backoff.succeeded();
                    let peer = L::peer(&stream);
                    let guarded = Guarded::new(stream, self.patience);
                    // A connection without a place is closed by being dropped.
                    if let Some(place) = self.crowd.admit(peer, guarded.used()) {
                        return Connection { guarded, place };
                    }
                }
                Err(error) => {
                    self.metrics.accept_failed();
                    self.backoff.failed(&error).await;
                }
            }
        }
    }
}

/// A connection that is closed when it is of no use.
pub struct Connection<S> {
    guarded: Guarded<S>,
    place: Place,
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub struct Peer<I> {
    /// Who is at the other end.
    pub info: I,
    /// What the certificate of the other end proves, once that was read: it is the same for all requests.
    pub identity: Arc<OnceLock<Identity>>,
    used: Used,
}

/// Notes that a request came over its connection.
pub fn note_request(extensions: &http::Extensions) {
    use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
    let unix = extensions
        .get()
        .map(|peer: &Peer<UdsConnectInfo>| peer.used.clone());
    let tcp = || {
        extensions
            .get()
            .map(|peer: &Peer<TcpConnectInfo>| peer.used.clone())
    };
    let tls = || {
        let tls = extensions.get::<TlsConnectInfo<Peer<TcpConnectInfo>>>();
        tls.map(|tls| tls.get_ref().used.clone())
    };
    if let Some(used) = unix.or_else(tcp).or_else(tls) {
        used.note();
    }
}

impl<S: Connected> Connected for Connection<S> {
    type ConnectInfo = Peer<S::ConnectInfo>;

    fn connect_info(&self) -> Peer<S::ConnectInfo> {
        Peer {
            info: self.guarded.inner().connect_info(),
            identity: Arc::default(),
            used: self.guarded.used(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.place.poll_lost(context).is_ready() {
            let text = "the connection made no request and had to make room for another one";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
        }
        Pin::new(&mut self.guarded).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.guarded).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.guarded).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.guarded).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.guarded).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.guarded.is_write_vectored()
    }
}
