//! ipam-server: leases IPv4/IPv6 pairs over gRPC, from memory that is rebuilt from a durable store.
//!
//! The domain is `ipam-core`. Imports go one way: `service` → `api` → `ledger` → `store`, each above the domain; messages are
//! decoded and encoded in `wire`. An Allocate is read along `service` (authorise), `api` (decode), `ledger` (joins the current
//! group), `ipam_core::allocator` (decides in memory), `store` (one durable write for the group), and back.

pub mod access;
pub mod api;
pub mod changes;
pub mod clock;
pub mod config;
pub mod ending;
pub mod error;
pub mod identity;
pub mod ledger;
pub mod listen;
pub mod measure;
pub mod metrics;
pub mod page;
pub mod pages;
pub mod readiness;
pub mod seed;
pub mod serve;
pub mod server;
pub mod service;
pub mod store;
pub mod wire;
pub use process::text;
