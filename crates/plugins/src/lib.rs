//! The reference CNI plugins' own configurations (containernetworking/plugins 1.10), served in this process: the same
//! results, error codes, kernel state and files, made by netlink and without starting a program.
//!
//! - [`Builtin`] is the door: it stands before other [`cni::plugins::Plugins`] and serves the calls that it can.
//! - [`Selection`] says which types are served here.
//! - [`Plugin`] is what each type implements; one file a type.
//! - [`shape`] knows the keys of each configuration. A configuration with a key that is unknown here goes to the
//!   executable, which may be newer.
//!
//! A request goes along [`Builtin`] (which plugin) · [`shape`] (keys, in one spelling) · the type's file · `ipam` (the
//! plugin for addresses, built in or not) · `sandbox` (the namespace: addresses, routes).

mod builtin;
mod failure;
mod file_lock;
mod hardware;
mod ipam;
mod ipam_conf;
mod kinds;
mod master;
mod notation;
mod plugin;
mod sandbox;
mod selection;
pub mod shape;
mod single;
mod sysctl;
mod together;
mod veth;

mod bridge;
mod dummy;
mod host_device;
mod host_local;
mod ipvlan;
mod loopback;
mod macvlan;
mod ptp;
mod sbr;
mod static_addresses;
mod tuning;
mod vlan;
mod vrf;

pub use builtin::{BUILT_IN, Builtin, MODE_FIELD};
pub use failure::Failure;
pub use host_local::{FolderError, LeaseError};
pub use kinds::all;
pub use plugin::{Plugin, Request};
pub use selection::{Selection, SelectionError};
pub use together::{owns_interface, remove_interfaces};
