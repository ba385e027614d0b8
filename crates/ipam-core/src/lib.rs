//! The domain of the address service: leases, pools, reservations, the history, and free addresses. Plain types: no protobuf, no
//! runtime, no files. A service decodes requests into these types, and a store encodes them.

pub mod allocator;
pub mod dense_map;
pub mod error;
pub mod event;
pub mod family;
pub mod free_set;
pub mod key_index;
pub mod keys;
pub mod lease;
pub mod log;
pub mod pool;
pub mod problem;
pub mod request;
pub mod reservation;
