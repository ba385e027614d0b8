//! Which installer works on this node. While a DaemonSet is updated, the old pod's installer and the new one's run side by
//! side: the later one claims the node, and the earlier one changes nothing while the later one renews its claim.

use std::fs;
use std::path::{Path, PathBuf};

use super::changes::Changes;
use super::place::Places;
use super::{INTERVAL, InstallError};
use crate::random;

const NAME: &str = "installer";

/// The claim of this process.
pub(super) struct Claim {
    /// Nothing: a dry run claims nothing.
    file: Option<PathBuf>,
    mark: String,
}

impl Claim {
    /// Claims the node.
    pub(super) fn make(places: &Places, changes: &Changes<'_>) -> Result<Claim, InstallError> {
        let file = places.here(&places.own()).join(NAME);
        let mark = format!("{:016x}", random::number());
        changes.folder(&places.here(&places.conf_dir))?;
        changes.note(&file, mark.as_bytes())?;
        Ok(Claim {
            file: (!changes.is_pretended()).then_some(file),
            mark,
        })
    }

    /// Whether this process works on the node: no later installer does, or the later one is gone.
    pub(super) fn holds(&self) -> bool {
        let Some(file) = &self.file else { return true };
        match fs::read_to_string(file) {
            Ok(mark) if mark == self.mark => self.renew(file),
            // That installer was killed, or its pod rolled back.
            Ok(_) => is_old(file) && self.renew(file),
            Err(_) => self.renew(file),
        }
    }

    fn renew(&self, file: &Path) -> bool {
        fs::write(file, &self.mark).is_ok()
    }

    /// Ends the claim, so that an earlier installer goes on, if there is one.
    pub(super) fn end(self, changes: &Changes<'_>) -> Result<(), InstallError> {
        match &self.file {
            Some(file) if fs::read_to_string(file).is_ok_and(|mark| mark == self.mark) => {
                changes.forget(file)
            }
            _ => Ok(()),
        }
    }
}

/// Whether the installer that wrote the mark has not renewed it for some rounds.
fn is_old(file: &Path) -> bool {
    let written = fs::metadata(file).and_then(|file| file.modified());
    let age = written.map(|written| written.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age > 6 * INTERVAL)
}
