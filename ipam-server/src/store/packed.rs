//! Bytes compressed with LZ4: neighbouring leases and events have most of their texts in common.
//!
//! The length of the bytes before (4 bytes, little endian), then one LZ4 block
//! (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>). What protects it against damage is around it.

/// LZ4 makes at most this many bytes of one.
const RATIO: usize = 255;

/// Compresses.
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(bytes)
}

/// The bytes that were packed; none if they are not whole. A wrong length takes no memory.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = packed.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > block.len().saturating_mul(RATIO) {
        return None;
    }
    let bytes = lz4_flex::block::decompress(block, length).ok()?;
    (bytes.len() == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_as_it_was(
            bytes in proptest::collection::vec(0_u8..4, 0..3000),
        ) {
            prop_assert_eq!(unpack(&pack(&bytes)), Some(bytes));
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let most = bytes.len() * RATIO;
            prop_assert!(unpack(&bytes).is_none_or(|unpacked| unpacked.len() <= most));
        }
    }

    #[test]
    fn the_longest_run_is_unpacked_and_what_was_cut_off_is_refused() {
        let bytes = vec![7; 1 << 20];
        let packed = pack(&bytes);
        assert_eq!(unpack(&packed), Some(bytes));
        for length in 0..packed.len() {
            assert_eq!(unpack(&packed[..length]), None, "{length}");
        }
    }
}
