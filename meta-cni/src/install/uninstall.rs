//! `meta-cni uninstall`: what was installed is undone, the latest first. What others changed since is left to them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Args;

use super::InstallError;
use super::changes::{Changes, Mode, digest};
use super::claim::Claim;
use super::place::{Folders, Places};
use super::receipt::{Entry, Receipt, is_ours};
use super::report::{Format, Report};
use crate::record::Records;

/// Remove meta-cni from this node, and restore what was there before
///
/// In the reverse order of `meta-cni install`: configurations that were moved aside come back, the configuration and the
/// executables go, and what they replaced comes back. A file that somebody changed since is left alone. Records and logs
/// stay. It may be repeated.
///
/// Pods keep their interfaces. After this, only the primary network is asked to delete a pod: remove pods with secondary networks
/// before, so that their leases are released.
///
/// Exit status: 0 removed, or nothing was installed; 1 failure; 2 wrong arguments.
#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) folders: Folders,
    /// Change nothing, write what would be done
    #[arg(long)]
    dry_run: bool,
    /// How changes are written to standard output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// Undoes what was installed, and writes each change to `to`.
///
/// # Errors
/// [`InstallError`].
pub fn run(options: &Options, to: &mut dyn Write) -> Result<(), InstallError> {
    let mode = match options.dry_run {
        true => Mode::Pretend,
        false => Mode::Apply,
    };
    let places = options.folders.places();
    let mut changes = Changes::new(mode, Report::new(options.output, mode, to));
    let receipt = Receipt::read(&places)?;
    if receipt.entries.is_empty() {
        let what = format!("nothing is installed in {}", places.conf_dir.display());
        return changes.report.end(&what);
    }
    // An installer that still runs changes nothing any more.
    let claim = Claim::make(&places, &changes)?;
    warn_of_pods(&places, &mut changes)?;
    for entry in receipt.entries.iter().rev() {
        match entry {
            Entry::Moved { from, to } => bring_back(&places, from, to, &mut changes)?,
            Entry::File {
                path,
                digests,
                before,
            } => undo_file(&places, path, digests, before.as_deref(), &mut changes)?,
        }
    }
    for folder in [places.aside(), places.before()] {
        changes.remove_folder(&places.here(&folder))?;
    }
    Receipt::forget(&places, &changes)?;
    claim.end(&changes)?;
    changes.remove_empty_folder(&places.here(&places.own()));
    changes.report.end("meta-cni is removed")
}

fn undo_file(
    places: &Places,
    path: &Path,
    digests: &[String],
    before: Option<&Path>,
    changes: &mut Changes<'_>,
) -> Result<(), InstallError> {
    let here = places.here(path);
    let before = before.map(|before| places.here(before));
    let before = before.filter(|before| before.exists());
    if here.exists() && !is_ours(&here, digests) {
        let is_restored = before.is_some_and(|before| is_same(&before, &here));
        return match is_restored {
            true => Ok(()),
            false => {
                let what = format!("{} was changed by others and stays", path.display());
                changes.report.warn(&what)
            }
        };
    }
    match before {
        Some(before) => restore(&before, &here, changes),
        None => changes.remove(&here, "meta-cni put it there"),
    }
}

/// A copy, not a rename: runtimes ignore what is renamed from another folder.
fn restore(from: &Path, to: &Path, changes: &mut Changes<'_>) -> Result<(), InstallError> {
    let mode = fs::metadata(from).map_err(InstallError::read(from))?;
    let mode = mode.permissions().mode() & 0o777;
    changes.copy(from, to, mode, "it was there before meta-cni")
}

/// Puts a configuration back that was moved, unless its owner has written it anew.
fn bring_back(
    places: &Places,
    from: &Path,
    to: &Path,
    changes: &mut Changes<'_>,
) -> Result<(), InstallError> {
    let (from, to) = (places.here(from), places.here(to));
    match !from.exists() && to.exists() {
        true => restore(&to, &from, changes),
        false => Ok(()),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((digest(one), digest(other)), (Ok(one), Ok(other)) if one == other)
}

/// Pods whose secondary networks nobody will delete.
fn warn_of_pods(places: &Places, changes: &mut Changes<'_>) -> Result<(), InstallError> {
    let records = Records::new(&places.here(&places.state_dir));
    let ids = records.container_ids().unwrap_or_default();
    let has_secondary = |id: &&String| {
        let record = records.peek(id).ok().flatten();
        record.is_some_and(|record| record.attachments().count() > 1)
    };
    match ids.iter().filter(has_secondary).count() {
        0 => Ok(()),
        count => changes.report.warn(&format!(
            "{count} pods of this node have secondary networks: their leases stay until ipam-server ends them; \
             drain the node first to release them"
        )),
    }
}
