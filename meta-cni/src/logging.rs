//! Logs: to standard error, to a file, or both, as the configuration says. Standard output belongs to
//! CNI results.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::Config;

/// A log that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level has no meaning.
    #[error(
        "configuration key logLevel: {level:?} is none of error, warn, info, debug, panic, verbose"
    )]
    Level {
        /// The level as it was given.
        level: String,
    },
}

/// Starts the log of this process. A second start changes nothing. A file that cannot be opened is told on
/// standard error and done without: no pod fails, and no DEL leaks, for want of a log.
///
/// # Errors
/// [`LogError`] if the level is unknown.
pub fn start(config: &Config) -> Result<(), LogError> {
    let level = level(config.log_level.as_deref())?;
    let open = |path: &PathBuf| File::options().append(true).create(true).open(path);
    let file = config.log_file.as_ref().map(open).transpose();
    let (file, unopened) = file.map_or_else(|error| (None, Some(error)), |file| (file, None));
    let sinks = Sinks {
        file,
        stderr: config.log_to_stderr || unopened.is_some(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_span_events(FmtSpan::NONE)
        .with_writer(sinks)
        .finish();
    // A process that started a log before keeps that one.
    let _ = tracing::subscriber::set_global_default(subscriber);
    if let Some(error) = unopened {
        tracing::warn!(path = ?config.log_file, %error, "logFile cannot be opened; going on without it");
    }
    Ok(())
}

/// The level by its own name or by the one that Multus gives it.
fn level(name: Option<&str>) -> Result<LevelFilter, LogError> {
    match name.unwrap_or("warn") {
        "error" => Ok(LevelFilter::ERROR),
        "" | "warn" | "warning" | "panic" => Ok(LevelFilter::WARN),
        "info" | "verbose" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        level => Err(LogError::Level {
            level: level.to_owned(),
        }),
    }
}

/// Where a line goes.
struct Sinks {
    file: Option<File>,
    stderr: bool,
}

/// One line on its way to all sinks. A sink that fails must not fail the request: the line is lost there.
struct Line<'a>(&'a Sinks);

impl<'a> MakeWriter<'a> for Sinks {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(mut file) = self.0.file.as_ref() {
            let _ = file.write_all(bytes);
        }
        if self.0.stderr {
            let _ = io::stderr().write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_of_multus_are_understood() {
        for (name, expected) in [
            (None, LevelFilter::WARN),
            (Some("panic"), LevelFilter::WARN),
            (Some("verbose"), LevelFilter::INFO),
            (Some("debug"), LevelFilter::DEBUG),
        ] {
            assert_eq!(level(name).unwrap(), expected);
        }
        assert!(
            level(Some("loud"))
                .unwrap_err()
                .to_string()
                .contains("logLevel")
        );
    }
}
