//! The CNI protocol and nothing of ours: versions, requests, configuration, results, errors and the
//! execution of plugins, as the CNI specification (0.1.0 to 1.1.0) has them.

pub mod error;
pub mod result;
pub mod version;
