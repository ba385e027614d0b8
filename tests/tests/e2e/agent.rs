//! meta-cni with its node's agent: a real meta-cnid with the rights as they are shipped, on a real API server.

mod away;
mod fixture;
mod knowledge;
mod operations;
mod process;
mod repair;
