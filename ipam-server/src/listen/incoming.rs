//! The connections of a listener, for as long as it listens.

use std::future::Future;
use std::io;

use futures_util::stream::{self, Stream};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Something that accepts connections.
pub trait Accept: Send + 'static {
    /// A connection.
    type Io: Send;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        TcpListener::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Where connections come from.
pub struct Source<L> {
    listener: L,
    /// Listeners that take the place of this one.
    newer: mpsc::Receiver<L>,
}

impl<L: Accept> Source<L> {
    /// Those of a listener, and then of each one that takes its place.
    pub fn new(listener: L, newer: mpsc::Receiver<L>) -> Source<L> {
        Source { listener, newer }
    }

    /// The connections; the stream has no end.
    pub fn connections(self) -> impl Stream<Item = io::Result<L::Io>> + Send {
        stream::unfold(self, |mut source| async {
            let accepted = source.next().await;
            Some((accepted, source))
        })
    }

    async fn next(&mut self) -> io::Result<L::Io> {
        loop {
            tokio::select! {
                Some(newer) = self.newer.recv() => self.listener = newer,
                accepted = self.listener.accept() => return accepted,
            }
        }
    }
}
