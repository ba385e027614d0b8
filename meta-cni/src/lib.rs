//! meta-cni: gives a pod several interfaces by delegating to the CNI plugins that its
//! NetworkAttachmentDefinitions name.
//!
//! Imports go one way: `verbs` → `plan`, `run` → `cluster`, `record` → `cni`.

pub mod cluster;
pub mod cni;
pub mod device;
pub mod netlink;
pub mod netns;
pub mod route;
