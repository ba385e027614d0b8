//! Reads all that can be read of a sled store that no server has open, whatever else is damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use prost::Message;
use proto::ipam::v1::{ExportItem, Lease, Pool, Reservation, export_item::Item};

use super::StoreError;
use super::sled::{Kind, open_to_read};

/// Reads one kind of value.
type Decode = fn(&[u8]) -> Option<Item>;

/// Gives `visit` every pool, then every reservation, then every lease of the store in a folder; tells what could
/// not be read, a sentence each.
///
/// # Errors
/// If the store cannot be opened at all: [`StoreError::Locked`], [`StoreError::Corrupt`], [`StoreError::Io`].
pub fn salvage(path: &Path, visit: impl FnMut(ExportItem)) -> Result<Vec<String>, StoreError> {
    let db = open_to_read(path)?;
    Ok(items(&db, visit))
}

/// The same of an open tree.
pub(super) fn items(tree: &::sled::Tree, mut visit: impl FnMut(ExportItem)) -> Vec<String> {
    let mut lost = Vec::new();
    let kinds: [(Kind, Decode); 3] = [
        (Kind::Pool, |value| Pool::decode(value).ok().map(Item::Pool)),
        (Kind::Reservation, |value| {
            Reservation::decode(value).ok().map(Item::Reservation)
        }),
        (Kind::Lease, |value| {
            Lease::decode(value).ok().map(Item::Lease)
        }),
    ];
    for (kind, decode) in kinds {
        let mut entries = tree.scan_prefix([kind.prefix()]);
        loop {
            // sled panics on some damage; what comes after it may still be there, but cannot be reached.
            let next = catch_unwind(AssertUnwindSafe(|| entries.next()));
            match next {
                Ok(Some(Ok((key, value)))) => match decode(&value) {
                    Some(item) => visit(ExportItem { item: Some(item) }),
                    None => {
                        let key = String::from_utf8_lossy(&key).escape_default().to_string();
                        lost.push(format!("the value of key {key} cannot be decoded"));
                    }
                },
                Ok(Some(Err(error))) => {
                    lost.push(format!("an entry cannot be read: {error}"));
                    break;
                }
                Ok(None) => break,
                Err(_) => {
                    lost.push("the rest of the entries is damaged".to_owned());
                    break;
                }
            }
        }
    }
    lost
}
