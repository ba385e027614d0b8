//! The connections of a listener, for as long as it listens: accepted as file descriptors allow, and closed when they are
//! of no use.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream};
use process::accept::{Backoff, Guarded, Patience, Used};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Duration, Sleep};
use tonic::transport::server::Connected;

use super::crowd::{Admission, Crowd, Origin};
use crate::identity::Identity;

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
}

impl<L: Accept> Source<L> {
    /// The connections of a listener at `address`, and then of each listener that takes its place.
    pub fn new(
        address: &str,
        listener: L,
        newer: mpsc::Receiver<L>,
        patience: Patience,
        crowd: Arc<Crowd>,
    ) -> Source<L> {
        Source {
            listener,
            newer,
            patience,
            crowd,
            backoff: Backoff::new(address),
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
                    let known = Used::default();
                    if let Some(place) = self.crowd.admit(peer, known.clone()) {
                        return Connection {
                            guarded,
                            place,
                            known,
                            ends: None,
                        };
                    }
                }
                Err(error) => self.backoff.failed(&error).await,
            }
        }
    }
}

/// A connection that is closed when it is of no use.
pub struct Connection<S> {
    guarded: Guarded<S>,
    place: Admission,
    /// Whether a caller with a role made a request.
    known: Used,
    /// When its certificate ends.
    ends: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    /// Closes the connection when this time has passed.
    pub fn end_after(&mut self, time: Duration) {
        self.ends = Some(Box::pin(tokio::time::sleep(time)));
    }

    /// Ready with the reason once the connection is to be closed.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<&'static str> {
        if self.place.poll_lost(context).is_ready() {
            return Poll::Ready("the connection was of no caller with a role and had to make room");
        }
        match &mut self.ends {
            Some(ends) => ends
                .as_mut()
                .poll(context)
                .map(|()| "the client's certificate has ended"),
            None => Poll::Pending,
        }
    }
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub struct Peer<I> {
    /// Who is at the other end.
    pub info: I,
    /// What the certificate of the other end proves, once that was read: it is the same for all requests.
    pub identity: Arc<OnceLock<Identity>>,
    used: Used,
    known: Used,
}

/// Notes that a request came over its connection.
pub fn note_request(extensions: &http::Extensions) {
    if let Some((used, _)) = marks(extensions) {
        used.note();
    }
}

/// Notes that a caller with a role made a request over its connection, which keeps its place from then on.
pub fn note_caller(extensions: &http::Extensions) {
    if let Some((_, known)) = marks(extensions) {
        known.note();
    }
}

fn marks(extensions: &http::Extensions) -> Option<(&Used, &Used)> {
    use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
    let unix = extensions.get::<Peer<UdsConnectInfo>>();
    let unix = unix.map(|peer| (&peer.used, &peer.known));
    let tcp = || {
        let tls = extensions.get::<TlsConnectInfo<Peer<TcpConnectInfo>>>();
        let peer = extensions.get().or(tls.map(TlsConnectInfo::get_ref));
        peer.map(|peer: &Peer<TcpConnectInfo>| (&peer.used, &peer.known))
    };
    unix.or_else(tcp)
}

impl<S: Connected> Connected for Connection<S> {
    type ConnectInfo = Peer<S::ConnectInfo>;

    fn connect_info(&self) -> Peer<S::ConnectInfo> {
        Peer {
            info: self.guarded.inner().connect_info(),
            identity: Arc::default(),
            used: self.guarded.used(),
            known: self.known.clone(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(why) = self.poll_closed(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
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
