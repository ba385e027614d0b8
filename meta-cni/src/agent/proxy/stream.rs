//! What a connection is made of. Over TLS, the peer's last word is noted: HTTP/2 tells only that the connection broke.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why TLS broke, once it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted(Arc<OnceLock<rustls::Error>>);

impl Noted {
    pub(super) fn get(&self) -> Option<&rustls::Error> {
        self.0.get()
    }
}

/// A TLS stream whose failure is noted.
pub(super) struct Overheard<S> {
    inner: S,
    noted: Noted,
}

impl<S> Overheard<S> {
    pub(super) fn new(inner: S, noted: &Noted) -> Overheard<S> {
        Overheard {
            inner,
            noted: noted.clone(),
        }
    }

    fn note(&self, error: &io::Error) {
        if let Some(tls) = tls_error(error) {
            // The first failure is the cause of the others.
            self.noted.0.get_or_init(|| tls.clone());
        }
    }
}

impl<S: AsyncRead + Unpin> Overheard<S> {
    /// A peer that closes cannot be written to any more, but its last word has come: it is read before all is given up.
    fn last_word(&mut self, context: &mut Context<'_>) {
        let mut bytes = [0; 1024];
        loop {
            let mut into = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.inner).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                Poll::Ready(Err(error)) => return self.note(&error),
                Poll::Ready(Ok(())) | Poll::Pending => return,
            }
        }
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = written {
            self.last_word(context);
        }
        written
    }
}

/// What TLS itself says in an error of a TLS stream.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, into);
        if let Poll::Ready(Err(error)) = &read {
            self.note(error);
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.inner).poll_flush(context);
        self.written(context, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
