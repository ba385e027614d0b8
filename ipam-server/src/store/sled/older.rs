//! How the history lay in the index before schema 3: some events packed together in one value, or one event alone.
//!
//! The key is that of the last event in the value. A packed value is `1` and then the events, each with its length before
//! it; a value that begins otherwise is one event.

use std::path::Path;

use prost::encoding::decode_varint;

use super::super::StoreError;
use super::failure;
use super::values::{self, Kind};

/// The first byte of a value that is packed: no encoded message begins with it.
const PACKED: u8 = 1;

/// Gives `visit` the events of a value, each with its key, in order; `key` is the value's.
///
/// # Errors
/// [`StoreError::Corrupt`] if the value is not as it was written; those of `visit`.
pub(super) fn contents(
    path: &Path,
    key: &[u8],
    value: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let corrupt = || {
        let what = format!("the value of key {} is not whole", values::shown(key));
        failure::corrupt(path, what)
    };
    let Some(mut rest) = value.strip_prefix(&[PACKED]) else {
        return visit(key, value);
    };
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = decode_varint(&mut rest).map_err(|_| corrupt())?;
        let length = usize::try_from(length).map_err(|_| corrupt())?;
        let (event, behind) = rest.split_at_checked(length).ok_or_else(corrupt)?;
        events.push(event);
        rest = behind;
    }
    let end = values::number_of(key).and_then(|last| last.checked_add(1));
    let first = end.and_then(|end| end.checked_sub(events.len() as u64));
    let first = first.ok_or_else(corrupt)?;
    for (revision, event) in (first..).zip(events) {
        visit(&Kind::Event.number(revision), event)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type KeyValue = (Vec<u8>, Vec<u8>);

    fn read(key: u64, value: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
        let mut found = Vec::new();
        contents(
            Path::new("store"),
            &Kind::Event.number(key),
            value,
            |key, event| {
                found.push((key.to_vec(), event.to_vec()));
                Ok(())
            },
        )?;
        Ok(found)
    }

    #[test]
    fn one_event_and_packed_events_have_the_revisions_up_to_the_keys() {
        let key = |revision| Kind::Event.number(revision).to_vec();
        assert_eq!(read(7, b"one").unwrap(), [(key(7), b"one".to_vec())]);
        let packed = [PACKED, 3, b'o', b'n', b'e', 3, b't', b'w', b'o'];
        let two = [(key(6), b"one".to_vec()), (key(7), b"two".to_vec())];
        assert_eq!(read(7, &packed).unwrap(), two);
        for length in [3, 6, 8] {
            assert!(read(7, &packed[..length]).is_err(), "{length}");
        }
        assert!(read(0, &packed).is_err(), "before the first revision");
    }
}
