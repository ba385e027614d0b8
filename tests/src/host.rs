//! The machine that tests run on: its namespaces, processes and files, and what it can do.

pub mod cgroups;
pub(crate) mod daemon;
pub mod lacking;
pub mod locate;
pub mod merge;
pub mod netns;
pub(crate) mod reaper;
pub(crate) mod relay;
pub mod router;
pub mod sweep;
pub(crate) mod wait;
pub(crate) mod xfs;
