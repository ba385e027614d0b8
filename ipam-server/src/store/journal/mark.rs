//! The file that says that a folder holds a store: sled takes a log whose beginning is damaged for a new one, and every
//! address would be leased again. It also names the newest segment, so that one that was removed is missed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::frame::{Frame, FrameKind};
use super::sync_folder;

const FILE: &str = "ipam-server.store";
const UNDER_WAY: &str = "ipam-server.store.tmp";

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Mark {
    /// It is not there.
    None,
    /// There is a store; of a version without a journal, or it cannot be read.
    Store,
    /// There is a store whose journal had so many segments.
    Journal(u64),
}

/// Reads it.
pub(super) fn read(folder: &Path) -> Mark {
    let Ok(bytes) = fs::read(folder.join(FILE)) else {
        return Mark::None;
    };
    match Frame::at(&bytes, 0) {
        Some((frame, _)) if frame.kind() == FrameKind::Mark => Mark::Journal(frame.number),
        _ => Mark::Store,
    }
}

/// Writes it.
pub(super) fn write(folder: &Path, segment: u64) -> io::Result<()> {
    let frame = Frame {
        kind: FrameKind::Mark.into(),
        number: segment,
        ..Frame::default()
    };
    let under_way = folder.join(UNDER_WAY);
    let mut file = File::create(&under_way)?;
    file.write_all(&frame.into_bytes())?;
    file.sync_all()?;
    fs::rename(&under_way, folder.join(FILE))?;
    sync_folder(folder)
}
