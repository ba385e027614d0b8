//! What a client sends on a unix socket before HTTP/2 reads it: nothing but values is overwritten, however the bytes are cut.

#![no_main]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use dial::authority::AnyAuthority;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};

/// What comes through, read in pieces of up to `piece` bytes.
fn read(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut connection = AnyAuthority::new(bytes);
    let mut context = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    let mut buffer = vec![0; piece];
    loop {
        let mut into = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut connection).poll_read(&mut context, &mut into);
        assert!(matches!(read, Poll::Ready(Ok(()))));
        if into.filled().is_empty() {
            return all;
        }
        all.extend_from_slice(into.filled());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole.len(), bytes.len());
    assert_eq!(whole, read(bytes, 1));
    assert_eq!(whole, read(bytes, 7));
});
