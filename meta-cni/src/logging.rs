//! Logs: to standard error, to a file, or both, as the configuration says. Standard output belongs to
//! CNI results.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::config::Config;
use crate::journal::without_learned;
use crate::trace::Steps;

/// Starts the log of this process. A second start changes nothing. A file that cannot be opened and a
/// level that is unknown are reported on standard error and ignored: no pod fails, and no DEL leaks, for
/// want of a log.
pub fn start(config: &Config) {
    let level = level(config.log_level.as_deref());
    let open = |path: &PathBuf| {
        // Configurations of networks are in it: root's only, also if an earlier version made it.
        let mut options = File::options();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok::<_, io::Error>(file)
    };
    let file = config.log_file.as_ref().map(open).transpose();
    let (file, unopened) = file.map_or_else(|error| (None, Some(error)), |file| (file, None));
    let sinks = Sinks {
        file,
        stderr: config.log_to_stderr || unopened.is_some(),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(sinks)
        .with_filter(level.unwrap_or(LevelFilter::WARN));
    // Steps are collected whatever the log shows, but only our own.
    let ours = filter_fn(|of| {
        let level = if of.is_span() {
            Level::INFO
        } else {
            Level::WARN
        };
        *of.level() <= level && of.target().starts_with("meta_cni")
    });
    let steps = Steps.with_filter(ours.with_max_level_hint(LevelFilter::INFO));
    let subscriber = tracing_subscriber::registry().with(lines).with(steps);
    // A process that started a log before keeps that one.
    let _ = tracing::subscriber::set_global_default(subscriber);
    if level.is_none() {
        tracing::warn!(
            logLevel = config.log_level,
            "unknown; use error, warn, info or debug"
        );
    }
    if let Some(error) = unopened {
        tracing::warn!(path = ?config.log_file, %error, "logFile cannot be opened; going on without it");
    }
}

/// The level by its own name or by the one that Multus gives it, in any case.
fn level(name: Option<&str>) -> Option<LevelFilter> {
    match name.unwrap_or("warn").to_ascii_lowercase().as_str() {
        "error" => Some(LevelFilter::ERROR),
        "" | "warn" | "warning" | "panic" => Some(LevelFilter::WARN),
        "info" | "verbose" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        _ => None,
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
        // A plugin's words can hold what its configuration keeps secret.
        let plain = without_learned(&String::from_utf8_lossy(bytes));
        if let Some(mut file) = self.0.file.as_ref() {
            let _ = file.write_all(plain.as_bytes());
        }
        if self.0.stderr {
            let _ = io::stderr().write_all(plain.as_bytes());
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
            (Some("Debug"), LevelFilter::DEBUG),
        ] {
            assert_eq!(level(name), Some(expected));
        }
        assert_eq!(level(Some("loud")), None);
    }
}
