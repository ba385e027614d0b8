//! The note that a node has an agent, below `stateDir`. So that is known also while the agent is away and after a reboot,
//! and no pod starts without what the agent knows.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::private::private_folder;

const NOTE: &str = "agent";

/// Notes where the agent of this node listens.
///
/// # Errors
/// What the system says, if the note cannot be written.
pub fn note_agent(state_dir: &Path, socket: &Path) -> io::Result<()> {
    if noted_agent(state_dir).as_deref() == Some(socket) {
        return Ok(());
    }
    let temporary = state_dir.join(format!(".{NOTE}.new"));
    private_folder(state_dir)?;
    let mut file = File::create(&temporary)?;
    file.write_all(format!("{}\n", socket.display()).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, state_dir.join(NOTE))?;
    File::open(state_dir)?.sync_all()
}

/// The socket of the agent that this node has or had.
pub(super) fn noted_agent(state_dir: &Path) -> Option<PathBuf> {
    let note = fs::read_to_string(state_dir.join(NOTE)).ok()?;
    Some(PathBuf::from(note.trim_end())).filter(|socket| socket.is_absolute())
}
