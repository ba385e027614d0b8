//! What a server does about connections that it cannot accept, and about those that say nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

/// The first pause after a failure; each further one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a failure that goes on is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Connections of this process that could not be accepted.
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// Connections of this process that could not be accepted, of all listeners.
pub fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// The failures of one listener: for want of file descriptors every attempt fails at once, for as long as that lasts.
#[derive(Debug)]
pub struct Backoff {
    /// The listener, for the log.
    listener: String,
    pause: Duration,
    /// Failures since the last success.
    failures: u64,
    logged: Option<Instant>,
}

impl Backoff {
    /// A listener that has not failed.
    pub fn new(listener: impl Into<String>) -> Backoff {
        Backoff {
            listener: listener.into(),
            pause: SHORTEST_PAUSE,
            failures: 0,
            logged: None,
        }
    }

    /// Notes a failure, and pauses before the next attempt. A connection that ended before it was accepted is none.
    pub async fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset
        ) {
            return;
        }
        self.failures += 1;
        FAILURES.fetch_add(1, Ordering::Relaxed);
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            tracing::error!(
                listener = self.listener,
                failures = self.failures,
                %error,
                "connections cannot be accepted; they wait. Too many open files? raise the limit (LimitNOFILE), or close clients"
            );
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        if self.failures > 0 {
            tracing::info!(
                listener = self.listener,
                failures = self.failures,
                "connections are accepted again"
            );
            *self = Backoff::new(std::mem::take(&mut self.listener));
        }
    }
}

/// How long a connection may be of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until its first request.
    pub first_request: Duration,
    /// Without a byte from the peer: one that lives answers HTTP/2's keepalive, or asks again.
    pub silence: Duration,
}

/// Whether a request came over a connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Used(Arc<AtomicBool>);

impl Used {
    /// Notes a request.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether one was noted.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that ends with [`io::ErrorKind::TimedOut`] once it is of no use.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: S,
    patience: Patience,
    opened: Instant,
    read: Instant,
    used: Used,
    timer: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Guarded<S> {
    /// Guards a connection that was opened just now.
    pub fn new(inner: S, patience: Patience) -> Guarded<S> {
        let opened = Instant::now();
        let first = patience.first_request.min(patience.silence);
        Guarded {
            inner,
            patience,
            opened,
            read: opened,
            used: Used::default(),
            timer: Box::pin(sleep_until(opened + first)),
            _place: None,
        }
    }

    /// The same connection; it holds a place among its listener's until it ends.
    pub fn holding(mut self, place: OwnedSemaphorePermit) -> Guarded<S> {
        self._place = Some(place);
        self
    }

    /// The connection.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Where requests are noted.
    pub fn used(&self) -> Used {
        self.used.clone()
    }

    /// When it is closed, as far as is known by now.
    fn end(&self) -> Instant {
        let silent = self.read + self.patience.silence;
        match self.used.get() {
            true => silent,
            false => silent.min(self.opened + self.patience.first_request),
        }
    }

    /// Ready once the connection is of no use.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let end = self.end();
            if end <= Instant::now() {
                let text = "the peer made no request, or was silent, for too long";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            self.timer.as_mut().reset(end);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, into);
        match read {
            Poll::Ready(_) => self.read = Instant::now(),
            Poll::Pending => {
                if let Poll::Ready(error) = self.poll_end(context) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if written.is_pending()
            && let Poll::Ready(error) = self.poll_end(context)
        {
            return Poll::Ready(Err(error));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        if written.is_pending()
            && let Poll::Ready(error) = self.poll_end(context)
        {
            return Poll::Ready(Err(error));
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Patience = Patience {
        first_request: Duration::from_secs(30),
        silence: Duration::from_secs(90),
    };

    /// When a connection ends whose peer sends a byte every `interval`.
    async fn ends_after(interval: Duration, used: bool) -> Duration {
        let (near, mut far) = duplex(64);
        let mut guarded = Guarded::new(near, PATIENCE);
        if used {
            guarded.used().note();
        }
        let begun = Instant::now();
        let sends = async {
            for _ in 0..10 {
                tokio::time::sleep(interval).await;
                let _closed = far.write_all(b"x").await;
            }
            std::future::pending::<()>().await;
        };
        let mut bytes = [0; 1];
        let reads = async {
            loop {
                if let Err(error) = guarded.read_exact(&mut bytes).await {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return begun.elapsed();
                }
            }
        };
        tokio::select! {
            () = sends => unreachable!("it never ends"),
            after = reads => after,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends_however_slowly_it_talks() {
        let second = Duration::from_secs(1);
        for interval in [100 * second, 4 * second] {
            let after = ends_after(interval, false).await;
            assert!(after >= 30 * second && after < 31 * second, "{after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_in_use_ends_only_when_its_peer_is_silent() {
        let second = Duration::from_secs(1);
        let after = ends_after(60 * second, true).await;
        assert!(after >= 690 * second && after < 691 * second, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_grows_to_its_longest_and_starts_anew_after_a_success() {
        let mut backoff = Backoff::new("test");
        let full = io::Error::from_raw_os_error(24);
        let begun = Instant::now();
        for _ in 0..20 {
            backoff.failed(&full).await;
        }
        let took = begun.elapsed();
        assert!(took > 12 * LONGEST_PAUSE && took < 20 * LONGEST_PAUSE);
        backoff.succeeded();
        let begun = Instant::now();
        backoff.failed(&full).await;
        assert!(begun.elapsed() < 2 * SHORTEST_PAUSE);
        let begun = Instant::now();
        let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
        backoff.failed(&gone).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
