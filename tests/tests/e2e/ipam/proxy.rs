//! Leases through the agent of a node: a real meta-cnid before a real ipam-server. No API server answers it, which
//! leases do not need.

mod calls;
pub(crate) mod fixture;
mod releases;
mod restart;
mod tls;
mod watch;
