//! The file of pools: what is accepted can be made, written down and read again, and gives addresses of its own only.

#![no_main]

use ipam_core::allocator::{Draft, State};
use ipam_core::error::Error;
use ipam_server::seed::parse_pools;
use ipam_server::store::memory::MemoryStore;
use ipam_server::wire::{pool, request};
use libfuzzer_sys::fuzz_target;
use proto::ipam::v1::AllocateRequest;

fuzz_target!(|text: &str| {
    let Ok(messages) = parse_pools(text) else {
        return;
    };
    let (mut state, store) = (State::default(), MemoryStore::default());
    let mut draft = Draft::new(&mut state, &store, jiff::Timestamp::UNIX_EPOCH);
    for message in messages {
        let name = message.name.clone();
        let Ok(decoded) = pool::decode(message) else {
            continue;
        };
        let message = pool::encode(decoded.clone());
        assert_eq!(pool::decode(message).ok().as_ref(), Some(&decoded));
        match draft.attempt(true, |draft| draft.create_pool(decoded, "")) {
            Ok(_) => {}
            Err(Error::PoolExists { .. } | Error::PoolOverlap { .. }) => continue,
            Err(error) => panic!("{name}: {error}"),
        }
        let request = AllocateRequest {
            pools: vec![name.clone()],
            ..AllocateRequest::default()
        };
        let Ok(wish) = request::wish(request, "") else {
            continue;
        };
        match draft.attempt(true, |draft| draft.allocate(&wish)) {
            Ok(allocated) => assert_eq!(*allocated.lease.pool, *name),
            Err(Error::PoolExhausted { .. } | Error::PoolNotActive { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
});
