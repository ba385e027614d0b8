//! The process of an agent: its async runtime, and the signals that end it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::config::Arguments;
use super::{AgentError, run};

/// Why the process of an agent fails.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The kernel refuses what the async runtime or the signals need.
    #[error("starting the async runtime")]
    Runtime(#[source] io::Error),
    /// The agent cannot start, or a part of it failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A second signal came while the agent finished what was begun.
    #[error("ended at once by a second signal")]
    SecondSignal,
}

/// Runs an agent until SIGTERM or SIGINT, and then finishes what was begun; a second signal ends it at once.
///
/// On one thread: the agent waits more than it computes, and each thread costs memory. Not async, since what is async is
/// compiled once more by every executable that runs it.
///
/// # Errors
/// As the variants of [`ProcessError`] say.
pub fn serve(arguments: Arguments) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProcessError::Runtime)?;
    let ended = runtime.block_on(until_signalled(arguments));
    runtime.shutdown_background();
    ended
}

async fn until_signalled(arguments: Arguments) -> Result<(), ProcessError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ProcessError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProcessError::Runtime)?;
    let (stop, stopping) = watch::channel(false);
    let mut agent = Box::pin(run(arguments, stopping));
    let mut signals = 0;
    loop {
        tokio::select! {
            ended = &mut agent => return Ok(ended?),
            _ = terminate.recv() => signals += 1,
            _ = interrupt.recv() => signals += 1,
        }
        stop.send_replace(true);
        if signals > 1 {
            return Err(ProcessError::SecondSignal);
        }
    }
}
