//! What nobody removes otherwise below `stateDir`: files that a killed process was writing, and notes of networks that lease here
//! and that no recorded attachment needs any more. Only what is older than any call can be is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::ipam::queue::folder::Folder;
use crate::lease::switched::notes_of;
use crate::private::private_file;
use crate::record::{Record, Records};

/// Longer than any call of meta-cni: verbTimeoutSeconds is 86400 at most.
const OLD: Duration = Duration::from_secs(25 * 3600);
/// The folders that files are written in under another name first.
const FOLDERS: [&str; 4] = ["attachments", "leasing", "releases", "ipam-servers"];
/// The notes of networks that lease here.
const NOTES: &str = "leasing";
/// Written when DEL or GC sweeps: its time is that of the last sweep.
const STAMP: &str = "swept";

/// Removes both kinds, unless that was done less than a day ago. What cannot be removed stays for the next time. `has_others`: this
/// node has sandboxes that are not in `records`.
pub(crate) fn daily(state_dir: &Path, records: &Records, has_others: impl FnOnce() -> bool) {
    let now = SystemTime::now();
    let stamp = state_dir.join(STAMP);
    if fs::metadata(&stamp).is_ok_and(|stamp| !is_old(now, stamp.modified())) {
        return;
    }
    // Without the stamp, every DEL would sweep.
    if private_file(&stamp).is_err() {
        return;
    }
    temporaries(state_dir, now);
    if !has_others() {
        notes(state_dir, records, now);
    }
}

/// Removes the files that killed processes left.
pub fn temporaries(state_dir: &Path, now: SystemTime) {
    for name in FOLDERS {
        remove(state_dir, name, now, is_temporary);
    }
}

/// The names that records, releases and notes have while they are written, and that of the probe whether records can be.
fn is_temporary(name: &str) -> bool {
    let is_hidden = name.starts_with('.');
    name.ends_with(".new") || is_hidden && (name.ends_with(".tmp") || name.starts_with(".probe-"))
}

/// Removes the notes that no record needs. If a record cannot be read, all stay.
fn notes(state_dir: &Path, records: &Records, now: SystemTime) {
    let is_note = |name: &str| name.ends_with(".json");
    let Ok(Some(folder)) = Folder::open(state_dir, NOTES) else {
        return;
    };
    let is_any_old = |names: Vec<String>| {
        names
            .iter()
            .any(|name| is_note(name) && is_old(now, folder.written(name)))
    };
    if !folder.names().is_ok_and(is_any_old) {
        return;
    }
    let needed = || -> Option<BTreeSet<String>> {
        let mut needed = BTreeSet::new();
        for id in records.container_ids().ok()? {
            let record: Option<Record> = records.peek(&id).ok()?;
            needed.extend(record.iter().flat_map(notes_of));
        }
        Some(needed)
    };
    let Some(needed) = needed() else { return };
    remove(state_dir, NOTES, now, |name| {
        is_note(name) && !needed.contains(name)
    });
}

/// Removes old files of a folder by their names.
fn remove(state_dir: &Path, folder: &str, now: SystemTime, is_meant: impl Fn(&str) -> bool) {
    let removed = || -> io::Result<usize> {
        let Some(folder) = Folder::open(state_dir, folder)? else {
            return Ok(0);
        };
        let mut removed = 0;
        for name in folder.names()? {
            if is_meant(&name) && is_old(now, folder.written(&name)) {
                folder.remove(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    };
    match removed() {
        Ok(0) => {}
        Ok(files) => tracing::info!(folder, files, "old files that nobody needs were removed"),
        Err(error) => tracing::info!(folder, %error, "old files stay"),
    }
}

/// Whether something was written so long ago. What cannot be said to be old is not.
fn is_old(now: SystemTime, written: io::Result<SystemTime>) -> bool {
    let age = |written| now.duration_since(written).ok();
    written.ok().and_then(age).is_some_and(|age| age >= OLD)
}

#[cfg(test)]
mod tests;
