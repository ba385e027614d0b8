//! The CNI protocol (specification 0.1.0 to 1.1.0), for programs that are plugins and call plugins: meta plugins, container
//! runtimes, and tools that examine a node.
//!
//! - [`skel`] reads what a runtime asks of a plugin, [`args`] the pairs of CNI_ARGS, [`valid_attachments`] the list of a GC.
//! - [`netconf`] reads configurations and lists; unknown keys pass through unchanged. [`key`] reads keys as plugins in Go do.
//! - [`result`] holds the result of an ADD in one shape, and converts it from and to every version.
//! - [`error`] has the error object that a plugin prints.
//! - [`plugins`] is the seam behind which plugins are called by their type; [`plugins::Executables`] are those in folders.
//! - [`chain`] runs a list of plugins, as the specification says a runtime does.

// The double of the plugins is also part of the tests of another crate, and has one path for both.
#[cfg(test)]
extern crate self as cni;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod args;
pub mod chain;
pub mod error;
pub mod hardware;
pub mod key;
pub mod name;
pub mod netconf;
pub mod plugins;
pub mod requested_ips;
pub mod result;
pub mod skel;
pub mod valid_attachments;
pub mod version;
