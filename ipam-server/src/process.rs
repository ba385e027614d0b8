//! The process of the server: its async runtime, and the signals that end it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::server::{self, ServerError};

/// How long what was cut off may hold up the end.
const DROPPED: Duration = Duration::from_secs(1);

/// Why the process of a server fails.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The kernel refuses what the async runtime or the signals need.
    #[error("starting the async runtime")]
    Runtime(#[source] io::Error),
    /// The server cannot start or go on.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A second signal came while the server finished what was begun.
    #[error("ended at once by a second signal")]
    SecondSignal,
}

/// Runs a server until SIGTERM or SIGINT, and then finishes what was begun; a second signal ends it at once.
///
/// Not async, since what is async is compiled once more by every executable that runs it.
///
/// # Errors
/// As the variants of [`ProcessError`] say.
pub fn serve(config: Config) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ProcessError::Runtime)?;
    let ended = runtime.block_on(until_signalled(config));
    // What was cut off is dropped, and its sockets' files with it.
    runtime.shutdown_timeout(DROPPED);
    ended
}

async fn until_signalled(config: Config) -> Result<(), ProcessError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ProcessError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProcessError::Runtime)?;
    let (stop, stopping) = watch::channel(false);
    let mut server = Box::pin(server::run(config, stopping));
    let mut signals = 0;
    loop {
        tokio::select! {
            ended = &mut server => return Ok(ended?),
            _ = terminate.recv() => signals += 1,
            _ = interrupt.recv() => signals += 1,
        }
        stop.send_replace(true);
        if signals > 1 {
            return Err(ProcessError::SecondSignal);
        }
    }
}
