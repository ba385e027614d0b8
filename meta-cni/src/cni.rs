//! The CNI protocol and nothing of ours: versions, requests, configuration, results, errors and the
//! execution of plugins, as the CNI specification (0.1.0 to 1.1.0) has them.

pub mod args;
pub mod chain;
pub mod error;
pub mod exec;
pub mod hardware;
pub mod key;
pub mod name;
pub mod netconf;
pub mod requested_ips;
pub mod result;
pub mod skel;
pub mod valid_attachments;
pub mod version;
