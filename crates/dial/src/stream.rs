//! The bytes of a connection. Over TLS, the peer's last alert is noted: HTTP/2 reports only that the connection broke.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why TLS broke, once it has.
#[derive(Clone, Debug, Default)]
pub struct Noted(Arc<OnceLock<rustls::Error>>);

impl Noted {
    /// Why TLS broke, once it has.
    pub fn get(&self) -> Option<&rustls::Error> {
        self.0.get()
    }

    /// Keeps the first failure: it is the cause of the others.
    pub(crate) fn note(&self, error: &rustls::Error) {
        self.0.get_or_init(|| error.clone());
    }
}

/// A TLS stream whose failure is noted.
#[derive(Debug)]
pub struct Overheard<S> {
    inner: S,
    noted: Noted,
    /// Why nothing can be written any more.
    failed: Option<io::Error>,
}

impl<S> Overheard<S> {
    /// Notes in `noted`.
    pub fn new(inner: S, noted: &Noted) -> Overheard<S> {
        Overheard {
            inner,
            noted: noted.clone(),
            failed: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Overheard<S> {
    /// Writes. A peer that has closed cannot be written to, but what it said before is still to be read: this comes first.
    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.failed.is_none() {
            match write(Pin::new(&mut self.inner), context) {
                Poll::Ready(Err(error)) => self.failed = Some(error),
                written => return written,
            }
        }
        let mut bytes = [0; 1024];
        loop {
            let mut into = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *self).poll_read(context, &mut into));
            if read.is_err() || into.filled().is_empty() {
                break;
            }
        }
        let failed = self.failed.take();
        Poll::Ready(Err(
            failed.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
        ))
    }
}

/// What TLS itself says in an error of a TLS stream.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, into);
        if let Poll::Ready(Err(error)) = &read
            && let Some(tls) = tls_error(error)
        {
            self.noted.note(tls);
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
        self.write(context, |inner, context| inner.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
