//! meta-cni: gives a pod several interfaces by delegating to the CNI plugins that its
//! NetworkAttachmentDefinitions name.
//!
//! Imports go one way: `verbs` → `plan`, `run` → `cluster`, `record` → `cni`. An ADD is read along
//! [`cni::skel`], [`config`], [`wanted`], [`gather`], [`plan`], [`record`], [`run`], [`route`],
//! [`settle`], [`status`]; [`verbs`] puts them in order.

pub mod advertisements;
pub mod arguments;
pub mod attachment;
pub mod author;
pub mod builtin;
pub mod called_as;
pub mod cluster;
pub mod config;
pub mod delegates;
pub mod device;
pub mod device_files;
mod dhcp;
pub mod diagnosis;
pub mod doctor;
pub mod explain;
pub mod gather;
pub mod held;
pub mod host;
pub mod host_device;
pub mod install;
pub mod ipam;
pub mod journal;
pub mod lease;
pub mod limits;
pub mod list_plugins;
pub mod logging;
pub mod migrate;
pub mod order;
pub mod plan;
pub mod plugin_role;
pub mod policy;
mod private;
pub mod problem;
pub mod random;
pub mod record;
pub mod route;
pub mod rpc;
pub mod run;
pub mod selection;
pub mod settle;
pub mod snapshot;
pub mod status;
pub mod sweep;
pub mod tenant;
#[cfg(test)]
#[path = "../../crates/netlink/src/test_netns.rs"]
mod test_netns;
#[cfg(test)]
mod test_server;
pub mod trace;
mod underlay;
pub mod verbs;
pub mod wanted;
pub mod warnings;
