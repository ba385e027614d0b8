//! The start and the end of a daemon: its log, the signals that end it, and the file that says that it serves.

use std::future::Future;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
pub use clap_complete::Shell;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;

use crate::limits;
use crate::log::Log;

/// Form of the log.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why a daemon fails; `E`: why what it serves fails.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError<E: std::error::Error + 'static> {
    /// The kernel refuses what the async runtime or the signals need.
    #[error("starting the async runtime")]
    Runtime(#[source] io::Error),
    /// The service cannot start, or a part of it failed.
    #[error(transparent)]
    Service(E),
    /// A second signal came while the service finished what was begun.
    #[error("ended at once by a second signal")]
    SecondSignal,
}

/// Prints the script that completes the arguments `A` of the program `name` in a shell.
pub fn print_completion<A: CommandFactory>(shell: Shell, name: &str) {
    clap_complete::generate(shell, &mut A::command(), name, &mut io::stdout());
}

/// The process of the daemon `name`: lines of `tracing` go to standard error, what the kernel allows is asked for, and `serve`
/// runs until it ends. An error is printed with its causes in one line.
///
/// # Panics
/// If a subscriber of `tracing` was set before.
pub fn run<E: std::error::Error + 'static>(
    name: &str,
    format: LogFormat,
    level: LevelFilter,
    serve: impl FnOnce() -> Result<(), E>,
) -> ExitCode {
    let log = match Log::to_stderr() {
        Ok(log) => log,
        Err(error) => return fail(name, &error, ExitCode::FAILURE),
    };
    start_log(format, level, &log);
    limits::begin();
    let served = serve();
    // The last lines come before the error.
    drop(log);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(name, &error, ExitCode::FAILURE),
    }
}

/// Prints an error of the program `name`, with its causes, in one line.
pub fn fail(name: &str, error: &dyn std::error::Error, status: ExitCode) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("{name}: {text}");
    status
}

fn start_log(format: LogFormat, level: LevelFilter, log: &Log) {
    let lines = log.lines();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(move || lines.clone());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

/// Runs a service until SIGTERM or SIGINT. Then the value that the service watches is true, and the service finishes what was
/// begun; a second signal ends it at once.
///
/// # Errors
/// As the variants of [`DaemonError`] say.
pub async fn until_signalled<E, F>(
    serve: impl FnOnce(watch::Receiver<bool>) -> F,
) -> Result<(), DaemonError<E>>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Runtime)?;
    let (stop, stopping) = watch::channel(false);
    let mut service = Box::pin(serve(stopping));
    let mut signals = 0;
    loop {
        tokio::select! {
            ended = &mut service => return ended.map_err(DaemonError::Service),
            _ = terminate.recv() => signals += 1,
            _ = interrupt.recv() => signals += 1,
        }
        stop.send_replace(true);
        if signals > 1 {
            return Err(DaemonError::SecondSignal);
        }
    }
}

/// Writes the file of --ready-file. Whoever waits for the file sees it whole.
///
/// # Errors
/// What the system says.
pub fn write_ready(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    /// One test: signals are the process's.
    #[test]
    fn a_signal_ends_a_service_in_order_and_a_second_one_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let finished = runtime.block_on(until_signalled(|mut stopping| async move {
            raise(Signal::SIGTERM).unwrap();
            stopping.wait_for(|stopping| *stopping).await.unwrap();
            Ok::<_, io::Error>(())
        }));
        assert!(finished.is_ok(), "{finished:?}");
        let cut_off = runtime.block_on(until_signalled(|mut stopping| async move {
            raise(Signal::SIGINT).unwrap();
            stopping.wait_for(|stopping| *stopping).await.unwrap();
            raise(Signal::SIGTERM).unwrap();
            std::future::pending::<io::Result<()>>().await
        }));
        assert!(matches!(cut_off, Err(DaemonError::SecondSignal)));
        let failed = runtime.block_on(until_signalled(|_| async { Err(io::Error::other("gone")) }));
        assert_eq!(failed.unwrap_err().to_string(), "gone");
    }

    #[test]
    fn a_ready_file_replaces_an_older_one_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        for text in ["{\"a\":1}", "{}"] {
            write_ready(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_ready(&folder.path().join("absent/ready"), "").is_err());
    }
}
