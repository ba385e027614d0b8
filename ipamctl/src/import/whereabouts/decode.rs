//! Objects of Kubernetes and configurations as types.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a value; the sentence names the field that is wrong.
pub(super) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))
}
