//! The process of the server: its async runtime, which lives until a signal.

use std::time::{Duration, Instant};

use process::daemon::{DaemonError, until_signalled};

use crate::config::Config;
use crate::server::{self, ServerError, Sockets};

/// How much longer than --shutdown-seconds an earlier server of the same store, socket or port is waited for.
const GRACE: Duration = Duration::from_secs(2);
/// How long what was cut off may hold up the end.
const DROPPED: Duration = Duration::from_secs(1);

/// Runs a server until SIGTERM or SIGINT, and then finishes what was begun; a second signal ends it at once.
///
/// Not async, since what is async is compiled once more by every executable that runs it.
///
/// # Errors
/// As the variants of [`DaemonError`] say.
pub fn serve(config: Config) -> Result<(), DaemonError<ServerError>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    let ended = runtime.block_on(until_signalled(|stopping| async {
        let patience = Instant::now() + config.shutdown + GRACE;
        let sockets = Sockets::bind(&config, patience).await?;
        server::run(sockets, config, patience, stopping).await
    }));
    // What was cut off is dropped, and its sockets' files with it.
    runtime.shutdown_timeout(DROPPED);
    ended
}
