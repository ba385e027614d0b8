//! Requests on a unix socket whose `:authority` is no host: gRPC clients of the C core (Python, Ruby, PHP, C++), of Java,
//! and of Go with a dialer of its own send the socket's path there. h2 resets such a stream before a service sees the
//! request. A unix socket has one server and no host, so [`AnyAuthority`] overwrites the value, whatever it is, in the
//! bytes that the client sends.
//!
//! No length changes, and the value has no more characters than the client's one, so every reference into the client's
//! table of fields (RFC 7541, 2.3.2) still finds its field. `frames` finds the header blocks (RFC 9113, 4 and 6.2),
//! `block` the value in a block (RFC 7541, 6).

mod block;
mod frames;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use self::frames::Frames;

/// A connection of a client that may send any text as `:authority`. The server reads a host.
#[derive(Debug)]
pub struct AnyAuthority<S> {
    inner: S,
    frames: Frames,
}

impl<S> AnyAuthority<S> {
    /// Wraps a connection from its first byte on.
    pub fn new(inner: S) -> AnyAuthority<S> {
        let frames = Frames::new();
        AnyAuthority { inner, frames }
    }
}

impl<S: Connected> Connected for AnyAuthority<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AnyAuthority<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = into.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, into);
        self.frames.overwrite(&mut into.filled_mut()[filled..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
