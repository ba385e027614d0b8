//! Where the log ends, and up to where it is applied: JSON, for people too.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The schema that this version writes, and the newest that it reads.
pub(super) const SCHEMA: u32 = 1;

/// Where the log ends. No value of it is written twice, whatever happens: [`Head::mark`] is random. So an append that is
/// conditioned on a value has no effect when the head has been another one since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) schema: u32,
    /// How many groups there were.
    pub(super) position: u64,
    /// Of the last event.
    pub(super) revision: u64,
    /// Of the oldest event that is kept.
    pub(super) oldest_revision: u64,
    /// The id of the last group.
    pub(super) group: String,
    /// Random, for each value.
    pub(super) mark: String,
}

/// Up to where the keys of leases, pools and reservations are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    /// How many groups.
    pub(super) position: u64,
    /// Of the last event of the last one.
    pub(super) revision: u64,
    /// The id of the last one.
    pub(super) group: String,
    /// Random, for each value.
    pub(super) mark: String,
}

/// Only the schema of a head, which a newer version writes too.
#[derive(Deserialize)]
pub(super) struct Schema {
    pub(super) schema: u32,
}

/// A name that nothing else has.
pub(super) fn mark() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The value of a head or of what is applied.
pub(super) fn encode(value: &impl Serialize) -> Bytes {
    // Texts and numbers are always JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// The value that was encoded.
///
/// # Errors
/// If it is not JSON of this form.
pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written_and_a_newer_one_shows_its_schema() {
        let head = Head {
            schema: SCHEMA,
            position: 5,
            revision: 17,
            oldest_revision: 1,
            group: "g".into(),
            mark: mark(),
        };
        assert_eq!(decode::<Head>(&encode(&head)).unwrap(), head);
        let newer = decode::<Schema>(br#"{"schema":9,"other":1}"#).unwrap();
        assert_eq!(newer.schema, 9);
    }
}
