//! The file of pools: what is accepted can be made, written down and read again, and gives addresses of its own only.

#![no_main]

use ipam_server::allocator::{Draft, State};
use ipam_server::error::Error;
use ipam_server::lease::Wish;
use ipam_server::pool::Pool;
use ipam_server::seed::parse_pools;
use ipam_server::store::memory::MemoryStore;
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
        let Ok(pool) = Pool::decode(message) else {
            continue;
        };
        let again = Pool::decode(pool.message.clone()).map(|again| again.message);
        assert_eq!(again.ok().as_ref(), Some(&pool.message));
        match draft.attempt(true, |draft| draft.create_pool(pool, "")) {
            Ok(_) => {}
            Err(Error::PoolExists { .. } | Error::PoolOverlap { .. }) => continue,
            Err(error) => panic!("{name}: {error}"),
        }
        let request = AllocateRequest {
            pools: vec![name.clone()],
            ..AllocateRequest::default()
        };
        let Ok(wish) = Wish::decode(request, "") else {
            continue;
        };
        match draft.attempt(true, |draft| draft.allocate(&wish)) {
            Ok(given) => {
                let pool = given.lease.map(|lease| lease.pool);
                assert_eq!(pool.as_deref(), Some(name.as_str()));
            }
            Err(Error::PoolExhausted { .. } | Error::PoolNotActive { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
});
