//! meta-ipam: the IPAM plugin that leases from ipam-server, and what meta-cni shares with it.
//!
//! A request is read along [`node_file`] (the node's settings), [`config`] (the `ipam` object), [`request`] (what is asked for), [`client`] (the
//! server), [`queue`] (releases that could not be delivered), [`verbs`] (ADD, DEL, CHECK, STATUS, GC).

pub mod builtin;
pub mod client;
pub mod config;
pub mod failure;
pub mod known;
pub mod node_file;
pub mod queue;
pub mod request;
pub mod verbs;
