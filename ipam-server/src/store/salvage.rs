//! Reads all that can be read of a store that no server has open, whatever is damaged, and writes nothing to it.
//!
//! A whole journal holds everything, and says which records count. Of a damaged one each whole frame counts; sled's index is opened on a copy, and
//! gives what the journal lacks. Where the history knows the last change of a pool, reservation or lease, that change
//! decides: what was released does not come back.

mod copy;
mod pile;

use std::path::Path;

use prost::Message;
use proto::ipam::v1::{ExportItem, Lease, Pool, Reservation, export_item::Item};

use super::StoreError;
use super::journal::{self, Status};
use super::sled::{files, open_to_save};
pub(super) use copy::{Copy, remove_copies};
pub(super) use pile::Pile;

/// Gives `visit` every pool, then every reservation, then every lease of the store in a folder; returns what could not
/// be read, a sentence each. `scratch` is the folder in which sled's files are copied if they are needed.
///
/// # Errors
/// If there is no store, a server has it open, or there is no room for a copy: [`StoreError::Io`],
/// [`StoreError::Locked`], [`StoreError::Full`].
pub fn salvage(
    path: &Path,
    scratch: &Path,
    visit: impl FnMut(ExportItem),
) -> Result<Vec<String>, StoreError> {
    let io = |error| super::sled::io(path, error);
    let index = !files(path).map_err(io)?.is_empty();
    let journal = journal::exists(path).map_err(io)?;
    if !index && !journal {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store in it");
        return Err(io(missing));
    }
    let _locks = copy::lock(path)?;
    let (mut pile, hole) = match journal::read(path) {
        Ok(found) => match Pile::of(&found) {
            Ok(pile) => (pile, None),
            Err(hole) => (Pile::scanned(path).map_err(io)?, Some(hole.what)),
        },
        Err(_) if !journal => (Pile::default(), Some("it has no journal".to_owned())),
        Err(hole) => (Pile::scanned(path).map_err(io)?, Some(hole.what)),
    };
    let mut lost = Vec::new();
    if hole.is_some() {
        let copy = Copy::of_index(path, scratch)?;
        open_to_save(copy.path(), &mut pile, &mut lost);
    }
    pile.settle();
    if let Some(hole) = hole {
        let tail = journal::tail(path);
        lost.extend(pile.lost(tail));
        if journal && tail.is_none() {
            let newest = pile.newest();
            lost.push(format!("changes after revision {newest} may be missing"));
        }
        if !lost.is_empty() {
            lost.push(format!("the journal: {hole}"));
        }
    }
    pile.visit(visit);
    Ok(lost)
}

/// The revisions that the journal of a folder should hold, and does not.
pub(super) fn missing_of_journal(path: &Path) -> std::io::Result<Vec<(u64, u64)>> {
    let pile = Pile::scanned(path)?;
    let tail: Option<Status> = journal::tail(path);
    Ok(pile.missing(tail))
}

/// Ranges of revisions in an error: the first ones.
pub(super) fn ranges(missing: &[(u64, u64)]) -> String {
    const SHOWN: usize = 5;
    let mut texts: Vec<String> = missing
        .iter()
        .take(SHOWN)
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    if missing.len() > SHOWN {
        texts.push(format!("{} more ranges", missing.len() - SHOWN));
    }
    texts.join(", ")
}

/// A stored value as an item of an export; none if it cannot be decoded, or is no such item.
pub(super) fn item(key: &[u8], value: &[u8]) -> Option<Item> {
    match key.first()? {
        b'p' => Pool::decode(value).ok().map(Item::Pool),
        b'r' => Reservation::decode(value).ok().map(Item::Reservation),
        b'l' => Lease::decode(value).ok().map(Item::Lease),
        _ => None,
    }
}
