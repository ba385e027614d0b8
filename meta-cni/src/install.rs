//! `meta-cni install` and `meta-cni uninstall`: this program in the node's folder of plugins, and its configuration as the
//! first one of the container runtime. Run in a container of a DaemonSet, with the node's folders mounted, or by hand.
//!
//! `changes` alone changes files; `receipt` knows what was there before. `round` is the straight line: executables,
//! primary network, agent, configuration.

mod agent;
mod changes;
mod claim;
mod conf;
mod executables;
mod layout;
mod place;
mod primary;
mod receipt;
mod report;
mod round;
#[cfg(test)]
mod tests;
mod uninstall;
mod wake;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use cni::netconf::FileError;
use cni::version::Version;

use changes::{Changes, Mode};
use place::Folders;
use report::{Format, Report};
use round::{Installer, State};
use wake::{Wake, Woken};

pub use uninstall::{Options as UninstallOptions, run as uninstall};

/// How often a node is checked without a change of its files, and an agent asked that does not answer yet.
const INTERVAL: Duration = Duration::from_secs(10);
const AGENT_INTERVAL: Duration = Duration::from_millis(500);

/// Install meta-cni on this node, or keep it installed
///
/// In this order, each step only if something differs: the executables meta-cni and meta-ipam in the folder of plugins;
/// then, once the node's agent answers and the primary network is configured, 00-meta-cni.conflist in the folder of
/// configurations. A configuration that comes before it is moved into meta-cni.d/aside there. Every file is replaced as a
/// whole. What was there before is kept for `meta-cni uninstall`.
///
/// Neither the end of this program nor an update removes the configuration. While no agent runs, for example after a boot, ADDs
/// wait for it.
///
/// Exit status: 0 installed, 1 failure (with --check also: something is missing), 2 wrong arguments, 3 waited in vain for
/// the agent or the primary network.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(flatten)]
    folders: Folders,
    /// Folder that holds the executables to install [default: of this program]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The primary network's configuration: a file of --primary-dir or an absolute path [default: the first other one]
    #[arg(long, value_name = "FILE")]
    primary: Option<PathBuf>,
    /// Keys of the configuration, in YAML or JSON, besides those that are found out
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Version of CNI that the runtime is to use [default: that of the primary network's configuration]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    cni_version: Option<Version>,
    /// How long the agent and the primary network are waited for
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "120",
        conflicts_with = "watch"
    )]
    wait_seconds: u64,
    /// Stay, follow the primary network's configuration, and repair what others change, until SIGTERM
    #[arg(long)]
    watch: bool,
    /// Change nothing, write what would be done
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    /// As --dry-run, and fail if something would be done
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// How changes are written to standard output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

fn version(text: &str) -> Result<Version, String> {
    text.parse::<Version>().map_err(|error| error.to_string())
}

/// How an installation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it should be, or would be.
    Done,
    /// `--check`: something is missing.
    Missing,
}

/// Why something is not installed or not removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file cannot be read.
    #[error("reading {}", .path.display())]
    Read {
        /// The file, as this process sees it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("writing {}; is it mounted writable, and is this root?", .path.display())]
    Write {
        /// The file, as this process sees it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The configurations of the runtime cannot be read.
    #[error("listing configurations; does --layout or --conf-dir name the folder of the runtime?")]
    Folder {
        /// Why not.
        #[source]
        source: FileError,
    },
    /// The settings cannot be used.
    #[error("{}: {problem}; correct the file (--settings)", .path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What was installed here cannot be read.
    #[error("{}: {problem}; use the version of meta-cni that wrote it, or remove the file", .path.display())]
    Receipt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The primary network has no configuration yet, or the agent does not answer.
    #[error("waited {} s in vain: {what}", .limit.as_secs())]
    InVain {
        /// How long.
        limit: Duration,
        /// For what.
        what: String,
    },
    /// A later installer works on this node.
    #[error("another installer has begun on this node and goes on with the work")]
    Superseded,
    /// The kernel refuses what waiting needs.
    #[error("waiting for changes of files")]
    Wait {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("writing to standard output")]
    Output {
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl InstallError {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
        let path = path.to_owned();
        move |source| InstallError::Read { path, source }
    }

    fn write(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
        let path = path.to_owned();
        move |source| InstallError::Write { path, source }
    }
}

/// Installs, and writes each change to `to`; with `--watch` it stays until SIGTERM or SIGINT.
///
/// # Errors
/// [`InstallError`].
pub fn run(options: &Options, to: &mut dyn Write) -> Result<Outcome, InstallError> {
    let is_pretended = options.dry_run || options.check;
    let mode = match is_pretended {
        true => Mode::Pretend,
        false => Mode::Apply,
    };
    let mut changes = Changes::new(mode, Report::new(options.output, mode, to));
    let installer = Installer::begin(options, &changes)?;
    match (is_pretended, options.watch) {
        (true, _) => pretend(installer, &mut changes, options.check),
        (false, false) => once(installer, &mut changes, options),
        (false, true) => follow(installer, &mut changes),
    }
}

fn pretend(
    mut installer: Installer<'_>,
    changes: &mut Changes<'_>,
    is_check: bool,
) -> Result<Outcome, InstallError> {
    let state = installer.round(changes)?;
    if let State::Waits { what, .. } = &state {
        changes.report.waits(what)?;
    }
    let is_missing = changes.report.changes() > 0 || state != State::Done;
    match is_check && is_missing {
        true => Ok(Outcome::Missing),
        false => Ok(Outcome::Done),
    }
}

fn once(
    mut installer: Installer<'_>,
    changes: &mut Changes<'_>,
    options: &Options,
) -> Result<Outcome, InstallError> {
    let wake = Wake::begin().map_err(|source| InstallError::Wait { source })?;
    let limit = Duration::from_secs(options.wait_seconds);
    let deadline = Instant::now() + limit;
    loop {
        installer.watch(&wake);
        let (what, pause) = match installer.round(changes)? {
            State::Done => break,
            State::Superseded => return Err(InstallError::Superseded),
            State::Waits { what, pause } => (what, pause),
        };
        changes.report.waits(&what)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(InstallError::InVain { limit, what });
        }
        if wait(&wake, pause.min(left))? == Woken::ToEnd {
            return Err(InstallError::InVain { limit, what });
        }
    }
    installer.end(changes)?;
    Ok(Outcome::Done)
}

fn follow(
    mut installer: Installer<'_>,
    changes: &mut Changes<'_>,
) -> Result<Outcome, InstallError> {
    let wake = Wake::begin().map_err(|source| InstallError::Wait { source })?;
    loop {
        installer.watch(&wake);
        let pause = match installer.round(changes)? {
            State::Done => {
                changes.report.end("meta-cni is installed")?;
                INTERVAL
            }
            State::Waits { what, pause } => {
                changes.report.waits(&what)?;
                pause
            }
            State::Superseded => {
                let what = "for its end: another installer has begun on this node";
                changes.report.waits(what)?;
                INTERVAL
            }
        };
        if wait(&wake, pause)? == Woken::ToEnd {
            installer.end(changes)?;
            return Ok(Outcome::Done);
        }
    }
}

fn wait(wake: &Wake, limit: Duration) -> Result<Woken, InstallError> {
    wake.wait(limit)
        .map_err(|source| InstallError::Wait { source })
}
