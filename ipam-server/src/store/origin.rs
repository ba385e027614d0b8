//! How the store says which store it is: JSON.

use std::collections::BTreeSet;

use ipam_core::log::Origin;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    id: String,
    awaited: BTreeSet<String>,
    heard: BTreeSet<String>,
    until: i64,
    lease_offset: u64,
    secret: String,
}

/// The value of an origin.
pub(in crate::store) fn encode(origin: &Origin) -> Vec<u8> {
    let origin = origin.clone();
    let stored = Stored {
        id: origin.id,
        awaited: origin.awaited,
        heard: origin.heard,
        until: origin.until,
        lease_offset: origin.lease_offset,
        secret: origin.secret,
    };
    // Texts and numbers are always JSON.
    serde_json::to_vec(&stored).unwrap_or_default()
}

/// The origin of a value.
///
/// # Errors
/// If it is not JSON of this form.
pub(in crate::store) fn decode(value: &[u8]) -> Result<Origin, serde_json::Error> {
    let stored: Stored = serde_json::from_slice(value)?;
    Ok(Origin {
        id: stored.id,
        awaited: stored.awaited,
        heard: stored.heard,
        until: stored.until,
        lease_offset: stored.lease_offset,
        secret: stored.secret,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_stored_as_older_versions_did_and_read_with_what_they_lacked() {
        let text =
            r#"{"id":"a","awaited":["n1"],"heard":["n2"],"until":7,"leaseOffset":9,"secret":"s"}"#;
        let origin = decode(text.as_bytes()).unwrap();
        assert_eq!((origin.lease_offset, origin.until), (9, 7));
        assert_eq!(encode(&origin), text.as_bytes());
        let older = decode(br#"{"id":"a"}"#).unwrap();
        assert_eq!((older.id.as_str(), older.secret.as_str()), ("a", ""));
    }
}
