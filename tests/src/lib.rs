//! The harness of the end-to-end tests: real network namespaces, real CNI plugins and the real
//! `meta-cni` executable, so that a test says only what it is about.
//!
//! ```no_run
//! use e2e::Node;
//! let node = Node::new("blue");
//! node.nad("default", "blue", node.bridge("br-blue", &["10.2.0.0/24", "fd00:2::/64"]));
//! let pod = node.pod("default", "web").networks("blue").create();
//! node.add(&pod).ok();
//! assert_eq!(pod.netns().links(), ["lo", "eth0", "net1"]);
//! node.del(&pod).ok();
//! node.assert_clean();
//! ```
//!
//! Each [`Node`] has a network namespace of its own that plays the host, and all of its files in one
//! temporary folder: tests run side by side and leave nothing on the machine.

pub mod agent;
pub mod bench;
pub mod call;
pub mod certificates;
pub mod cri;
pub mod daemon;
pub mod dial;
pub mod disk;
pub mod ipam;
pub mod kube;
pub mod lacking;
pub mod leftovers;
pub mod locate;
pub mod look;
pub mod merge;
pub mod netns;
pub mod networks;
pub mod node;
pub mod openmetrics;
pub mod outcome;
pub mod pages;
pub mod plugin;
pub mod pod;
mod reaper;
pub mod relay;
pub mod router;
pub mod runtime;
pub mod sweep;
pub mod wait;

pub use agent::Agent;
pub use call::{Call, Running};
pub use daemon::Daemon;
pub use disk::Disk;
pub use ipam::IpamServer;
pub use kube::ApiServer;
pub use netns::Netns;
pub use node::Node;
pub use outcome::Outcome;
pub use plugin::RecordedCall;
pub use pod::Pod;
pub use runtime::Runtime;
pub use wait::wait_until;
