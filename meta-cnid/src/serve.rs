//! The process of an agent: its async runtime, which lives until a signal.

use process::daemon::{DaemonError, until_signalled};

use super::config::Arguments;
use super::{AgentError, run};

/// Runs an agent until SIGTERM or SIGINT, and then finishes what was begun; a second signal ends it at once.
///
/// On one thread: the agent waits more than it computes, and each thread costs memory. Not async, since what is async is
/// compiled once more by every executable that runs it.
///
/// # Errors
/// As the variants of [`DaemonError`] say.
pub fn serve(arguments: Arguments) -> Result<(), DaemonError<AgentError>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    let ended = runtime.block_on(until_signalled(|stopping| run(arguments, stopping)));
    runtime.shutdown_background();
    ended
}
