//! ipam-server: leases IPv4/IPv6 pairs over gRPC, from memory that is rebuilt from a durable store.
//!
//! Imports go one way: `service` → `ledger` → `allocator` → `store`, `pool`, `lease`. An Allocate is read along
//! `service` (decode, authorise), `ledger` (joins the current group), `allocator` (decides in memory),
//! `store` (one durable write for the group), and back.

pub mod access;
pub mod allocator;
pub mod changes;
pub mod clock;
pub mod config;
pub mod ending;
pub mod error;
pub mod free_set;
pub mod http;
pub mod lease;
pub mod ledger;
pub mod listen;
pub mod measure;
pub mod metrics;
pub mod page;
pub mod pool;
pub mod process;
pub mod readiness;
pub mod seed;
pub mod server;
pub mod service;
pub mod store;
pub mod wire;
pub use ::process::text;
